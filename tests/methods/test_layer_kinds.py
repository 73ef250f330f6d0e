"""Every type of layer that can have masks, against the same layer with W ⊙ M written plainly."""

import copy
import pickle
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm
from torchvision.models import VisionTransformer, swin_t

from dstrun.methods import layer_kinds
from dstrun.methods.dst.masking import MaskWeight, ThresholdMask
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.methods.fixed.mask import FixedMask
from dstrun.methods.layer_kinds import Kind
from dstrun.methods.layer_selection import maskable
from dstrun.methods.masked_layers import load_plain, masked_layers, plain, sparsify
from dstrun.methods.weight_mask import saved_masks
from dstrun.system.errors import InputError
from tests.helpers.layers import LAYERS, Scaled


def first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else first(output[0])


def made(name: str) -> nn.Module:
    """Return a layer in fp64, of random weights and biases."""
    torch.manual_seed(0)
    layer = LAYERS[name][0]().double()
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return layer


def masked(layer: nn.Module, **options: Any) -> nn.Module:
    """Return a masked copy with thresholds of its own for each row."""
    layer = copy.deepcopy(layer)
    sparsify(layer, include=["*"], **options)
    for weight in masked_layers(layer).values():
        rows = weight.mask.threshold
        rows.data.copy_(torch.linspace(0.1, 0.7, rows.numel()).view(rows.shape))
    return layer


# by the name of a parameter: (rows are its dimension, letters of its parts)
def written(name: str) -> tuple[int, int]:
    """Return the dimension of rows and the number of parts, from torch's documentation."""
    if name.startswith("ConvTranspose"):
        return 1, 1
    return 0, 1


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients_are_those_of_the_weights_written_plainly(name: str) -> None:
    """The paper's formula on whole parameters, by functional_call: one threshold for each row."""
    layer, arguments = made(name), LAYERS[name][1]
    sparse = masked(layer)
    dimension, _ = written(name)
    thresholds: dict[str, Tensor] = {}
    products: dict[str, Tensor] = {}
    own = dict(layer.named_parameters())
    for key, parameter in own.items():
        found = [one for one in masked_layers(sparse).values() if full_name(sparse, one) == key]
        if not found:
            continue
        rows = torch.cat([one.mask.threshold.detach().flatten() for one in found])
        shape = [1] * parameter.dim()
        shape[dimension] = len(rows)
        thresholds[key] = rows.view(shape).clone().requires_grad_()
        products[key] = MaskWeight.apply(parameter, thresholds[key], torch.float64)
    assert set(products) == {key for key, one in own.items() if one.dim() > 1 and "bias" not in key}
    expected = first(torch.func.functional_call(layer, products, arguments))
    expected.square().sum().backward()
    output = first(sparse(*arguments))
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    output.square().sum().backward()
    for key, parameter in sparse.named_parameters():
        if "mask" not in key and own[key].grad is not None:
            torch.testing.assert_close(parameter.grad, own[key].grad, rtol=0, atol=1e-12)
    for key, threshold in thresholds.items():
        found = [one for one in masked_layers(sparse).values() if full_name(sparse, one) == key]
        rows = torch.cat([one.mask.threshold.grad.flatten() for one in found])
        torch.testing.assert_close(rows, threshold.grad.flatten(), rtol=0, atol=1e-12)
    assert sum(int(one.mask.kept(one.weight).sum()) for one in masked_layers(sparse).values()) > 0


def full_name(model: nn.Module, weight: Any) -> str:
    (name,) = (name for name, one in model.named_parameters() if one is weight.parameter)
    return name


