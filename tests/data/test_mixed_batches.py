"""Mixup: images and labels in shares that depend on seed, epoch and number of the batch only."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dstrun.data import Batches, MixedBatches, Split
from dstrun.data.mixed_batches import mixed, shares
from dstrun.methods.dense import Dense
from dstrun.runs import checkpoint
from dstrun.training.compiled_step import CompiledUpdate
from dstrun.training.loss import mean_loss
from dstrun.training.step import Update
from dstrun.training.trainer import Trainer
from tests.helpers.data import needs_compiler
from tests.helpers.tiny import config, tiny, training  # noqa: F401

CPU = torch.device("cpu")


def batches(
    a: float = 0.4, images: int = 20, size: int = 6, seed: int = 0, **options: Any
) -> tuple[MixedBatches, Batches]:
    """Return the mixed and the plain batches of images whose every pixel is their number."""
    numbers = torch.arange(images, dtype=torch.uint8)
    split = Split(numbers.view(-1, 1, 1, 1).expand(-1, 1, 2, 2), numbers.long())
    plain = Batches(split, size, CPU, seed=seed, std=[1 / 255], **options)
    return MixedBatches(plain, a, images, seed), plain


def share_of(labels: Tensor) -> float:
    """Return λ by the labels of a batch whose first and last image differ."""
    first, last = labels[0].nonzero().flatten(), labels[-1].nonzero().flatten()
    assert torch.equal(first, last), "the same two images, in reverse order"
    return labels[0].max().item()


def test_an_image_and_the_one_at_its_place_from_the_end_are_mixed() -> None:
    rows = torch.tensor([[0.0, 8.0], [1.0, 1.0], [4.0, 0.0]])
    expected = torch.tensor([[3.0, 2.0], [1.0, 1.0], [1.0, 6.0]])
    torch.testing.assert_close(mixed(rows, 0.25), expected)
    assert shares(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_images_and_labels_are_mixed_in_the_same_shares() -> None:
    mixer, plain = batches()
    pairs = list(zip(mixer.shuffled(3), plain.shuffled(3), strict=True))
    assert len(mixer) == len(plain) == len(pairs) == 4
    assert [mixer.size(number) for number in range(4)] == [6, 6, 6, 2]
    for (images, labels), (before, _) in pairs:
        torch.testing.assert_close(labels.sum(1), torch.ones(len(labels)))
        numbers = labels @ torch.arange(20.0)  # λ i + (1 − λ) j
        torch.testing.assert_close(images, numbers.view(-1, 1, 1, 1).expand_as(images))
        torch.testing.assert_close(images + images.flip(0), before + before.flip(0))
    assert any((labels.amax(1) < 0.99).any() for (_, labels), _ in pairs)


def test_shares_follow_from_seed_epoch_and_number_of_the_batch() -> None:
    mixer, _ = batches()
    whole = list(mixer.shuffled(1))
    for start in range(4):
        for again, once in zip(mixer.shuffled(1, start), whole[start:], strict=True):
            assert all(torch.equal(*pair) for pair in zip(again, once, strict=True))
    found = {share_of(labels) for epoch in range(3) for _, labels in mixer.shuffled(epoch)}
    found |= {share_of(labels) for _, labels in batches(seed=1)[0].shuffled(0)}
    assert len(found) == 16


def test_every_rank_mixes_in_the_same_shares() -> None:
    on_two = [list(batches(part=(rank, 2))[0].shuffled(2)) for rank in (0, 1)]
    alone = list(batches()[0].shuffled(2))
    for first, second, whole in zip(*on_two, alone, strict=True):
        assert len({round(share_of(one[1]), 6) for one in (first, second, whole)}) == 1


def test_the_shares_are_of_a_beta_distribution() -> None:
    """Check mean and variance of λ, 1/2 and 1 / (4 (2a + 1)), by an image that is 1 of 0 and 1."""
    for a in (0.2, 1.0, 5.0):
        mixer, plain = batches(a, images=2, size=2)
        found = []
        for epoch in range(600):
            (images, _), (before, _) = next(mixer.shuffled(epoch)), next(plain.shuffled(epoch))
            found.append(images[int(before[1, 0, 0, 0] == 1), 0, 0, 0].item())
        drawn = torch.tensor(found)
        assert drawn.mean().item() == pytest.approx(0.5, abs=0.05)
        assert drawn.var().item() == pytest.approx(1 / (4 * (2 * a + 1)), rel=0.2)


def test_a_method_that_looks_at_images_before_training_gets_them_as_they_are() -> None:
    mixer, plain = batches()
    for ours, theirs in zip(
        mixer.shuffled(-1, whole=True), plain.shuffled(-1, whole=True), strict=True
    ):
        assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_both_labels_in_their_shares(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    loss, right = mean_loss(logits, mixed(shares(labels, 3), 0.7), smoothing)
    of_each = [
        F.cross_entropy(logits, y, label_smoothing=smoothing) for y in (labels, labels.flip(0))
    ]
    torch.testing.assert_close(loss, 0.7 * of_each[0] + 0.3 * of_each[1])
    counts = [(logits.argmax(1) == y).sum().item() for y in (labels, labels.flip(0))]
    assert right.item() == pytest.approx(0.7 * counts[0] + 0.3 * counts[1])


# Runs

MIXED: dict[str, Any] = {"schedule__mixup": 0.4, "reg__method": "dst"}


def figures(trainer: Trainer) -> list[dict[str, float | None]]:
    names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "density")
    records = trainer.records(lambda _: False)
    return [{name: one.figures[name] for name in names} for one in records]


@pytest.mark.usefixtures("tiny")
def test_a_run_trains_on_mixed_images_and_tests_on_plain_ones() -> None:
    trainer, plain = training(**MIXED), training()
    seen = []
    for one in (trainer, plain):
        one.model.batches.clear()
        list(one.records(lambda _: False))
        seen.append(one.model.batches)
    ours, theirs = ([images for images, trains, _ in batches if trains] for batches in seen)
    assert [len(images) for images in ours] == [len(images) for images in theirs]
    for mixed_images, images in zip(ours, theirs, strict=True):
        pairs = zip(images, reversed(images), strict=True)
        between = [
            min(pair) <= one <= max(pair) for one, pair in zip(mixed_images, pairs, strict=True)
        ]
        assert all(between)
    assert ours != theirs
    ours, theirs = ([images for images, trains, _ in batches if not trains] for batches in seen)
    assert ours == theirs


@pytest.mark.usefixtures("tiny")
def test_resumed_in_an_epoch_it_is_the_undisturbed_run() -> None:
    wanted = config(**MIXED, schedule__momentum=0.9)
    prepared = training(**MIXED).prepared
    whole, broken = Trainer(wanted, prepared), Trainer(wanted, prepared)
    expected = figures(whole)
    for record in broken.records(lambda progress: progress.step == 4):
        if record.kind == "pause":
            checkpoint.save(Path(), broken.state_dict())
            break
    resumed = Trainer(wanted, prepared, checkpoint.load_newest(Path()))
    assert resumed.progress.batch == 4
    assert figures(resumed) == expected
    for key, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value)


@pytest.mark.usefixtures("tiny")
def test_a_batch_in_pieces_is_the_same_step() -> None:
    options = {**MIXED, "model__args": {"norm": False}}
    one, pieces = (figures(training(**options, schedule__accumulate=n)) for n in (1, 3))
    for whole, in_pieces in zip(one, pieces, strict=True):
        assert in_pieces == pytest.approx(whole, rel=1e-4)


@pytest.mark.slow
@needs_compiler
def test_a_compiled_step_is_the_same() -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(6, 4), mixed(shares(torch.arange(6) % 3, 3), 0.3)
    results = []
    for kind, options in ((Update, {}), (CompiledUpdate, {"batch_size": 6})):
        torch.manual_seed(1)
        model = torch.nn.Linear(4, 3)
        method = Dense()
        method.prepare(model)
        update = kind(model, method, torch.optim.SGD(model.parameters(), lr=0.1), **options)
        loss, right = update(images, labels, 0.1)
        results.append((loss.clone(), right.clone(), model.weight.detach().clone()))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
