"""sparsify: what it converts, what it leaves dense and says so, and that nothing else about a model
changes.
"""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from dstrun.methods.dst.masking import ThresholdMask
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.methods.layer_selection import maskable
from dstrun.methods.masked_layers import (
    MaskedConv2d,
    MaskedLinear,
    load_plain,
    masked_layers,
    plain,
    sparsify,
)
from dstrun.models import BUILDERS, OF_SEQUENCES


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def test_parameters_stay_the_same_objects_under_the_same_names() -> None:
    model = small()
    before = dict(model.named_parameters())
    sparsify(model)
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())
    assert set(after) - set(before) == {"0.mask.threshold", "3.mask.threshold"}
    assert isinstance(model[0], MaskedConv2d)
    assert isinstance(model[3], MaskedLinear)


def test_at_threshold_zero_a_sparse_model_computes_what_the_dense_one_does() -> None:
    model, x = small(), torch.randn(2, 2, 4, 4)
    dense = model(x)
    sparsify(model)
    assert torch.equal(model(x), dense)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_uses_its_options_and_its_masked_weight(
    memory_format: torch.memory_format,
) -> None:
    plain = nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, padding_mode="reflect")
    plain = plain.to(memory_format=memory_format)
    masked = copy.deepcopy(plain)
    sparsify(masked)
    masked.mask.threshold.data.fill_(0.1)
    plain.weight.data[plain.weight.abs() <= 0.1] = 0
    x = torch.randn(2, 4, 9, 9).to(memory_format=memory_format)
    assert torch.equal(masked(x), plain(x))
    masked(x).sum().backward()
    assert masked.weight.grad is not None
    assert torch.isfinite(masked.weight.grad).all()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", ["same", "valid", (2, 1)])
def test_a_convolution_is_padded_as_by_torch(mode: str, padding: Any) -> None:
    """Unevenly where "same" meets a kernel of two taps."""
    options = {"padding": padding, "padding_mode": mode, "dilation": (1, 2)}
    plain = nn.Conv2d(1, 2, (2, 3), **options)
    masked = copy.deepcopy(plain)
    sparsify(masked)
    x = torch.randn(1, 1, 7, 8)
    assert torch.equal(masked(x), plain(x))


def test_a_sparse_model_can_be_copied_and_pickled() -> None:
    model, x = small(), torch.randn(1, 2, 4, 4)
    sparsify(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))
        assert isinstance(other[0].mask, ThresholdMask)


def test_excluded_layers_stay_dense_and_are_named() -> None:
    selection = sparsify(model := small(), exclude=["3"])
    assert list(selection.layers) == ["0"]
    assert selection.left_dense == {"3.weight": "excluded"}
    assert type(model[3]) is nn.Linear


def test_a_glob_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'fc\*' matches no layer; the layers are 0, 3"):
        sparsify(small(), exclude=["fc*"])


def test_a_matrix_beside_a_weight_is_left_dense() -> None:
    (model := small())[3].extra = nn.Parameter(torch.zeros(2, 2))
    assert sparsify(model).left_dense == {"3.extra": "a parameter of Linear"}


def test_a_computed_weight_is_left_dense() -> None:
    model = small()
    prune.identity(model[3], "weight")
    reason = "its weight is reparametrised"
    assert maskable(model).left_dense == {"3.weight_orig": reason}


def tied() -> nn.Sequential:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5), nn.Linear(5, 5))
    model[1].weight = model[0].weight
    return model


def test_tied_weights_are_left_dense() -> None:
    selection = sparsify(tied())
    assert list(selection.layers) == ["2"]
    reason = "tied to another module"
    assert selection.left_dense == {"0.weight": reason, "1.weight": reason}


def test_tied_weights_share_a_mask_when_asked() -> None:
    model = tied()
    selection = sparsify(model, tied="share")
    assert list(selection.layers) == list(masked_layers(model)) == ["0", "2"]
    assert not selection.left_dense
    assert model[0].mask is model[1].mask
    model[0].mask.threshold.data.fill_(0.5)
    sparse = plain(model)
    assert torch.equal(sparse[1](model[0](torch.arange(5))), model[1](model[0](torch.arange(5))))
    assert sparse[0].weight is sparse[1].weight
    assert torch.equal(sparse[0].weight, model[0].weight.where(model[0].weight.abs() > 0.5, 0.0))
    copied = copy.deepcopy(model)
    assert copied[0].mask is copied[1].mask


