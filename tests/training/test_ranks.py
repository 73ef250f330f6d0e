"""Two processes that train one run together, against one process."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dstrun import models
from dstrun.config.check import check
from dstrun.data import BUILDERS, Batches, Split, Splits
from dstrun.data.batches import part_of
from dstrun.training.compiled_step import CompiledUpdate
from dstrun.training.loop import Progress, Record
from dstrun.training.prepare import prepare
from dstrun.training.ranks import ALONE, Ranks, RanksDifferError
from dstrun.training.trainer import Trainer
from tests.helpers.methods import NAMES, config_options
from tests.helpers.ranks import fp64_trainer, on_ranks
from tests.helpers.runs import TIMES
from tests.helpers.tiny import BASE, Tiny, tiny_data

Options = dict[str, Any]
Trained = tuple[dict[str, Tensor], list[dict[str, float | None]]]


def trained(ranks: Ranks, options: Options) -> Trained:
    """Return a run's weights and masks, in fp64, and its rows."""
    models.BUILDERS["tiny"], BUILDERS["tiny"] = Tiny, tiny_data
    BUILDERS["random"] = random_data
    config = check(BASE | {"schedule.momentum": 0.9} | options)
    try:
        trainer = fp64_trainer(config, ranks)
    finally:
        del models.BUILDERS["tiny"], BUILDERS["tiny"], BUILDERS["random"]
    records: list[Record] = list(trainer.records(lambda progress: False))
    return trainer.model.state_dict(), [record.figures for record in records]


def all_trained(ranks: Ranks, runs: list[Options]) -> list[Trained]:
    return [trained(ranks, options) for options in runs]


def assert_as_one_process(runs: list[Options]) -> None:
    """Two ranks are bit for bit the same, and as one process that computes batches in halves.

    But for batch norm's running statistics, which one process moves twice in a step.
    """
    first, second = on_ranks(2, all_trained, runs)
    for options, (state, rows), (other, other_rows) in zip(runs, first, second, strict=True):
        alone, alone_rows = trained(ALONE, options | {"schedule.accumulate": 2})
        for name, value in alone.items():
            assert torch.equal(state[name], other[name]), (options, name)
            if "running_" not in name and "num_batches" not in name:
                torch.testing.assert_close(
                    state[name], value, rtol=0, atol=1e-10, msg=f"{options}: {name}"
                )
        for row, other_row, alone_row in zip(rows, other_rows, alone_rows, strict=True):
            for name in row.keys() - TIMES:
                assert row[name] == other_row[name], (options, name)
            for name in ("train_loss", "train_accuracy", "density"):
                assert row[name] == pytest.approx(alone_row[name], abs=1e-6), (options, name)


@pytest.mark.slow  # imports torch three times
def test_two_ranks_train_as_one_process() -> None:
    """36 images in batches of 7, of which the last has one image and is left out."""
    assert_as_one_process(
        [
            {"reg.alpha": 1e-2, "schedule.batch_size": 7},
            {"reg.target_density": 0.3, "reg.guard": 0.9, "reg.freeze": 0.5},
            {"reg.alpha": 1e-2, "schedule.ema": 0.9},
        ]
    )


@pytest.mark.slow
def test_every_method_trains_on_two_ranks_as_in_one_process() -> None:
    assert_as_one_process([config_options(name) for name in NAMES])


def perturbed(ranks: Ranks) -> list[str]:
    """Return what stops a run whose second rank changes a weight in its second epoch."""
    models.BUILDERS["tiny"], BUILDERS["tiny"] = Tiny, tiny_data
    trainer = fp64_trainer(check(BASE), ranks)

    def change(progress: Progress) -> bool:
        if (ranks.rank, progress.epoch, progress.batch) == (1, 1, 2):
            with torch.no_grad():
                trainer.model.fc.bias[1] += 1e-9  # type: ignore[index, union-attr]
        return False

    records = trainer.records(change)
    assert next(records).kind == "epoch"
    with pytest.raises(RanksDifferError) as stopped:
        next(records)
    return [str(stopped.value)]


@pytest.mark.slow  # imports torch twice
def test_ranks_that_no_longer_agree_are_stopped_at_the_end_of_the_epoch() -> None:
    """Averaged gradients keep them apart by as much as they are."""
    assert on_ranks(2, perturbed) == [["fc.bias is not the same on ranks 0 and 1"]] * 2


