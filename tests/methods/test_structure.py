"""N:M and fan-in: each group and each row holds its number of weights, whatever moves."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from dstrun.methods import method_class
from dstrun.methods.fixed.method import FixedMaskMethod
from dstrun.methods.fixed.selection import has_structure, select
from dstrun.methods.static import Static
from dstrun.training.step import Update


def test_groups_lie_along_the_inputs_of_a_filter() -> None:
    """One filter of 4 inputs and a kernel of 1 × 2: two of each place's four numbers.

    Of 1, 4, 3, 2 those of inputs 1 and 2; of 8, 5, 6, 7 those of inputs 0 and 3. In memory the
    places alternate: 1, 8, 4, 5 would be a group.
    """
    scores = torch.tensor([[[[1, 8]], [[4, 5]], [[3, 6]], [[2, 7]]]])
    assert select(scores, 4, "2:4").int().tolist() == [[[[0, 1]], [[1, 0]], [[1, 0]], [[0, 1]]]]


def test_whether_a_mask_has_a_structure() -> None:
    """Two of each row, and of each four inputs of a row; then of rows alone, then of neither."""
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0]]) > 0
    assert has_structure(mask, "fan_in")
    assert has_structure(mask, "2:4")
    assert not has_structure(mask, "1:2"), "1 1 is a group"
    mask[1, 3] = True
    assert not has_structure(mask, "fan_in")
    assert not has_structure(mask, "2:4")
    assert has_structure(mask, "none")


def counts(keep: Tensor, structure: str) -> Tensor:
    """Return the number of weights of each row, or of each group of inputs."""
    if structure == "fan_in":
        return keep.flatten(1).sum(1)
    size = int(structure.partition(":")[2])
    return keep.unflatten(1, (-1, size)).sum(2)


STRUCTURES = [("fan_in", 0.3, (11, 5)), ("2:4", 0.5, (2, 2)), ("1:4", 0.25, (1, 1))]


@pytest.mark.parametrize(("structure", "density", "held"), STRUCTURES)
@pytest.mark.parametrize("name", ["set", "rigl"])
def test_every_update_leaves_as_many_in_each_row_or_group(
    name: str, structure: str, density: float, held: Sequence[int]
) -> None:
    """Rows of 4 · 3 · 3 and of 16 weights; 0.3 · 36 = 10.8 and 0.3 · 16 = 4.8 are 11 and 5."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4))
    method: FixedMaskMethod = method_class(name)(  # type: ignore[assignment]
        density, structure=structure, distribution="uniform", every=5, drop=0.5, until=1.0
    )
    method.prepare(model, past=[])
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    method.begin(50, sgd, 10)
    update = Update(model, method, sgd)
    images, labels = torch.rand(6, 4, 4, 4), torch.arange(6) % 4
    first = [layer.mask.keep.clone() for layer in method.layers]
    for step in range(50):
        method.before_step(step)
        update(images, labels, 0.1)
        if step % 5 and step != 49:
            continue
        for layer, number in zip(method.layers, held, strict=True):
            assert counts(layer.mask.keep, structure).unique().tolist() == [number]
            assert layer.kept == int(layer.mask.keep.sum())
            assert not layer.weight[~layer.mask.keep].any()
    for before, layer in zip(first, method.layers, strict=True):
        assert not torch.equal(before, layer.mask.keep)


def test_fan_in_keeps_the_number_of_the_distribution_rounded_to_rows() -> None:
    """Of 4 × 4 weights 6 are 1.5 a row, 2 (halves go to the even number): 8 are kept."""
    method = Static(6 / 16, structure="fan_in")
    model = nn.Sequential(nn.Linear(4, 4))
    method.prepare(model, past=[])
    method.begin(1, torch.optim.SGD(model.parameters(), lr=0.1))
    assert method.layers[0].mask.keep.sum(1).tolist() == [2, 2, 2, 2]
    assert method.layers[0].kept == int(method.kept()) == 8


@pytest.mark.parametrize(
    ("structure", "density", "line"),
    [
        ("4:2", 0.5, "structure: got '4:2', expected none, fan_in, or N:M such as 2:4, with N < M"),
        ("0:4", 0.5, "structure: got '0:4', expected none, fan_in, or N:M such as 2:4, with N < M"),
        ("rows", 0.5, "structure: got 'rows', expected none, fan_in, or N:M such as 2:4, with N <"),
        ("2:4", 0.3, "density: got 0.3 with structure=2:4, which keeps 0.5"),
        (
            "2:4",
            0.5,
            "structure: got 2:4, and 4 does not divide the number of inputs of 0 (3), 1 (5), 3 (6) "
            "and 1 more; reg.exclude leaves layers dense",
        ),
    ],
)
def test_a_structure_that_does_not_fit_is_told(structure: str, density: float, line: str) -> None:
    sizes = [(3, 5), (5, 8), (8, 6), (6, 2), (2, 4)]
    model = nn.Sequential(*(nn.Linear(*size) for size in sizes))
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        Static(density, structure=structure).prepare(model, past=[])
    assert str(refused.value).startswith(line)


@pytest.mark.parametrize("name", ["snfs", "dsr", "granet"])
def test_a_method_that_moves_weights_between_rows_has_no_structure(name: str) -> None:
    with pytest.raises(ValueError, match=f"^structure: got 'fan_in', and {name} has none$"):
        method_class(name)(0.3, structure="fan_in")


def test_what_a_structure_says_is_described() -> None:
    assert Static(0.1, structure="fan_in").describe() == "static, density 10.00% (erk, fan_in)"
    assert Static(0.5, structure="2:4").describe() == "static, density 50.00% (2:4)"
