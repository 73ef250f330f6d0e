"""The dense baseline."""

from dstrun.methods.base import Method


class Dense(Method):
    """No masks: every layer that could have one is reported at density 1."""
