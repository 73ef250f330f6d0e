"""dstrun: an experiment runner for Dynamic Sparse Training.

`dstrun.DynamicSparseTraining` adds the method to a training loop of your own, and `dstrun.method`
any other, such as RigL; `dstrun.record` leaves a run folder of it. `dstrun.sparsify` and
`dstrun.ThresholdMask` are DST's masks alone, and `dstrun.plain` returns the sparse network without
masks. A data set of your own consists of `dstrun.Splits` and `dstrun.Split`, or `dstrun.TextSplit`.
Importing the package does not import torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "sparsify": "dstrun.methods.masked_layers",
    "plain": "dstrun.methods.masked_layers",
    "ThresholdMask": "dstrun.methods.dst.masking",
    "DynamicSparseTraining": "dstrun.methods.dst.method",
    "method": "dstrun.runs.method",
    "record": "dstrun.callbacks.record",
    "RecurrentLinear": "dstrun.models.recurrent",
    "load": "dstrun.export.load",
    "shrink": "dstrun.export.shrink",
    "to_csr": "dstrun.export.csr",
    "Split": "dstrun.data.splits",
    "Splits": "dstrun.data.splits",
    "TextSplit": "dstrun.data.splits",
}
__all__ = [*_PUBLIC, "__version__"]


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'dstrun' has no attribute {name!r}")
