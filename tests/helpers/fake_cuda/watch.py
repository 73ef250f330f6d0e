"""A look at every operation of a training run on fake CUDA tensors.

mixed      an operation on tensors of two devices, or an index on the host into a tensor on the
           device; a 0-dim tensor on the host is a plain number to a kernel
waits      what reads a value back (item, nonzero, an index of booleans, …), and copies between
           host and device that are not asynchronous
launches   operations that are no views; a foreach operation counts once where it is one kernel
peaks      bytes alive on the device
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.helpers.fake_cuda.memory import LiveBytes
from tests.helpers.fake_cuda.place import place

aten = torch.ops.aten
COPIES = (aten._to_copy, aten.copy_, torch.ops.prims.device_put)
INDEXED = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)
GATHERING = (*INDEXED, aten.stack, aten.cat, aten._foreach_copy_)  # where 0-dim is no number
READING = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
WITHOUT_KERNEL = (
    aten.alias,
    aten.detach,
    aten.empty,
    aten.empty_like,
    aten.empty_strided,
    aten.lift_fresh,
    aten.new_empty,
    aten.new_empty_strided,
    aten.resize_,
    aten.set_,
    aten.view,
    aten._unsafe_view,
)

Found = Counter[tuple[str, str, str]]  # by phase, what, and the function of dstrun


class Watch(TorchDispatchMode):
    """Counts what operations would do on a device, by the `phase` that was entered last."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = "setup"
        self.mixed: Found = Counter()
        self.waits: Found = Counter()
        self.launches: Counter[str] = Counter()
        self.operations: dict[str, Counter[str]] = {}
        self.peaks: Counter[str] = Counter()
        self.live = LiveBytes()

    def enter(self, phase: str) -> None:
        """Count for this phase from here on."""
        self.phase = phase
        self._note_peak()

    def note_wait(self, what: str) -> None:
        """Count a wait for the device."""
        self.waits[self.phase, what, place()] += 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, options)) if isinstance(leaf, Tensor)]
        self._check_devices(func, given)
        self._check_reads(func, args, given)
        result = func(*args, **options)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self._check_copies(func, given, made, bool(options.get("non_blocking")))
        if any(tensor.is_cuda for tensor in [*given, *made]):
            self._count_launches(func, args)
        self.live.see([*given, *made])
        self._note_peak()
        return result

    def _check_devices(self, func: Any, given: list[Tensor]) -> None:
        if len({tensor.device for tensor in given}) < 2 or func.overloadpacket in COPIES:
            return
        kernel_takes_numbers = func.overloadpacket not in GATHERING
        others = [t for t in given if not t.is_cuda and (t.dim() or not kernel_takes_numbers)]
        if others:
            self.mixed[self.phase, str(func), place()] += 1

    def _check_reads(self, func: Any, args: Any, given: list[Tensor]) -> None:
        if not any(tensor.is_cuda for tensor in given):
            return
        if func.overloadpacket in INDEXED:
            if any(
                index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
            ):
                self.note_wait("an index of booleans")
        elif any(tag in func.tags for tag in READING) or func is aten.is_nonzero.default:
            self.note_wait(str(func))

    def _check_copies(
        self, func: Any, given: list[Tensor], made: list[Tensor], is_asynchronous: bool
    ) -> None:
        devices = {tensor.device.type for tensor in [*given, *made]}
        if func.overloadpacket in COPIES and len(devices) > 1 and not is_asynchronous:
            self.note_wait(f"a copy {'to' if made[0].is_cuda else 'from'} the device")

    def _count_launches(self, func: Any, args: Any) -> None:
        if func.namespace != "aten" or func.is_view or func.overloadpacket in WITHOUT_KERNEL:
            return
        count = kernels_of_foreach(args) if func.__name__.startswith("_foreach") else 1
        self.launches[self.phase] += count
        self.operations.setdefault(self.phase, Counter())[str(func)] += count

    def _note_peak(self) -> None:
        self.peaks[self.phase] = max(self.peaks[self.phase], self.live.now)


def kernels_of_foreach(args: Any) -> int:
    """Return 1, or as many as there are tensors where shapes or dtypes let torch go one by one."""
    lists = [a for a in args if isinstance(a, list | tuple) and a and isinstance(a[0], Tensor)]
    for tensors in zip(*lists, strict=True):
        if len({(tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors}) > 1:
            return len(lists[0])
    return 1


@contextmanager
def values_read(watch: Watch) -> Iterator[None]:
    """Answer item, tolist, float, … of fake tensors with ones, and count them as waits."""
    answers = {"item": 1.0, "__float__": 1.0, "__int__": 1, "__bool__": True, "__index__": 1}
    changed: list[tuple[type[Tensor], str, Any]] = [(FakeTensor, "tolist", FakeTensor.tolist)]
    changed += [(Tensor, name, getattr(Tensor, name)) for name in ("tolist", *answers)]
    for name, answer in answers.items():
        setattr(Tensor, name, _reader(watch, name, answer, getattr(Tensor, name)))
    Tensor.tolist = _list_reader(watch, Tensor.tolist)
    FakeTensor.tolist = _list_reader(watch, FakeTensor.tolist)
    try:
        yield
    finally:
        for owner, name, method in changed:
            setattr(owner, name, method)


def _reader(watch: Watch, name: str, answer: Any, real: Callable) -> Callable:
    def read(self: Tensor, *_: Any) -> Any:
        if not isinstance(self, FakeTensor):
            return real(self)
        if self.is_cuda:
            watch.note_wait(name.strip("_"))
        return answer

    return read


def _list_reader(watch: Watch, real: Callable) -> Callable:
    def read(self: Tensor) -> Any:
        if not isinstance(self, FakeTensor):
            return real(self)
        if self.is_cuda:
            watch.note_wait("tolist")
        values: Any = self.dtype == torch.bool or 1.0
        for size in reversed(self.shape):
            values = [values] * size
        return values

    return read