@pytest.mark.parametrize("name", LAYERS)
def test_names_copies_plain_layers_and_evaluation(name: str) -> None:
    layer, arguments = made(name), LAYERS[name][1]
    sparse = masked(layer)
    state = sparse.state_dict()
    assert [key for key in state if ".mask." not in f".{key}"] == list(layer.state_dict())
    assert sorted(saved_masks(state)) == sorted(masked_layers(sparse))
    output = first(sparse(*arguments))
    for other in (copy.deepcopy(sparse), pickle.loads(pickle.dumps(sparse))):
        assert torch.equal(first(other(*arguments)), output)
    dense = plain(sparse)
    assert type(dense) is type(layer)
    assert not any(isinstance(one, ThresholdMask) for one in dense.modules())
    loaded = copy.deepcopy(layer)
    load_plain(loaded, state)
    for key, value in dense.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    pruned = sum(int((value == 0).sum()) for value in dense.state_dict().values())
    kept = sum(int((~one.mask.kept(one.weight)).sum()) for one in masked_layers(sparse).values())
    assert pruned == kept > 0
    with torch.no_grad():  # where torch takes its fused kernels
        inference = first(sparse.eval()(*arguments))
        torch.testing.assert_close(inference, first(dense.eval()(*arguments)))
    torch.testing.assert_close(inference, output.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_the_guard_resets_and_freezing_keeps_each_weight_by_itself(name: str) -> None:
    layer, arguments = made(name), LAYERS[name][1]
    method = DynamicSparseTraining(0.1, floor=0.5, freeze=0.5, include=["*"])
    method.prepare(layer, past=[])
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.0)
    method.begin(4, optimiser)
    weights = masked_layers(layer)
    emptied = list(weights)[-1]
    for one_name, one in weights.items():
        one.mask.threshold.data.fill_(9.0 if one_name == emptied else 0.1)
    method.after_step()
    assert {
        one_name: float(one.mask.threshold.detach().max()) for one_name, one in weights.items()
    } == {one_name: 0.0 if one_name == emptied else pytest.approx(0.1) for one_name in weights}
    for one in weights.values():
        one.mask.threshold.data.fill_(0.4)
    kept = {one_name: one.weight.abs() > 0.4 for one_name, one in weights.items()}
    method.before_step(2)
    for one in weights.values():
        one.parameter.data.fill_(1.0)
    for one_name, one in weights.items():
        assert torch.equal(one.mask.kept(one.weight), kept[one_name])
    first(layer(*arguments)).sum().backward()
    assert all(one.mask.threshold.grad is None for one in weights.values())
    assert [figures.kept for figures in method.measure()] == [int(k.sum()) for k in kept.values()]


def test_rows_of_a_transposed_convolution_are_its_filters_and_parts_are_those_of_torch() -> None:
    layers = masked_layers(masked(made("ConvTranspose2d")))
    assert [tuple(one.mask.threshold.shape) for one in layers.values()] == [(6, 1, 1, 1)]
    layers = masked_layers(masked(made("LSTMCell")))
    assert list(layers) == [f"weight_{kind}h.{gate}" for kind in "ih" for gate in "ifgo"]
    cell = made("LSTMCell")
    assert torch.equal(layers["weight_hh.g"].weight, cell.weight_hh[12:18])
    layers = masked_layers(masked(made("MultiheadAttention")))
    assert torch.equal(
        layers["in_proj_weight.k"].weight, made("MultiheadAttention").in_proj_weight[8:16]
    )


def test_some_of_q_k_v_may_stay_dense() -> None:
    layer = made("MultiheadAttention")
    sparse = masked(layer, exclude=["in_proj_weight.k", "out_proj"])
    assert list(masked_layers(sparse)) == ["in_proj_weight.q", "in_proj_weight.v"]
    dense, arguments = plain(sparse), LAYERS["MultiheadAttention"][1]
    assert torch.equal(dense.in_proj_weight[8:16], layer.in_proj_weight[8:16])
    assert torch.equal(first(sparse(*arguments)), first(dense(*arguments)))
    assert list(saved_masks(sparse.state_dict())) == list(masked_layers(sparse))
    with torch.autocast("cpu", torch.bfloat16):
        assert first(sparse.float()(*[one.float() for one in arguments])).isfinite().all()


def test_masks_that_a_method_gives_work_on_parts_and_on_transposed_weights() -> None:
    for name in ("MultiheadAttention", "LSTM", "ConvTranspose2d"):
        layer = made(name)
        sparsify(layer, FixedMask)
        for one in masked_layers(layer).values():
            one.mask.set(one.weight.abs() > 0.5)
        dense = plain(layer)
        torch.testing.assert_close(
            first(layer(*LAYERS[name][1])), first(dense(*LAYERS[name][1])), rtol=0, atol=1e-12
        )


