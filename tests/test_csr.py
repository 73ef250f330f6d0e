"""Layers with torch's sparse kernels against the layers they stand for, whatever the layers' options."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from dstrun.csr import CSRConv2d, CSRLinear, to_csr

CONVOLUTIONS: dict[str, tuple[dict[str, Any], bool]] = {  # options, and whether the sparse kernels can have it
    "plain": ({}, True),
    "without bias": ({"bias": False}, True),
    "one tap": ({"kernel_size": 1}, True),
    "upright kernel": ({"kernel_size": (3, 2)}, True),
    "stride": ({"stride": 2}, True),
    "strides": ({"stride": (1, 3)}, True),
    "padding": ({"padding": 1}, True),
    "paddings": ({"padding": (2, 1)}, True),
    "dilation": ({"dilation": 2}, True),
    "dilations": ({"dilation": (1, 2)}, True),
    "all of them": ({"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 2), "dilation": (3, 2)}, True),
    "same": ({"padding": "same", "dilation": 2}, False),
    "valid": ({"padding": "valid"}, False),
    "reflected": ({"padding": 1, "padding_mode": "reflect"}, False),
    "replicated": ({"padding": 1, "padding_mode": "replicate"}, False),
    "round the edge": ({"padding": 1, "padding_mode": "circular"}, False),
    "groups": ({"groups": 2}, False),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@torch.no_grad()
def test_a_sparse_convolution_is_the_dense_one(name: str) -> None:
    options, can = CONVOLUTIONS[name]
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, **{"kernel_size": 3, **options})
    layer.weight *= torch.rand_like(layer.weight) < 0.3
    layer.weight[2] = 0
    images = torch.randn(3, 4, 9, 11)
    made = to_csr(copy.deepcopy(layer))
    assert type(made) is (CSRConv2d if can else nn.Conv2d)
    torch.testing.assert_close(made(images), layer(images), rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_a_layer_that_stands_in_several_places_is_one_in_all_of_them() -> None:
    layer = nn.Linear(3, 3)
    layer.weight[1:] = 0
    first, _, last = to_csr(nn.Sequential(layer, nn.ReLU(), layer))
    assert type(first) is CSRLinear
    assert last is first
