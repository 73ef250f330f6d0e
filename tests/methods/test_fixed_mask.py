"""Masks that are given: W ⊙ M forwards, the whole gradient backwards, and their moves."""

import pytest
import torch
from torch import nn

from dstrun.methods.fixed.mask import FixedMask
from dstrun.methods.static import Static
from tests.helpers.masks import begun, mask_tables, set_momenta, weight_tables

KEEP = torch.tensor([[True, False, True], [False, False, True]])


def given(keep: torch.Tensor = KEEP) -> tuple[nn.Parameter, FixedMask]:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(keep.shape))
    mask = FixedMask(weight)
    mask.set(keep)
    return weight, mask


def test_everything_is_kept_at_first() -> None:
    weight = torch.randn(2, 3)
    mask = FixedMask(weight)
    assert mask.kept(weight).all()
    assert torch.equal(mask(weight), weight)


def test_forwards_it_is_the_product_and_backwards_the_gradient_is_whole() -> None:
    weight, mask = given()
    product = mask(weight)
    assert torch.equal(product, weight * KEEP)
    gradient = torch.randn(2, 3)
    product.backward(gradient)
    assert weight.grad is not None
    assert torch.equal(weight.grad, gradient)
    assert torch.equal(mask.kept(weight), KEEP)


def test_in_bf16_the_product_is_rounded_and_the_gradient_is_not() -> None:
    weight, mask = given()
    with torch.autocast("cpu", torch.bfloat16):
        product = mask(weight)
    assert torch.equal(product, (weight * KEEP).bfloat16())
    product.backward(torch.ones(2, 3, dtype=torch.bfloat16))
    assert weight.grad is not None
    assert (weight.grad.dtype, weight.grad.unique().tolist()) == (torch.float32, [1.0])
    half = FixedMask(weight.detach().bfloat16())
    half.set(KEEP)
    assert half.factor.dtype is torch.bfloat16


def test_a_mask_is_set_in_place() -> None:
    _, mask = given()
    before = (mask.keep.data_ptr(), mask.factor.data_ptr())
    mask.set(~KEEP)
    assert (mask.keep.data_ptr(), mask.factor.data_ptr()) == before
    assert torch.equal(mask.keep, ~KEEP)
    assert torch.equal(mask.factor, (~KEEP).float())


def test_a_mask_that_is_loaded_takes_part() -> None:
    weight, mask = given()
    assert list(mask.state_dict()) == ["keep"], "the numbers are not saved"
    _, other = given(~KEEP)
    before = other.factor.data_ptr()
    other.load_state_dict(mask.state_dict())
    assert torch.equal(other(weight), weight * KEEP)
    assert other.factor.data_ptr() == before


def test_a_move_leaves_weight_and_momentum_where_both_masks_keep_them() -> None:
    """Of four weights the first stays, the second is dropped, the third grown, the last neither."""
    method = Static(0.5)
    optimiser = begun(method, [[0.5, 0.6, 0.0, 0.0]])
    set_momenta(method, optimiser, [[1.0, 2.0, 3.0, 4.0]])
    (layer,) = method.layers
    layer.weight.data[0, 2] = 7.0  # as momentum could have left it
    optimiser.state[layer.weight]["step"] = torch.tensor(5.0)
    method.move(layer, torch.tensor([[True, False, True, False]]))
    assert weight_tables(method) == [[[0.5, 0.0, 0.0, 0.0]]]
    assert mask_tables(method) == [[[1, 0, 1, 0]]]
    assert optimiser.state[layer.weight]["momentum_buffer"].tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert optimiser.state[layer.weight]["step"] == 5, "a count is no momentum"


def test_adams_moments_move_too() -> None:
    method, model = Static(0.5), nn.Sequential(nn.Linear(4, 1, bias=False))
    method.prepare(model, past=[])
    adam = torch.optim.Adam(model.parameters(), lr=0.1)
    method.begin(10, adam)
    (layer,) = method.layers
    layer.mask.set(torch.tensor([[True, True, False, False]]))
    layer.weight.grad = torch.ones(1, 4)
    adam.step()
    method.move(layer, torch.tensor([[True, False, True, False]]))
    state = adam.state[layer.weight]
    assert (state["exp_avg"] != 0).tolist() == [[True, False, False, False]]
    assert (state["exp_avg_sq"] != 0).tolist() == [[True, False, False, False]]
    assert state["step"] == 1


def test_gradients_of_pruned_weights_are_0_and_those_of_others_whole() -> None:
    method, model = Static(0.5), nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 1))
    model[1].weight.requires_grad_(False)
    method.prepare(model, past=["1"])
    (layer,) = method.layers
    gradients = [torch.ones_like(one) for one in model.parameters() if one.requires_grad]
    assert method.on_gradients(gradients)
    assert torch.equal(gradients[0], layer.mask.factor)
    assert [gradient.sum().item() for gradient in gradients] == [2, 1, 1]
    assert method.on_gradients([None, None, None])


def test_a_method_that_moves_momentum_asks_for_the_optimiser() -> None:
    method = Static(0.5)
    method.prepare(nn.Sequential(nn.Linear(4, 1)), past=[])
    with pytest.raises(RuntimeError, match=r"call begin\(steps, optimiser\)"):
        method.begin(10)


def test_a_weight_that_is_not_trained_has_no_mask() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2))
    model[1].weight.requires_grad_(False)
    line = r"^exclude: the weight of 1 is not trained.*reg.exclude=\[1\] leaves it dense$"
    with pytest.raises(ValueError, match=line):
        Static(0.5).prepare(model)


def test_a_density_counts_what_layers_are_given() -> None:
    """6 of 12 are kept, of which the first layer keeps 2 and the other all of its 4."""
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2))
    method = Static(0.5, layer_densities={"0": 0.25}, distribution="uniform")
    method.prepare(model, past=[])
    assert [int(layer.mask.keep.sum()) for layer in method.layers] == [2, 4]
    with pytest.raises(ValueError, match=r"^density: got 0.1, which keeps 2 of 12"):
        Static(0.1, distribution="uniform").prepare(
            nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2)), past=[]
        )


@pytest.mark.parametrize("density", [-0.5, 0.0, 1.5, float("nan")])
def test_a_density_is_a_share(density: float) -> None:
    with pytest.raises(ValueError, match=f"^density: got {density:g}, expected 0 < number ≤ 1"):
        Static(density)
