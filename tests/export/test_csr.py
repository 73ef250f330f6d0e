"""Layers with torch's sparse kernels compared with the layers they replace, for all options."""

import copy

import pytest
import torch
from torch import nn

from dstrun.export.csr import CSRConv2d, CSRLinear, to_csr
from tests.helpers.convolutions import MIRRORED_OR_GROUPED, OPTIONS


@pytest.mark.parametrize("name", OPTIONS)
@torch.no_grad()
def test_a_sparse_convolution_is_the_dense_one(name: str) -> None:
    can = name not in {*MIRRORED_OR_GROUPED, "same", "valid"}  # what the sparse kernels have
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, **{"kernel_size": 3, **OPTIONS[name]})
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
