"""Functions of export one by one: weights, kernels, sizes, and the comparison of outputs."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dstrun.export.csr import CSRLinear
from dstrun.export.load import About, about_run, load, restore_model, save
from dstrun.export.size import measure_size
from dstrun.export.trained import Trained, compare_outputs
from dstrun.methods.mask_stats import LayerFigures
from dstrun.methods.masked_layers import load_plain, sparsify
from dstrun.runs.folder import load_config
from tests.helpers.folders import leave

LENET = About("lenet_300_100", {}, (1, 2, 2), 3, [0.0], [1.0])


def sparse_weights() -> dict[str, Tensor]:
    """Return LeNet-300-100 for images of four pixels, with a tenth of each weight."""
    torch.manual_seed(0)
    weights = LENET.build().state_dict()
    return {
        name: value * (torch.rand_like(value) < 0.1) if value.dim() > 1 else value
        for name, value in weights.items()
    }


@pytest.mark.parametrize("frozen", [False, True])
def test_plain_weights_are_those_that_thresholds_or_frozen_masks_keep(frozen: bool) -> None:
    state = {
        "a.weight": torch.tensor([[1.0, -2.0, 3.0]]),
        "a.bias": torch.ones(1),
        "a.mask.threshold": torch.tensor([[1.5]]),
    }
    if frozen:
        state["a.mask.frozen"] = torch.tensor([[True, False, False]])
    model = nn.ModuleDict({"a": nn.Linear(3, 1)})
    load_plain(model, state)
    assert model["a"].weight.tolist() == ([[1, 0, 0]] if frozen else [[0, -2, 3]])
    assert list(model.state_dict()) == ["a.weight", "a.bias"]
    assert type(model["a"]) is nn.Linear


@pytest.mark.parametrize("missing", ["a.weight", "a.bias", "a.mask.threshold"])
def test_a_masked_state_that_lacks_something_is_refused(missing: str) -> None:
    masked, plain = (nn.ModuleDict({"a": nn.Linear(3, 1)}) for _ in range(2))
    sparsify(masked)
    state = masked.state_dict() | {"a.mask.frozen": torch.ones(1, 3, dtype=torch.bool)}
    del state[missing]
    with pytest.raises(RuntimeError, match=missing):
        load_plain(plain, state)


def test_how_images_are_prepared_is_what_the_runs_config_says() -> None:
    folder = leave(data__mean=[0.5], data__std=[0.25], model__name="mine")
    about = about_run(folder, load_config(folder), {"shape": [1, 2, 2], "classes": 3})
    assert about == About("lenet_300_100", {}, (1, 2, 2), 3, [0.5], [0.25])


@pytest.mark.parametrize("kind", ["dense", "packed", "csr"])
def test_a_file_gives_the_weights_again_for_the_kernels_asked_for_or_its_own(
    tmp_path: Path, kind: str
) -> None:
    file, weights, images = (
        tmp_path / "network.safetensors",
        sparse_weights(),
        torch.rand(5, 1, 2, 2),
    )
    save(file, LENET, weights, kind)
    model = restore_model(LENET, weights)
    assert not model.training
    for kernels in (None, "dense", "csr"):
        made = load(file, kernels)
        assert not made.training
        assert made.about == LENET
        assert type(made.fc1) is (CSRLinear if (kernels or kind) == "csr" else nn.Linear)
        torch.testing.assert_close(made(images), model(images), rtol=1e-6, atol=1e-6)


def test_what_is_kept_is_counted_by_weights_and_by_the_places_at_which_they_are_used() -> None:
    """Measure LeNet-5 for 16×16 images.

    The weights of conv1 are used at 12×12 places, those of conv2 at 2×2, those of a spare layer
    nowhere.
    """
    about = About("lenet5", {}, (1, 16, 16), 3, [0.0], [1.0])
    plain = about.build()
    plain.spare = nn.Linear(6, 2, bias=False)
    kept = {"conv1": 7, "conv2": 11, "fc3": 13, "fc4": 0, "spare": 5}
    layers = [
        LayerFigures(name, count, plain.get_parameter(f"{name}.weight").numel())
        for name, count in kept.items()
    ]
    record = measure_size(Trained(Path("outputs/x"), plain, plain, about, layers, list))
    biases = 20 + 50 + 500 + 3
    assert (record["parameters"], record["parameters_kept"]) == (52_012 + biases, 36 + biases)
    assert record["multiply_adds"] == 500 * 144 + 25_000 * 4 + 25_000 + 1500
    assert record["multiply_adds_kept"] == 7 * 144 + 11 * 4 + 13
    assert [layer["multiply_adds_kept"] for layer in record["layers"]] == [
        7 * 144,
        11 * 4,
        13,
        0,
        0,
    ]
    assert [layer["multiply_adds"] for layer in record["layers"]] == [
        500 * 144,
        25_000 * 4,
        25_000,
        1500,
        0,
    ]


@pytest.mark.parametrize("changed", [0.75, float("nan")])
def test_outputs_are_compared_for_every_image_of_every_batch(changed: float) -> None:
    """Give the second of five images another class, by 0.75 or NaN; the last is wrong in both."""
    logits, labels = torch.eye(3)[[0, 1, 2, 0, 1]], torch.tensor([0, 1, 2, 0, 0])
    split = [(logits[:4], labels[:4]), (logits[4:], labels[4:])]

    def exported(batch: Tensor) -> Tensor:
        made = batch.clone()
        if len(made) == 4:
            made[1] = torch.tensor([0.0, 0.5, changed])
        return made

    model = nn.Identity()
    found = compare_outputs(Trained(Path(), model, model, LENET, [], lambda: split), exported)
    assert found["largest_difference"] == pytest.approx(changed, nan_ok=True)
    assert (found["images"], found["top1_differs"], found["accuracy"]) == (5, 1, 3 / 5)


def test_a_users_own_child_of_the_name_mask_stays() -> None:
    model = nn.ModuleDict({"a": nn.ModuleDict({"mask": nn.Linear(1, 1)})})
    state = {name: torch.full_like(value, 2.0) for name, value in model.state_dict().items()}
    load_plain(model, state)
    assert model["a"]["mask"].weight.item() == 2  # type: ignore[index]


def test_a_checkpoint_that_does_not_say_the_images_shape() -> None:
    run = leave()
    with pytest.raises(
        ValueError, match="of an early version, lacks the shape of the images; use `dstrun export"
    ):
        about_run(run, load_config(run), {"classes": 10})
    assert about_run(run, load_config(run), {"classes": 10, "shape": [1, 28, 28]}).shape == (
        1,
        28,
        28,
    )