def test_weights_tied_to_what_has_no_mask_are_named() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ConvTranspose1d(3, 3, 1), nn.Linear(3, 2))
    model[1].weight = nn.Parameter(torch.ones(3, 3))
    model[0].weight = model[1].weight
    left = maskable(model, tied="share").left_dense
    assert left["0.weight"] == "tied to a layer whose rows are its columns"
    model[2].other = model[0].weight
    left = maskable(model, tied="share").left_dense
    assert left["0.weight"] == "tied to 2.other, which can have no mask"
    assert maskable(model, tied="share", exclude=["0"]).left_dense["1.weight"]
    with pytest.raises(ValueError, match="tied: got 'both', expected one of leave, share"):
        maskable(model, tied="both")


def test_an_embedding_is_masked_where_it_is_named() -> None:
    model = nn.ModuleDict({"tokens": nn.Embedding(5, 3), "head": nn.Linear(3, 5)})
    assert list(maskable(model).layers) == ["head"]
    assert maskable(model).left_dense == {
        "tokens.weight": "an embedding, masked where include names it"
    }
    assert list(maskable(model, include=["tok*"]).layers) == ["tokens", "head"]
    assert list(maskable(model, include=["tokens"], exclude=["head"]).layers) == ["tokens"]


def test_a_name_in_include_that_cannot_be_masked_is_refused() -> None:
    model = nn.ModuleDict({"tokens": nn.Embedding(5, 3, sparse=True), "head": nn.Linear(3, 5)})
    with pytest.raises(ValueError, match=r"include: tokens\.weight can have no mask: an emb"):
        maskable(model, include=["tokens"])
    with pytest.raises(ValueError, match=r"^include: 'toks' matches no layer; no embedding "):
        maskable(model, include=["toks"])


def test_the_feed_forward_part_of_a_transformer_is_masked_in_inference_too() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    selection = sparsify(layer)
    attention = [f"self_attn.in_proj_weight.{part}" for part in "qkv"]
    assert list(selection.layers) == [*attention, "self_attn.out_proj", "linear1", "linear2"]
    assert not selection.left_dense
    for child in (layer.linear1, layer.linear2):
        child.mask.threshold.data.fill_(0.2)
    x = torch.randn(2, 3, 8)
    with torch.no_grad():  # torch's fused kernel would read past the masks here
        inference = layer.eval()(x)
    torch.testing.assert_close(inference, layer.train()(x))


def test_a_plain_transformer_keeps_its_fused_kernel_when_masked_weights_are_loaded() -> None:
    layer, plain = (nn.TransformerEncoderLayer(8, 2, 16) for _ in range(2))
    fused = plain.activation_relu_or_gelu
    sparsify(layer)
    load_plain(plain, layer.state_dict())
    assert plain.activation_relu_or_gelu == fused != layer.activation_relu_or_gelu


def test_twice_or_with_nothing_to_mask_is_refused() -> None:
    model = small()
    sparsify(model)
    with pytest.raises(ValueError, match=r"masks already; dstrun.plain\(model\)"):
        sparsify(model)
    with pytest.raises(ValueError, match="nothing to mask"):
        sparsify(nn.BatchNorm1d(3))


@pytest.mark.parametrize(
    ("builder", "options", "shape", "layers", "weights"),
    [
        ("lenet_300_100", {}, (1, 28, 28), 3, 266_200),
        ("lenet5", {}, (1, 28, 28), 4, 430_500),
        ("lstm", {"hidden": 128}, (1, 28, 28), 5, 4 * 128 * (28 + 128 + 128 + 128) + 1280),
        ("vgg", {}, (3, 32, 32), 15, 14_977_728),
        ("wide_resnet", {"depth": 16, "width": 8}, (3, 32, 32), 17, None),
        ("wide_resnet", {"depth": 28, "width": 8}, (3, 32, 32), 29, None),
        ("resnet50", {}, (3, 224, 224), 54, 25_502_912),
    ],
)
def test_models_have_the_papers_layers(
    builder: str,
    options: dict[str, int],
    shape: tuple[int, int, int],
    layers: int,
    weights: int | None,
) -> None:
    classes = 1000 if builder == "resnet50" else 10
    with torch.device("meta"):
        model = BUILDERS[builder](shape, classes, **options)
        selection = maskable(model)
        DynamicSparseTraining(1e-3).prepare(model)
        assert model.eval()(torch.empty(2, *shape)).shape == (2, classes)
    assert len(selection.layers) == layers
    assert weights in (None, sum(layer.weight.numel() for layer in selection.layers.values()))
    assert not selection.left_dense


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 17, 40)])
@pytest.mark.parametrize("builder", sorted({*BUILDERS} - {*OF_SEQUENCES}))
def test_every_model_takes_every_size_of_image(builder: str, shape: tuple[int, int, int]) -> None:
    options = {"patch": math.gcd(*shape[1:])} if builder == "vit" else {}
    with torch.device("meta"):
        model = BUILDERS[builder](shape, 7, **options)
        assert model.eval()(torch.empty(2, *shape)).shape == (2, 7)