def test_nearly_all_weights_of_transformers_are_masked() -> None:
    vision = VisionTransformer(32, 8, 4, 4, 64, 256, num_classes=10)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
    windows = swin_t(num_classes=10)
    for model in (vision, encoder, windows):
        selection = maskable(model)
        masked_ones = sum(one.weight.numel() for one in selection.layers.values())
        of_all = sum(one.numel() for one in model.parameters() if one.dim() > 1)
        assert masked_ones > 0.99 * of_all, selection.left_dense


def test_windows_of_swin_read_masked_weights() -> None:
    torch.manual_seed(0)
    model, images = swin_t(num_classes=3).eval(), torch.randn(1, 3, 32, 32)
    sparsify(model)
    for one in masked_layers(model).values():
        one.mask.threshold.data.fill_(0.02)
    with torch.no_grad():
        torch.testing.assert_close(model(images), plain(model)(images))


@pytest.mark.parametrize("name", ["Conv1d", "GRUCell"])
def test_computed_weights_are_named(name: str) -> None:
    old, new = made(name), made(name)
    weight = "weight" if name == "Conv1d" else "weight_hh"
    with pytest.warns(FutureWarning):
        weight_norm(old, weight)
    parametrizations.weight_norm(new, weight)
    for layer in (old, new):
        model = nn.Sequential(layer, nn.Linear(2, 2))
        reasons = {
            reason for key, reason in maskable(model).left_dense.items() if f"{weight}_" in key
        } or {reason for key, reason in maskable(model).left_dense.items() if "original" in key}
        assert reasons == {"its weight is reparametrised"}


def test_transposed_convolutions_in_groups_and_subclasses_are_named() -> None:
    class Own(nn.Conv1d):
        pass

    model = nn.Sequential(nn.ConvTranspose1d(4, 4, 3, groups=2), Own(4, 4, 1), nn.Linear(2, 2))
    assert maskable(model).left_dense == {
        "0.weight": "a transposed convolution of 2 groups",
        "1.weight": "a parameter of Own",
    }


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Register an entry point of `dstrun.layers`."""

    def register(name: str, value: str) -> None:
        entries = EntryPoints([EntryPoint(name, value, layer_kinds.GROUP)])
        monkeypatch.setattr(layer_kinds, "entry_points", lambda group: entries)
        layer_kinds.kinds_of_packages.cache_clear()

    yield register
    layer_kinds.kinds_of_packages.cache_clear()


OWN = Kind({"matrix": ""}, rows=1)


def test_a_package_adds_its_layers(registered: Callable[[str, str], None]) -> None:
    name = f"{Scaled.__module__}.{Scaled.__qualname__}"
    registered(name, f"{__name__}:OWN")
    model = nn.Sequential(Scaled())
    sparsify(model)
    weight = masked_layers(model)["0.matrix"]
    assert weight.mask.threshold.shape == (4, 1)
    weight.mask.threshold.data.fill_(0.5)
    matrix = Scaled().matrix
    values = torch.randn(2, 3)
    assert torch.equal(model(values), 2 * values @ matrix.where(matrix.abs() > 0.5, 0.0))


@pytest.mark.parametrize("value", [f"{__name__}:MISSING", f"{__name__}:B"])
def test_an_entry_point_that_is_no_kind_is_told(
    registered: Callable[[str, str], None], value: str
) -> None:
    registered("some.Layer", value)
    with pytest.raises(InputError, match=r"the entry point `dstrun\.layers: some\.Layer = "):
        maskable(nn.Sequential(Scaled()))


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_a_recurrent_layer_lays_out_no_weights_for_cudnn(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would do so at each call where weights are other tensors, and move the biases."""
    sparse = masked(made(name))
    called: list[int] = []
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", lambda _: called.append(1))
    sparse(*LAYERS[name][1])
    assert not called


def test_all_parts_of_a_parameter_are_excluded_by_its_name() -> None:
    model = nn.Sequential(made("MultiheadAttention"))
    assert list(maskable(model, exclude=["0.in_proj_weight"]).layers) == ["0.out_proj"]
