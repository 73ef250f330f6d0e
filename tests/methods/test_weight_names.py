"""Weights that several layers have, modules called `mask`, and layers that autocast leaves."""

import copy

import pytest
import torch
from torch import Tensor, nn

from dstrun.methods.dst import compiled_masks
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.methods.imp import IMP
from dstrun.methods.layer_selection import maskable
from dstrun.methods.masked_layers import load_plain, masked_layers, plain, sparsify
from dstrun.methods.set import Set
from dstrun.methods.str import STR
from dstrun.methods.weight_mask import saved_masks
from tests.helpers.layers import LAYERS


class Tied(nn.Module):
    """An embedding and a linear layer of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.last = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        self.last.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.last(self.tokens(tokens))


def test_a_soft_threshold_of_tied_weights_is_applied_once() -> None:
    model = Tied()
    loaded, method = copy.deepcopy(model), STR(-2.0, tied="share")
    method.prepare(model, past=[])
    load_plain(loaded, model.state_dict(), method.make_mask)
    assert torch.equal(loaded.last.weight, plain(model).last.weight)
    assert loaded.last.weight is loaded.tokens.weight


@pytest.mark.parametrize(
    ("tied", "reason"),
    [("leave", "tied to another module"), ("share", "tied to a layer that has it in other parts")],
)
def test_a_weight_of_parts_that_is_whole_elsewhere_has_no_masks(tied: str, reason: str) -> None:
    model = nn.ModuleDict({"whole": nn.Linear(4, 12), "parts": nn.MultiheadAttention(4, 2)})
    model["whole"].weight = model["parts"].in_proj_weight
    selection = maskable(model, tied=tied)
    assert list(selection.layers) == ["parts.out_proj"]
    assert set(selection.left_dense.values()) == {reason}
    assert len(selection.left_dense) == 4


def test_a_module_may_be_called_mask() -> None:
    model = nn.ModuleDict({"mask": nn.Linear(3, 2), "last": nn.Linear(2, 2)})
    loaded, method = copy.deepcopy(model), IMP(0.5, rounds=1)
    method.prepare(model, past=[])
    assert sorted(saved_masks(model.state_dict())) == ["last", "mask"]
    load_plain(loaded, model.state_dict(), method.make_mask)
    assert method._own_state().keys() == loaded.state_dict().keys()


@pytest.mark.parametrize("compile", ["off", "mask"])
def test_layers_that_autocast_leaves_keep_their_dtype(
    compile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedding's output is the residual stream; a bilinear layer takes inputs of one dtype."""
    monkeypatch.setattr(compiled_masks, "compiled", lambda function, device: function)
    model = Tied()
    model.both = nn.Bilinear(4, 4, 2)
    dense = copy.deepcopy(model)
    method = DynamicSparseTraining(0.1, compile=compile, tied="share")
    method.prepare(model, past=[])
    found = []
    for network in [dense, model, model]:  # the first pass finds the dtypes
        with torch.autocast("cpu", torch.bfloat16):
            features = network.tokens(torch.arange(6))
            found.append((features, network.both(features, features), network.last(features)))
        torch.stack([one.float().sum() for one in found[-1]]).sum().backward()
        method.after_step()
    for expected, *ours in zip(*found, strict=True):
        assert [one.dtype for one in ours] == [expected.dtype] * 2
        assert all(torch.equal(one, expected) for one in ours)
    model.to("meta")
    assert model.tokens(torch.arange(6, device="meta")).is_meta


def test_an_embedding_that_changes_its_weight_has_no_mask() -> None:
    model = nn.Sequential(nn.Embedding(5, 4, max_norm=1.0), nn.Linear(4, 2))
    assert maskable(model, include=["*"]).left_dense == {"0.weight": "an embedding with max_norm"}
    sparsify(model, include=["*"])
    assert list(masked_layers(model)) == ["1"]


@pytest.mark.parametrize("name", ["Conv1d", "MultiheadAttention", "Bilinear"])
def test_a_replica_of_data_parallel_has_the_masks(name: str) -> None:
    """Parameters of a replica are attributes of other tensors; on a GPU copies for that one."""
    made, arguments = LAYERS[name]
    layer = made().double()
    sparsify(layer)
    for one in masked_layers(layer).values():
        one.mask.threshold.data.fill_(0.3)
    replica = layer._replicate_for_data_parallel()
    for key, parameter in layer._parameters.items():
        setattr(replica, key, None if parameter is None else parameter * 1)
    torch.testing.assert_close(replica(*arguments), layer(*arguments), rtol=0, atol=0)


@pytest.mark.parametrize("compile", ["off", "mask"])
def test_parameters_may_be_replaced_by_those_of_a_state(
    compile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thresholds of a layer that keeps all of its new weights stay, whatever the old ones were."""
    monkeypatch.setattr(compiled_masks, "compiled", lambda function, device: function)
    model = nn.Sequential(nn.Linear(4, 8))
    method = DynamicSparseTraining(0.0, compile=compile, floor=0.5)
    method.prepare(model, past=[])
    state = {name: torch.full_like(value, 0.5) for name, value in model.state_dict().items()}
    model.load_state_dict(state | {"0.weight": torch.ones(8, 4)}, assign=True)
    method.after_step()
    assert model[0].mask.threshold.unique().tolist() == [0.5]


def test_a_part_without_a_mask_does_not_make_the_others_read_past() -> None:
    """The gradient of the whole parameter has zeros for them."""
    made, arguments = LAYERS["MultiheadAttention"]
    selection = sparsify(made().double(), exclude=["in_proj_weight.k"], example=arguments)
    assert list(selection.layers) == ["in_proj_weight.q", "in_proj_weight.v", "out_proj"]


@pytest.mark.parametrize("past", ["tokens", "last"])
def test_a_tied_weight_that_any_of_its_layers_reads_past_has_no_mask(past: str) -> None:
    model = nn.Sequential(Tied(), nn.Linear(2, 2))
    selection = maskable(model, past=[f"0.{past}"], tied="share")
    assert list(selection.layers) == ["1"]


def test_momentum_of_parts_and_of_transposed_weights_goes_with_their_masks() -> None:
    """Square weights, of which a mask fits the transposed one as well."""
    model = nn.ModuleList([nn.MultiheadAttention(4, 2), nn.ConvTranspose1d(4, 4, 1)])
    method = Set(0.5, every=1)
    method.prepare(model, past=[])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    method.begin(8, optimiser)
    for step in range(4):
        method.before_step(step)
        optimiser.zero_grad()
        values = torch.randn(3, 2, 4)
        output = model[1](model[0](values, values, values)[0].transpose(1, 2))
        output.square().sum().backward()
        method.on_gradients([one.grad for one in model.parameters()])
        optimiser.step()
        method.after_step()
        for layer in method.layers:
            (momentum,) = method.moments(layer)
            assert momentum[layer.mask.keep].any()
            assert not momentum[~layer.mask.keep].any()