class Dropping(Tiny):
    """A network that begins at other weights in every process, and drops images' pixels."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        torch.manual_seed(os.getpid())
        super().__init__(shape, classes)
        torch.manual_seed(0)
        self.draws: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.draws.append(float(torch.rand(())))
        return super().forward(F.dropout(images, 0.5, self.training))


def broken_and_whole(ranks: Ranks) -> tuple[list[float], list[float], dict, dict]:
    """Return draws of a run of two epochs and of one that is resumed after one; both models."""
    models.BUILDERS["tiny"], BUILDERS["tiny"] = Dropping, tiny_data
    config = check(BASE)
    prepared = prepare(config)
    whole = Trainer(config, prepared, ranks=ranks)
    list(whole.records(lambda progress: False))
    broken = Trainer(config, prepared, ranks=ranks)
    next(broken.records(lambda progress: False))
    resumed = Trainer(config, prepared, broken.state_dict(), ranks=ranks)
    list(resumed.records(lambda progress: False))
    draws = broken.model.draws[-6:] + resumed.model.draws  # type: ignore[operator]
    return whole.model.draws, draws, whole.model.state_dict(), resumed.model.state_dict()  # type: ignore[return-value]


@pytest.mark.slow
def test_each_rank_draws_for_itself_and_goes_on_with_its_own_generator() -> None:
    """All begin at the weights of the first."""
    drawn = []
    for draws, again, whole, resumed in on_ranks(2, broken_and_whole):
        assert draws[-12:] == again[-12:]
        assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
        drawn.append(draws[-12:])
    assert not set(drawn[0]) & set(drawn[1])


NETWORKS: dict[str, Options] = {
    "lenet5": {"data.args": {"shape": (1, 28, 28)}},
    "wide_resnet": {"model.args": {"depth": 10, "width": 1}},
    # otherwise differences grow from step to step: batch norm of a half has four values in the end
    "resnet50": {
        "data.args": {"shape": (3, 16, 16)},
        "model.args": {"zero_init_residual": True},
        "schedule.lr": 1e-3,
    },
    "lstm": {"model.args": {"hidden": 128}, "schedule.optimiser": "adam", "schedule.lr": 1e-3},
}


@pytest.mark.slow  # ResNet-50 in fp64 takes a minute
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_trains_on_two_ranks_as_in_one_process(name: str) -> None:
    """For 50 steps, with a target density, the guard, and masks frozen in the last half."""
    steered = {"reg.target_density": 0.3, "reg.guard": 0.9, "reg.freeze": 0.5}
    run = {"model.name": name, "model.builder": name, "schedule.batch_size": 8}
    data = {"data.name": "random", "data.builder": "random", "schedule.epochs": 10}
    assert_as_one_process([run | data | steered | NETWORKS[name]])


def random_data(root: Path, shape: tuple[int, int, int] = (3, 32, 32)) -> Splits:
    """Return 40 random images and labels to train on, and 8 to test on."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
        return Split(images, torch.arange(count) % 4)

    return Splits(split(40), split(8), 4)


@pytest.mark.slow  # compiles in both processes
def test_a_compiled_step_trains_on_two_ranks_as_a_plain_one() -> None:
    """36 images in batches of 16, in halves; the last, of 4, is computed as by Update."""
    options = {"schedule.batch_size": 16, "reg.alpha": 1e-3, "schedule.epochs": 2}
    found = on_ranks(2, compiled, options | {"schedule.compile": "step"})
    plain = on_ranks(2, trained, options)
    for (calls, (state, _)), (other, _) in zip(found, plain, strict=True):
        assert calls == 2 * 2  # of 3 steps an epoch, the last with 4 images
        for name, value in other.items():
            torch.testing.assert_close(state[name], value, rtol=0, atol=1e-10, msg=name)


def compiled(ranks: Ranks, options: Options) -> tuple[int, Trained]:
    """Return how often a compiled call was made, and what `trained` does."""
    calls = 0
    original = CompiledUpdate.__init__

    def init(self: CompiledUpdate, *words: Any, **options: Any) -> None:
        original(self, *words, **options)
        own = self._compiled

        def count(*words: Any) -> Any:
            nonlocal calls
            calls += 1
            return own(*words)

        self._compiled = count

    CompiledUpdate.__init__ = init  # type: ignore[method-assign]
    run = trained(ranks, options)
    return calls, run


def numbered(count: int) -> Split:
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    return Split(images.expand(-1, 1, 2, 2), torch.arange(count))


@pytest.mark.parametrize("images", [8, 9, 11, 12, 13, 15])
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 1])
def test_parts_of_a_batch_are_the_batch(images: int, ranks: int, start: int) -> None:
    """Of 4 images or fewer: whole on each of three ranks; pixels are the labels."""
    split, cpu = numbered(images), torch.device("cpu")
    whole = list(Batches(split, 6, cpu, seed=1, flip=True).shuffled(2, start))
    parts = [
        list(Batches(split, 6, cpu, seed=1, flip=True, part=(rank, ranks)).shuffled(2, start))
        for rank in range(ranks)
    ]
    for (_, labels), *mine in zip(whole, *parts, strict=True):
        for pixels, own in mine:
            assert (pixels[:, 0, 0, 0] * 255).round().tolist() == own.tolist()
        if len(labels) < 2 * ranks:
            assert all(own.equal(labels) for _, own in mine)
        else:
            assert torch.cat([own for _, own in mine]).equal(labels)


@pytest.mark.parametrize(
    ("images", "ranks", "sizes"),
    [(6, 3, [2, 2, 2]), (7, 3, [3, 2, 2]), (8, 3, [3, 3, 2]), (5, 3, [5, 5, 5]), (1, 1, [1])],
)
def test_parts_differ_by_an_image_at_most(images: int, ranks: int, sizes: list[int]) -> None:
    assert [len(part_of(images, rank, ranks)) for rank in range(ranks)] == sizes


@pytest.mark.parametrize("ranks", [1, 2, 3, 9])
def test_every_held_out_image_is_on_one_rank(ranks: int) -> None:
    seen: list[int] = []
    for rank in range(ranks):
        batches = Batches(numbered(10), 3, torch.device("cpu"), part=(rank, ranks))
        seen += [int(label) for _, labels in batches.in_order() for label in labels]
    assert sorted(seen) == list(range(10))
