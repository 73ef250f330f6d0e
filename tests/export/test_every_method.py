"""Runs of every method of the registry after their training: eval, export, load, rerun, init."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import dstrun
from dstrun.config.sparsity_options import AT_START, RANDOM_START
from dstrun.export.trained import load_trained
from tests.helpers.commands import Command, Trained
from tests.helpers.methods import NAMES, words
from tests.helpers.runs import QUICK, only_run

SLOW = [name if name == "rigl" else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
FORMATS = {"plain.safetensors": [], "csr.safetensors": ["--format", "csr"]}


@pytest.mark.parametrize("name", SLOW)
def test_what_is_exported_and_loaded_has_the_outputs_of_the_masked_model(
    name: str, command: Command, trained: Trained
) -> None:
    trained(*QUICK, *words(name))
    run, images = only_run(), torch.rand(9, 1, 28, 28)
    masked = load_trained(run).masked
    expected = outputs(masked, images)
    loaded = dstrun.load(run)
    assert torch.equal(outputs(loaded, images), expected)
    summary = json.loads((run / "summary.json").read_text())
    # a weight that was grown stays 0 where its image's pixel is always black
    assert 0 < nonzero(loaded) <= summary["kept"]
    for network in (dstrun.shrink(loaded, images[:1]), dstrun.to_csr(loaded)):
        torch.testing.assert_close(outputs(network, images), expected, rtol=1e-4, atol=1e-5)
    assert_exported(command, run, images, FORMATS)
    said = command("eval", str(run), "threads=1").out
    assert f"test accuracy {summary['test_accuracy']:.2%}" in said
    assert f"density {summary['density']:.2%}" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_program_of_the_shrunk_network_has_them(
    name: str, command: Command, trained: Trained
) -> None:
    """Or is refused, where no neuron is without weights, as with masks that leave some in each."""
    trained(*QUICK, *words(name))
    outcome = command("export", str(only_run()), "--to", "few.pt2", "--shrink")
    if outcome.code == 2:
        assert name not in ("dst", "dsr", "snip")
        assert outcome.err.count("\n") == 1
        assert outcome.err.startswith("dstrun: shrink: nothing can be removed from this network")
        assert not Path("few.pt2").exists()
        return
    Path("few.pt2").unlink()
    assert_exported(command, only_run(), torch.rand(9, 1, 28, 28), {"few.pt2": ["--shrink"]})


def assert_exported(
    command: Command, run: Path, images: Tensor, formats: dict[str, list[str]]
) -> None:
    """Export the run in each format: the file's outputs are those of the masked model."""
    expected = outputs(load_trained(run).masked, images)
    for file, options in formats.items():
        outcome = command("export", str(run), "--to", file, *options)
        assert (outcome.code, outcome.err) == (0, "")
        network = dstrun.load(file)
        torch.testing.assert_close(outputs(network, images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SLOW)
def test_a_run_again_is_that_run_and_with_another_seed_another(
    name: str, command: Command, trained: Trained
) -> None:
    trained(*QUICK, *words(name))
    run = only_run()
    assert "finished" in command("rerun", str(run)).out
    again = command("rerun", str(run), "seed=1", "schedule.epochs=1")
    assert (again.code, again.err) == (0, "")
    (other,) = set(Path("outputs/single").iterdir()) - {run}
    assert json.loads((other / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize("name", SLOW)
def test_a_run_starts_as_the_network_of_another(
    name: str, command: Command, trained: Trained
) -> None:
    """Of rigl, with the same weights, and masks or thresholds that keep them; without an epoch,
    accuracies are the other run's.
    """
    trained(*QUICK, *words("rigl"))
    run = only_run()
    if name in (*AT_START, "str"):
        pytest.skip("it prunes before the first evaluation")
    asked = [*QUICK, *words(name), f"init={run}", "schedule.epochs=0", "group=second"]
    asked += ["reg.initial_density=0.3"] if name == "granet" else []
    assert command(*asked).code == 0
    before, after = (
        json.loads((folder / "summary.json").read_text())
        for folder in (run, only_run("outputs/second"))
    )
    assert before["test_loss"] == after["test_loss"]
    if name in RANDOM_START:
        assert before["density"] == after["density"]


def test_masks_are_taken_over_where_they_would_be_random(
    command: Command, trained: Trained
) -> None:
    """Of any method, at the density asked for; weights of a method with thresholds are W ⊙ M."""
    trained(*QUICK, *words("dst"), "reg.freeze=0.5")
    run = only_run()
    summary = json.loads((run / "summary.json").read_text())
    asked = [*QUICK, "reg=static", f"init={run}", "schedule.epochs=1", "group=second"]
    density = f"reg.density={summary['density']:.3g}"
    refused = command(*asked, "reg.density=0.05")
    assert refused.code == 2
    assert refused.err == (
        f"dstrun: init: static takes over the masks of {run}, which keep "
        f"{summary['density']:.2%} of the weights, and reg.density is 0.05: expected {density}\n"
    )
    assert command(*asked, density).code == 0
    theirs, ours = dstrun.load(run), dstrun.load(only_run("outputs/second"))
    assert nonzero(ours) == nonzero(theirs) == summary["kept"]
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        if one.dim() > 1:
            assert torch.equal(one != 0, other != 0)


def test_a_layer_that_had_no_mask_keeps_all_of_its_weights(
    command: Command, trained: Trained
) -> None:
    """A third of fc1 and fc2, and all of fc3: of 266,200 weights 88,400 + 1,000."""
    asked = [*QUICK, "reg=static", "reg.distribution=uniform"]
    trained(*asked, "reg.density=0.33333333", "reg.exclude=[fc3]")
    begun = [*asked, "reg.density=0.336", f"init={only_run()}", "group=second"]
    assert command(*begun).code == 0
    summary = json.loads((only_run("outputs/second") / "summary.json").read_text())
    assert summary["kept"] == 88_400 + 1_000


@pytest.mark.parametrize("structure", ["2:4", "fan_in"])
def test_masks_that_lack_the_structure_asked_for_are_refused(
    structure: str, command: Command, trained: Trained
) -> None:
    asked = [*QUICK, "reg=static", "reg.density=0.5", "reg.distribution=uniform"]
    trained(*asked)
    run = only_run()
    structured = [*asked, f"reg.structure={structure}"]
    refused = command(*structured, f"init={run}", "group=second")
    assert refused.code == 2
    assert refused.err == (
        f"dstrun: init: static takes over the masks of {run}, and that of fc1 is not {structure}: "
        f"expected a run with reg.structure={structure}\n"
    )
    assert command(*structured, "group=first").code == 0
    assert command(*structured, f"init={only_run('outputs/first')}", "group=second").code == 0


def outputs(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)


def nonzero(network: nn.Module) -> int:
    return sum(int(one.count_nonzero()) for one in network.parameters() if one.dim() > 1)
