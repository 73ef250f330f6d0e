"""Compile the kernels of generated code for an H100, with the assembler that Triton brings along.

python -m tests.helpers.fake_inductor.kernels FILE ...      prints, a line each, the kernel's name
"""

import re
import sys
from pathlib import Path
from typing import Any

from tests.helpers.fake_cuda import libraries

KERNEL = re.compile(
    r"^(\w+) = async_compile\.triton\('(\w+)', r?'''\n(.*?)''', device_str='cuda'\)", re.S | re.M
)


class Driver:
    """What Triton asks its driver before it compiles, answered for compute capability 9.0."""

    launcher_cls = None

    class utils:  # noqa: N801 - Triton's name
        """The properties that bound a kernel."""

        @staticmethod
        def get_device_properties(*_: Any) -> dict[str, int]:
            """Return those of an H100."""
            return {
                "max_shared_mem": 232448,
                "multiprocessor_count": 132,
                "warpSize": 32,
                "max_num_regs": 65536,
            }

    def get_current_target(self) -> Any:
        """Return what to compile for."""
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        """Return the first."""
        return 0

    def get_device_capability(self, *_: Any) -> tuple[int, int]:
        """Return that of an H100."""
        return 9, 0

    def get_active_torch_device(self) -> Any:
        """Return the first, for torch."""
        import torch

        return torch.device("cuda:0")


def main() -> None:
    """Compile the kernels of the files; an error ends it."""
    libraries.restart_with_libraries()
    import torch._inductor.runtime.triton_helpers as triton_helpers
    import triton
    from torch._inductor.codecache import PyCodeCache

    from tests.helpers.fake_inductor.h100 import always, pretend

    pretend()
    triton.runtime.driver.set_active(Driver())
    triton_helpers.set_driver_to_gpu = always(None)
    for file in sys.argv[1:]:
        for _, name, source in KERNEL.findall(Path(file).read_text()):
            kernel = getattr(PyCodeCache.load(source), name)
            kernel.set_compile_info(None, False)
            kernel.precompile(warm_cache_only=True)
            print(name, flush=True)


if __name__ == "__main__":
    main()
