"""The card, the driver, versions, and the ceilings that figures of speed are held against."""

import os
import subprocess
import time
from collections.abc import Callable

import torch
from gpu_child import Child

from dstrun.system.machine import facts as machine_facts


def facts(child: Child) -> None:
    child.say(**machine_facts(child.device), cores=os.cpu_count(), triton=triton_version())
    child.say(tf32={"matmul": torch.backends.cuda.matmul.allow_tf32})
    if not child.is_cuda:
        return
    card = torch.cuda.get_device_properties(child.device)
    child.say(memory_gib=round(card.total_memory / 2**30, 1), sms=card.multi_processor_count)
    child.say(driver=driver_version(), tf32={"cudnn": torch.backends.cudnn.allow_tf32})
    child.say(copy_gb_s=round(copying(child.device) / 1e9))
    n = 8192
    kinds = {"bf16": (torch.bfloat16, False), "tf32": (torch.float32, True)}
    for name, (dtype, tf32) in (kinds | {"fp32": (torch.float32, False)}).items():
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(n, n, device=child.device, dtype=dtype) for _ in range(2))
        seconds = per_call(lambda a=a, b=b: a @ b)
        child.say(matmul_tflops={name: round(2 * n**3 / seconds / 1e12, 1)})
    x = torch.ones(8, device=child.device)
    child.say(launch_us=round(1e6 * launches(x, 2000), 2))


def triton_version() -> str | None:
    try:
        import triton
    except ImportError:
        return None
    return triton.__version__


def driver_version() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.split("\n")[0].strip() or None


def per_call(task: Callable[[], object], repeats: int = 10) -> float:
    """Return the card's seconds for one call, after three that are not timed."""
    for _ in range(3):
        task()
    begin, finish = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats):
        task()
    finish.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(finish) / repeats / 1e3


def copying(device: torch.device) -> float:
    """Return the bytes that the card reads and writes in a second."""
    source = torch.ones(2**29, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / per_call(lambda: target.copy_(source))


def launches(x: torch.Tensor, count: int) -> float:
    """Return the seconds between two small kernels that are launched one after the other."""
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(count):
        x.add_(1)
    torch.cuda.synchronize()
    return (time.perf_counter() - begun) / count
