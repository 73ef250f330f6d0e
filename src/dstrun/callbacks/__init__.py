"""Training loops of others: the record of a run, and callbacks of their trainers.

`HuggingFaceCallback` is for `transformers.Trainer`, `LightningCallback` for `lightning.Trainer`.
Importing the package imports neither, nor torch.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {  # name: module, extra of pip
    "HuggingFaceCallback": ("dstrun.callbacks.huggingface", "huggingface"),
    "LightningCallback": ("dstrun.callbacks.lightning", "lightning"),
}
__all__ = [*_PUBLIC]


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dstrun.callbacks' has no attribute {name!r}")
    module, extra = _PUBLIC[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} needs the package {error.name}: pip install 'dstrun[{extra}]'"
        ) from error
