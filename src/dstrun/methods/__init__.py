"""Sparse-training methods by the name that `reg.method` gives them.

Importing the package imports no torch; `method_class` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dstrun.methods.base import Method

METHODS = {
    "dst": "dstrun.methods.dst.method:DynamicSparseTraining",
    "dense": "dstrun.methods.dense:Dense",
    "static": "dstrun.methods.static:Static",
    "set": "dstrun.methods.set:Set",
    "rigl": "dstrun.methods.rigl:RigL",
    "snfs": "dstrun.methods.snfs:SNFS",
    "dsr": "dstrun.methods.dsr:DSR",
    "gmp": "dstrun.methods.gmp:GMP",
    "one_shot": "dstrun.methods.one_shot:OneShot",
    "imp": "dstrun.methods.imp:IMP",
    "acdc": "dstrun.methods.acdc:ACDC",
    "l1": "dstrun.methods.l1:L1",
    "granet": "dstrun.methods.granet:GraNet",
    "str": "dstrun.methods.str:STR",
    "snip": "dstrun.methods.snip:Snip",
    "grasp": "dstrun.methods.grasp:Grasp",
    "synflow": "dstrun.methods.synflow:Synflow",
}


def method_class(name: str) -> "type[Method]":
    """Return the class of a method. Raises KeyError for an unknown name."""
    module, _, found = METHODS[name].partition(":")
    return getattr(import_module(module), found)
