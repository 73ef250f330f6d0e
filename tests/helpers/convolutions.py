"""Options of convolutions with 3×3 taps: every kind that a network may contain."""

from typing import Any

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "without bias": {"bias": False},
    "one tap": {"kernel_size": 1},
    "upright kernel": {"kernel_size": (3, 2)},
    "stride": {"stride": 2},
    "strides": {"stride": (1, 3)},
    "padding": {"padding": 1},
    "paddings": {"padding": (2, 1)},
    "one side padded": {"padding": (0, 2)},
    "dilation": {"dilation": 2},
    "dilations": {"dilation": (1, 2)},
    "all of them": {"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 2), "dilation": (3, 2)},
    "all of them, upright": {
        "kernel_size": (2, 3),
        "stride": (2, 1),
        "padding": (1, 0),
        "dilation": (3, 2),
    },
    "same": {"padding": "same", "dilation": 2},
    "valid": {"padding": "valid"},
    "reflected": {"padding": 1, "padding_mode": "reflect"},
    "replicated": {"padding": 1, "padding_mode": "replicate"},
    "round the edge": {"padding": 1, "padding_mode": "circular"},
    "groups": {"groups": 2},
}
MIRRORED_OR_GROUPED = {"reflected", "replicated", "round the edge", "groups"}
