"""Every option has the effect that docs/options.md describes, and is in a run's identity or not.

`@of(option, …)` names the options whose effect a test checks; an option without a test fails the
first test here.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstrun.config.check import check
from dstrun.config.options import OPTIONS
from dstrun.config.sections import DEFAULT_THRESHOLD_CLIP
from dstrun.config.sparsity_options import OTHERS, WITH_DST
from dstrun.data import BUILDERS
from dstrun.data.batches import Batches
from dstrun.methods.base import Method
from dstrun.methods.dense import Dense
from dstrun.runs import checkpoint
from dstrun.runs.identity import run_hash, run_name
from dstrun.runs.method import make_method
from dstrun.runs.trackers import start
from dstrun.runs.trackers.tracker import NoTracker
from dstrun.sweep import pool
from dstrun.system.errors import DataError, InputError
from dstrun.training.build import (
    make_batches,
    make_optimiser_for,
    make_rate_for,
    make_update,
    training_objects,
)
from dstrun.training.compiled_step import CompiledUpdate
from dstrun.training.loop import Record
from dstrun.training.prepare import prepare
from dstrun.training.ranks import Ranks
from dstrun.training.run import run
from dstrun.training.step import Update
from dstrun.training.trainer import Trainer
from tests.helpers.gpus import emulate_gpus
from tests.helpers.methods import LEAST
from tests.helpers.runs import rows
from tests.helpers.tiny import (
    BASE,
    CALLS,
    CLASSES,
    TEST,
    TRAIN,
    Tiny,
    config,
    numbers,
    tiny,  # noqa: F401
    training,
)

pytestmark = pytest.mark.usefixtures("tiny")
SEEN: dict[str, str] = {}


def of(*options: str) -> Callable[[Callable], Callable]:
    """Record the options whose effect a test checks."""

    def note(test: Callable) -> Callable:
        SEEN.update(dict.fromkeys(options, test.__name__))
        return test

    return note


ELSEWHERE = {
    "retry": "sweep/test_sweep.py::test_a_run_that_diverges_costs_itself_only",
    "devices": (
        "training/test_ranks_run.py::test_stopped_killed_and_resumed_it_is_the_undisturbed_run"
    ),
    "overwrite": "sweep/test_sweep.py::test_the_same_sweep_again_does_what_is_new",
    "schedule.label_smoothing": (
        "training/test_step.py::test_a_share_of_each_label_is_spread_over_all_classes"
    ),
    "schedule.mixup": (
        "data/test_mixed_batches.py::test_a_run_trains_on_mixed_images_and_tests_on_plain_ones"
    ),
    "schedule.decay_norm_and_bias": (
        "training/test_optim.py::test_norm_and_biases_need_not_decay_while_thresholds_do"
    ),
    "schedule.ema": (
        "training/test_average.py::test_figures_are_those_of_the_average_and_training_is_as_without"
    ),
    "loop": "callbacks/test_record.py::test_a_run_of_another_loop_is_reported_and_not_run",
    "data.stream": "data/test_streamed_runs.py::test_a_run_trains_on_a_stream",
    "data.workers": "data/test_streamed_runs.py::test_processes_read_for_a_run",
}  # option: the test that sees it


def test_every_option_has_a_test() -> None:
    assert sorted({*SEEN, *ELSEWHERE}) == sorted(OPTIONS)
    for place in ELSEWHERE.values():
        file, name = place.split("::")
        assert f"def {name}(" in (Path(__file__).parents[1] / file).read_text()


# What a run is

OTHER: dict[str, Any] = {
    "model.name": "other",
    "model.builder": "other",
    "model.args": {"norm": False},
    "data.name": "other",
    "data.builder": "other",
    "data.args": {"dot": True},
    "data.root": "elsewhere",
    "data.download": True,
    "data.train_limit": 9,
    "data.test_limit": 9,
    "data.stream": True,
    "data.workers": 3,
    "data.validation": 0.25,
    "data.size": 16,
    "data.mean": [0.5],
    "data.std": [0.5],
    "data.pad": 1,
    "data.flip": True,
    "reg.method": "dense",
    "reg.alpha": 1e-3,
    "reg.granularity": "weight",
    "reg.floor": 0.5,
    "reg.guard": 0.5,
    "reg.target_density": 0.5,
    "reg.freeze": 0.5,
    "reg.exclude": ["fc"],
    "reg.include": ["fc"],
    "reg.tied": "share",
    "reg.density": 0.5,
    "reg.distribution": "uniform",
    "reg.layer_densities": {"fc": 0.5},
    "reg.structure": "fan_in",
    "reg.every": 7,
    "reg.drop": 0.5,
    "reg.drop_schedule": "cosine",
    "reg.start": 0.25,
    "reg.until": 0.5,
    "reg.scope": "layer",
    "reg.regrow": True,
    "reg.rounds": 3,
    "reg.rewind": "learning_rate",
    "reg.rewind_epoch": 1,
    "reg.initial_density": 1.0,
    "reg.images": 9,
    "reg.iterations": 9,
    "reg.temperature": 1.0,
    "reg.threshold_start": -5.0,
    "reg.phase": 0.1,
    "reg.l1": 0.5,
    "reg.cutoff": 0.5,
    "reg.args": {"beta": 1},
    "schedule.epochs": 3,
    "schedule.batch_size": 4,
    "schedule.accumulate": 2,
    "schedule.optimiser": "adamw",
    "schedule.lr": 0.5,
    "schedule.lr_per": 3,
    "schedule.momentum": 0.5,
    "schedule.nesterov": True,
    "schedule.betas": [0.5, 0.6],
    "schedule.weight_decay": 0.5,
    "schedule.threshold_decay": 0.5,
    "schedule.rate": "cosine",
    "schedule.milestones": [2],
    "schedule.gamma": 0.5,
    "schedule.warmup": 1.0,
    "schedule.label_smoothing": 0.5,
    "schedule.mixup": 0.5,
    "schedule.decay_norm_and_bias": False,
    "schedule.ema": 0.5,
    "schedule.clip": 0.5,
    "schedule.threshold_clip": 0.5,
    "schedule.precision": "bf16",
    "schedule.channels_last": True,
    "schedule.sync_bn": True,
    "schedule.compile": "mask",
    "seed": 1,
    "init": "outputs/single/x",
    "device": "auto",
    "threads": 2,
    "devices": 2,
    "deterministic": True,
    "outputs": "elsewhere",
    "group": "other",
    "name": "other",
    "loop": "own",
    "overwrite": True,
    "dry_run": True,
    "n_jobs": 2,
    "retry": "none",
    "tracker": ["tensorboard"],
    "checkpoint.every": 0.0,
    "log.steps": 1,
    "wandb.mode": "offline",
    "wandb.project": "other",
    "wandb.entity": "other",
    "wandb.tags": ["other"],
}
NO_PART_OF_A_RUN = {
    "data.root",
    "data.workers",
    "data.download",
    "device",
    "threads",
    "devices",
    "outputs",
    "group",
    "name",
    "overwrite",
    "dry_run",
    "n_jobs",
    "retry",
    "tracker",
    "checkpoint.every",
    "log.steps",
    "wandb.mode",
    "wandb.project",
    "wandb.entity",
    "wandb.tags",
}
WHERE: dict[str, dict[str, Any]] = {
    "reg.method": LEAST | {OTHERS: {"reg.method": "theirs"}},
    "schedule.optimiser": {"sgd": {}, "adam": {"schedule.optimiser": "adam"}},
    "schedule.rate": {
        "multistep": {"schedule.rate": "multistep", "schedule.milestones": [1]},
        "constant": {},
    },
}
RUN = BASE | {"schedule.momentum": 0.9}
THEIRS = SimpleNamespace(names=["theirs"])  # entry points of an installed package


@pytest.mark.parametrize("key", OPTIONS)
def test_an_option_is_part_of_a_run_where_it_can_change_a_figure(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr("dstrun.config.groups.entry_points", lambda group: THEIRS)
    when = OPTIONS[key].metadata["when"]
    applies = (
        [more for value, more in WHERE[when[0]].items() if value in when[1:]] if when else [{}]
    )
    idle = [more for value, more in WHERE[when[0]].items() if value not in when[1:]] if when else []
    for more, part in [
        *((more, key not in NO_PART_OF_A_RUN) for more in applies),
        *((more, False) for more in idle),
    ]:
        if key == "reg.density" and "reg.cutoff" in more:  # refused
            continue
        one, other = check(RUN | more), check(RUN | more | {key: OTHER[key]})
        assert one != other
        assert (run_hash(one) != run_hash(other)) == part


@pytest.mark.parametrize("key", ["name", "wandb.tags", "wandb.entity", "data.args", "model.args"])
def test_no_option_may_hold_a_secret_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("SOME_API_KEY", secret := "0123456789abcdef0123")
    value = {
        "data.args": {"token": secret},
        "model.args": {"a": {"b": secret}},
        "wandb.tags": ["a", secret],
    }
    with pytest.raises(InputError, match=f"{key}: got the value of .SOME_API_KEY"):
        check(BASE | {key: value.get(key, f"my-{secret}")})


# Model and data


@of("model.name", "data.name")
def test_labels_are_in_the_name_of_a_run() -> None:
    assert run_name(config(model__name="mine", data__name="ours")).startswith("mine-ours-")


@of("model.builder", "model.args")
def test_a_model_is_what_its_builder_makes_of_the_arguments() -> None:
    assert isinstance(prepare(config()).build_model(), Tiny)
    assert isinstance(prepare(config(model__args={"norm": False})).build_model().norm, nn.Identity)
    other = prepare(config(model__builder="lenet_300_100", model__name="x")).build_model()
    assert type(other).__name__ == "LeNet300100"


@of("data.builder", "data.args", "data.root", "data.download", "data.size")
def test_a_data_set_is_what_its_builder_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(prepare(config()).splits.train) == TRAIN
    prepare(
        config(data__root="there", data__download=True, data__size=64, data__args={"dot": True})
    )
    asked = CALLS[-1]
    assert (asked["root"], asked["download"], asked["size"], asked["dot"]) == (
        Path("there"),
        True,
        64,
        True,
    )
    assert (CALLS[0]["download"], CALLS[0]["size"], CALLS[0]["dot"]) == (False, 32, False)
    monkeypatch.setenv("DSTRUN_DATA", "/of/the/environment")
    assert config().data.root == "/of/the/environment"
    monkeypatch.delenv("DSTRUN_DATA")
    assert config().data.root == "data"


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (ValueError("dot is 3, expected a bool"), "data.args: dot is 3, expected a bool"),
        (DataError("tiny is damaged"), "data.root: tiny is damaged"),
        (KeyError("x"), "data=tiny: KeyError in test_options.py:"),
        (SystemExit(3), "data=tiny: SystemExit in test_options.py:"),
    ],
)
def test_what_a_builder_raises_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, line: str
) -> None:
    def fail(root: Path) -> None:
        raise raised

    monkeypatch.setitem(BUILDERS, "tiny", fail)
    with pytest.raises(InputError) as refused:
        prepare(config())
    assert str(refused.value).startswith(line)


def test_an_option_of_its_own_is_no_argument_of_a_builder() -> None:
    with pytest.raises(
        InputError, match=r"data.args.size: expected data.size=64, which is an option of its own"
    ):
        prepare(config(data__args={"size": 64}))


def images_of(**options: Any) -> dict[str, list[int]]:
    """Return the images trained on in the first epoch, and those of each split for evaluation."""
    wanted = config(**options)
    train, splits = make_batches(wanted, prepare(wanted))
    return {"train": shown(train)} | {
        name: [number for images, _ in split() for number in numbers(images)]
        for name, split in splits.items()
    }


def shown(train: Batches, epoch: int = 0) -> list[int]:
    return [number for images, _ in train.shuffled(epoch) for number in numbers(images)]


@of("data.train_limit", "data.test_limit")
def test_a_limit_takes_images_of_all_classes_the_same_for_every_seed() -> None:
    some = images_of(data__train_limit=9, data__test_limit=6)
    assert (len(some["train"]), len(some["test"])) == (9, 6)
    assert {number * CLASSES // TRAIN for number in some["train"]} == {0, 1, 2}
    assert {(number - 100) * CLASSES // TEST for number in some["test"]} == {0, 1, 2}
    other = images_of(data__train_limit=9, data__test_limit=6, seed=1)
    assert sorted(other["train"]) == sorted(some["train"])
    assert other["test"] == some["test"]


@pytest.mark.parametrize(
    ("limits", "notes"),
    [
        ({}, []),
        ({"data__train_limit": TRAIN, "data__test_limit": 3}, []),
        (
            {"data__train_limit": TRAIN + 1},
            [f"data.train_limit={TRAIN + 1} is more than there are: {TRAIN} train images"],
        ),
        (
            {"data__test_limit": 99},
            [f"data.test_limit=99 is more than there are: {TEST} test images"],
        ),
    ],
)
def test_a_limit_that_nothing_reaches_is_noted(limits: dict[str, Any], notes: list[str]) -> None:
    assert list(prepare(config(**limits)).splits.notes) == notes


def test_more_images_to_score_by_than_there_are_are_noted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    note = f"note: reg.images={TRAIN + 1} is more than there are: {TRAIN} train images"
    own = {"reg__density": 0.5, "reg__images": TRAIN + 1, "schedule__epochs": 0}
    finished(reg__method="snip", **own)
    assert note in capsys.readouterr().out
    finished(reg__method="static", **own)
    assert "more than there are" not in capsys.readouterr().out


@of("data.validation")
def test_a_validation_split_is_held_out_of_training_and_none_of_the_test_images() -> None:
    found = images_of(data__validation=0.25)
    assert sorted([*found["train"], *found["validation"]]) == list(range(TRAIN))
    assert [number * CLASSES // TRAIN for number in found["validation"]] == [0] * 3 + [1] * 3 + [
        2
    ] * 3
    assert found["test"] == list(range(100, 100 + TEST))
    assert images_of(data__validation=0.25, seed=1)["validation"] == found["validation"]
    assert "validation" not in images_of()


@pytest.mark.parametrize(("share", "what"), [(0.01, "hold out"), (0.99, "train on")])
def test_a_validation_split_leaves_images_on_both_sides(share: float, what: str) -> None:
    with pytest.raises(
        InputError,
        match=f"data.validation: {share} of each class of 36 images leaves none to {what}",
    ):
        prepare(config(data__validation=share))


@of("data.mean", "data.std")
def test_pixels_are_normalised_in_training_and_in_testing() -> None:
    wanted = config(data__mean=[0.5], data__std=[0.25])
    train, splits = make_batches(wanted, prepare(wanted))
    trained = torch.cat([images for images, _ in train.shuffled(0)])[:, 0, 0, 0].sort().values
    torch.testing.assert_close(trained, (torch.arange(TRAIN) / 255 - 0.5) / 0.25)
    tested = torch.cat([images for images, _ in splits["test"]()])[:, 0, 0, 0]
    torch.testing.assert_close(tested, (torch.arange(100, 100 + TEST) / 255 - 0.5) / 0.25)


@pytest.mark.parametrize(("device", "count"), [("cpu", 2**20), ("cuda", 2**19)])
def test_images_are_evaluated_in_batches_of_so_many_pixels_or_as_large_as_pieces_of_a_step(
    monkeypatch: pytest.MonkeyPatch, device: str, count: int
) -> None:
    """Check both, with images of 36 pixels; a piece is all that a step with pieces has room for."""
    sizes: list[int] = []
    monkeypatch.setattr(
        "dstrun.training.build.Batches",
        lambda split, size, **_: sizes.append(size) or SimpleNamespace(in_order=0),
    )
    for size, pieces in ((6, 1), (10**6, 1), (10**6, 4)):
        wanted = config(
            schedule__batch_size=size, schedule__accumulate=pieces, data__validation=0.25
        )
        make_batches(wanted, replace(prepare(wanted), device=torch.device(device)))
    usual, whole, quarter = count // 36, 10**6, 10**6 // 4
    assert sizes == [6, usual, usual, whole, whole, whole, whole, quarter, quarter]


@of("data.pad", "data.flip")
@pytest.mark.parametrize(
    ("options", "places"),
    [
        ({}, {(2, 1)}),
        ({"data__flip": True}, {(2, 1), (2, 4)}),
        ({"data__pad": 1}, {(row, column) for row in (1, 2, 3) for column in (0, 1, 2)}),
    ],
)
def test_training_images_alone_are_shifted_and_mirrored(
    options: dict[str, Any], places: set[tuple[int, int]]
) -> None:
    wanted = config(data__args={"dot": True}, **options)
    train, splits = make_batches(wanted, prepare(wanted))

    def dots(batches: Any) -> set[tuple[int, int]]:
        return {tuple(place[-2:]) for images, _ in batches for place in images.nonzero().tolist()}

    assert {place for epoch in range(5) for place in dots(train.shuffled(epoch))} == places
    assert dots(splits["test"]()) == {(2, 1)}


# What makes the network sparse


@of("reg.method", "reg.exclude", "reg.granularity", "reg.alpha")
def test_what_is_masked_and_how_hard_thresholds_are_pushed() -> None:
    def method(**options: Any) -> Method:
        return training(**options).method

    assert isinstance(method(reg__method="dense"), Dense)
    assert not method(reg__method="dense").added_parameters()
    shapes = {
        granularity: [t.numel() for t in method(reg__granularity=granularity).added_parameters()]
        for granularity in ("neuron", "layer", "weight")
    }
    assert shapes == {"neuron": [2, 3, 3], "layer": [1, 1, 1], "weight": [18, 54, 36]}
    partly = method(reg__exclude=["conv*"])
    assert [layer.layer for layer in partly.measure()] == ["fc"]
    assert len(partly.added_parameters()) == 1
    loss = torch.zeros(())
    for alpha in (0.0, 0.25):  # exp(−0) of eight thresholds
        assert method(reg__alpha=alpha).regularised(loss).item() == 8 * alpha


@of("reg.include", "reg.tied")
def test_embeddings_are_masked_where_named_and_tied_weights_where_they_share() -> None:
    def names(**options: Any) -> list[str]:
        model = nn.ModuleDict({"tokens": nn.Embedding(5, 3), "head": nn.Linear(3, 5)})
        model["last"] = nn.Linear(5, 5)
        if "reg__tied" in options:
            model["head"].weight = model["tokens"].weight
        density = {"reg__density": 0.5} if options["reg__method"] == "rigl" else {}
        method = make_method(config(**options, **density))
        method.prepare(model, past=[])
        return [layer.layer for layer in method.measure()]

    for name in ("dst", "rigl", "str", "dense"):
        assert names(reg__method=name) == ["head", "last"]
        assert names(reg__method=name, reg__include=["tok*"]) == ["tokens", "head", "last"]
        assert names(reg__method=name, reg__tied="leave") == ["last"]
        assert names(reg__method=name, reg__tied="share") == ["tokens", "last"]


FOR_METHODS = {
    key: OPTIONS[key].metadata["when"][1:]
    for key in OTHER
    if key.startswith("reg.") and OPTIONS[key].metadata["when"] not in ((), WITH_DST)
}


@of(*FOR_METHODS)
@pytest.mark.parametrize("name", [name for name in LEAST if name not in ("dst", "dense")])
def test_a_method_gets_the_options_that_are_for_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What it makes of them is in tests/methods."""
    monkeypatch.setattr("dstrun.runs.method.METHODS", [name])
    monkeypatch.setattr("dstrun.runs.method.method_class", lambda _: SimpleNamespace)
    methods_of = dict(FOR_METHODS)
    if name == "l1":  # with reg.cutoff
        del methods_of["reg.density"]
    made = make_method(check(LEAST[name] | {key: OTHER[key] for key in methods_of}))
    for key, methods in methods_of.items():
        found = getattr(made, key.removeprefix("reg."), None)
        assert found == (OTHER[key] if name in methods else None)


def test_a_method_of_another_package_gets_reg_args(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dstrun.config.groups.entry_points", lambda group: THEIRS)
    monkeypatch.setattr("dstrun.runs.method.lookup", lambda *_: Theirs)
    made = make_method(check({"reg.method": "theirs", "reg.density": 0.5, "reg.args": {"beta": 1}}))
    assert isinstance(made, Theirs)
    assert (made.density, made.beta) == (0.5, 1)


class Theirs(Method):
    def __init__(self, density: float, beta: int) -> None:
        super().__init__()
        self.density, self.beta = density, beta


@of("reg.floor", "reg.guard")
@pytest.mark.parametrize(
    ("floor", "guard", "left"), [(0.0, 0.0, 100.0), (0.5, 0.0, 0.0), (0.5, 0.25, 25.0)]
)
def test_the_guard_sets_in_at_the_floor(floor: float, guard: float, left: float) -> None:
    method = training(reg__floor=floor, reg__guard=guard).method
    with torch.no_grad():
        for threshold in method.added_parameters():
            threshold.fill_(100.0)  # nothing is kept
    method.after_step()
    assert {
        value for threshold in method.added_parameters() for value in threshold.flatten().tolist()
    } == {left}


def epochs_of(**options: Any) -> list[Record]:
    return [
        record for record in training(**options).records(lambda _: False) if record.kind == "epoch"
    ]


@of("reg.target_density")
def test_a_run_ends_at_its_target_density() -> None:
    for target in (0.25, 0.5):
        *_, last = epochs_of(reg__target_density=target, schedule__epochs=5)
        assert last.figures["density"] == pytest.approx(target, abs=0.02)
    *_, last = epochs_of(schedule__epochs=5, reg__alpha=0.0)
    assert last.figures["density"] > 0.9


@of("reg.freeze")
def test_masks_are_frozen_from_that_share_of_the_updates_on() -> None:
    for freeze, frozen in ((1.0, []), (0.5, [6, 7, 8, 9, 10, 11])):
        method = training(reg__freeze=freeze).method
        seen = []
        for step in range(12):
            method.before_step(step)
            seen += [step] if method.alpha == 0 else []
        assert seen == frozen


# The schedule


@of("schedule.epochs", "schedule.batch_size")
def test_epochs_and_batches_are_counted_in_updates() -> None:
    assert [record.step for record in epochs_of(schedule__epochs=3, schedule__batch_size=9)] == [
        4,
        8,
        12,
    ]
    assert [record.step for record in epochs_of(schedule__epochs=0)] == [0]


def update_of(**options: Any) -> tuple[Update, Tiny, list[tuple[Tensor, Tensor]]]:
    """Return an update, its model without any batch seen, and the batches of the first epoch."""
    torch.manual_seed(0)
    wanted = config(**options)
    prepared = prepare(wanted)
    model, method = training_objects(wanted, prepared)
    batches, _ = make_batches(wanted, prepared)
    update = make_update(
        wanted, model, method, make_optimiser_for(wanted, model, method), prepared.device
    )
    model.batches.clear()
    return update, model.train(), list(batches.shuffled(0))


def moved(lr: float = 0.1, **options: Any) -> dict[str, Tensor]:
    """Return the change of each parameter in the first update at a learning rate."""
    update, model, batches = update_of(**options)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    update(*batches[0], lr)
    return {name: parameter.detach() - before[name] for name, parameter in model.named_parameters()}


@of("schedule.lr_per")
def test_the_learning_rate_grows_with_the_batch_where_that_is_asked_for() -> None:
    """Rates of 0.5 per 3 images, in batches of 6, which no part of a batch changes."""
    scaled = {"schedule__lr": 0.5, "schedule__lr_per": 3, "schedule__accumulate": 2}
    rate = make_rate_for(config(**scaled, schedule__warmup=1.0), 4)
    assert [rate(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert make_rate_for(config(**scaled, schedule__rate="onecycle"), 10)(5) == 1.0  # its peak
    (record,) = epochs_of(**scaled, schedule__epochs=1)
    assert record.figures["lr"] == 1.0
    for wrong in (-1, 0.5, "batch"):
        with pytest.raises(InputError, match=r"schedule.lr_per: got .*, expected a whole number"):
            config(schedule__lr_per=wrong)


@of("schedule.accumulate")
@pytest.mark.parametrize(("size", "pieces", "sizes"), [(6, 3, [2, 2, 2]), (5, 2, [3, 2])])
def test_a_batch_is_computed_in_pieces_and_moves_weights_as_the_whole(
    size: int, pieces: int, sizes: list[int]
) -> None:
    plain = {"model__args": {"norm": False}, "schedule__batch_size": size}
    update, model, batches = update_of(**plain, schedule__accumulate=pieces)
    update(*batches[0], 0.1)
    assert model.pieces == sizes
    whole = moved(**plain)
    for name, parted in moved(**plain, schedule__accumulate=pieces).items():
        torch.testing.assert_close(parted, whole[name])


@of("schedule.optimiser", "schedule.momentum", "schedule.nesterov", "schedule.betas")
def test_the_optimiser_is_the_one_asked_for() -> None:
    def made(**options: Any) -> torch.optim.Optimizer:
        wanted = config(**options)
        return make_optimiser_for(wanted, *training_objects(wanted, prepare(wanted)))

    sgd = made(schedule__momentum=0.5, schedule__nesterov=True)
    assert type(sgd) is torch.optim.SGD
    assert (sgd.param_groups[0]["momentum"], sgd.param_groups[0]["nesterov"]) == (0.5, True)
    assert not made(schedule__momentum=0.5).param_groups[0]["nesterov"]
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        adam = made(schedule__optimiser=name, schedule__betas=[0.5, 0.6])
        assert type(adam) is kind
        assert adam.param_groups[0]["betas"] == (0.5, 0.6)


@of("schedule.weight_decay", "schedule.threshold_decay")
def test_weights_decay_and_thresholds_by_their_share() -> None:
    options = {
        "reg__alpha": 0.0,
        "reg__floor": 0.0,
        "schedule__clip": 1e-12,
        "schedule__weight_decay": 0.5,
    }
    for share, left in ((1.0, 0.95), (0.5, 0.975), (0.0, 1.0)):
        update, model, batches = update_of(**options, schedule__threshold_decay=share)
        for parameter in model.parameters():
            parameter.data.fill_(1.0)
        update(*batches[0], 0.1)
        assert model.fc.weight.unique().tolist() == pytest.approx([0.95])
        assert model.fc.mask.threshold.unique().tolist() == pytest.approx([left])


@of("schedule.lr", "schedule.rate", "schedule.milestones", "schedule.gamma", "schedule.warmup")
def test_the_learning_rate_takes_its_course() -> None:
    def course(**options: Any) -> list[float]:
        return [make_rate_for(config(schedule__lr=0.5, **options), 3)(step) for step in range(6)]

    assert course() == [0.5] * 6
    drop = {"schedule__rate": "multistep", "schedule__milestones": [1], "schedule__gamma": 0.2}
    assert course(**drop) == pytest.approx([0.5] * 3 + [0.1] * 3)
    assert course(schedule__warmup=1.0) == pytest.approx([0.5 / 3, 1 / 3, *[0.5] * 4])
    cosine, onecycle = course(schedule__rate="cosine"), course(schedule__rate="onecycle")
    assert cosine == sorted(cosine, reverse=True)
    assert cosine[3] == pytest.approx(0.25)
    assert onecycle[0] < onecycle[1] > onecycle[5]
    # and it is the rate that weights move by
    (record,) = epochs_of(schedule__epochs=1, schedule__lr=0.5)
    assert record.figures["lr"] == 0.5
    slow = moved(lr=0.1)
    for name, change in moved(lr=0.2).items():
        torch.testing.assert_close(change, 2 * slow[name])


def norm(changes: dict[str, Tensor]) -> float:
    return torch.cat([change.flatten() for change in changes.values()]).norm().item()


@of("schedule.clip", "schedule.threshold_clip")
def test_gradients_are_bounded() -> None:
    free = moved(reg__alpha=0.5)
    assert norm(free) > 0.05
    assert norm(moved(reg__alpha=0.5, schedule__clip=0.01)) == pytest.approx(0.1 * 0.01, rel=1e-3)
    bounded = moved(reg__alpha=0.5, schedule__threshold_clip=0.01)
    for name, change in bounded.items():
        if name.endswith("threshold"):
            assert change.abs().max().item() <= 0.1 * 0.01 + 1e-8
        else:
            assert torch.equal(change, free[name])


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({}, 0.5),  # α · exp(−0), and next to nothing from the loss
        ({"reg__target_density": 0.5}, DEFAULT_THRESHOLD_CLIP),
        ({"reg__target_density": 0.5, "schedule__threshold_clip": 0.2}, 0.2),
        ({"reg__target_density": 0.5, "model__args": {"norm": False}}, 0.5),
        (
            {
                "reg__target_density": 0.5,
                "reg__granularity": "layer",
                "model__args": {"norm": False},
            },
            DEFAULT_THRESHOLD_CLIP,
        ),
        ({"reg__granularity": "layer", "model__args": {"norm": False}}, 0.5),
    ],
)
def test_behind_batch_norm_or_of_a_layer_thresholds_of_a_steered_run_are_bounded_unasked(
    options: Any, bound: float
) -> None:
    change = moved(reg__alpha=0.5, schedule__momentum=0.0, **options)["conv1.mask.threshold"]
    assert change.abs().max().item() == pytest.approx(
        0.1 * bound, rel=0.3 if bound == 0.5 else 1e-5
    )


@of("schedule.precision")
@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_layers_compute_in_the_precision_asked_for(precision: str, dtype: torch.dtype) -> None:
    trains = training(schedule__precision=precision)
    trains.model.batches.clear()
    list(trains.records(lambda _: False))
    kinds = {(training, kind) for _, training, kind in trains.model.batches}
    assert kinds == {(True, dtype), (False, dtype)}
    assert {parameter.dtype for parameter in trains.model.parameters()} == {torch.float32}


@of("schedule.channels_last")
def test_channels_lie_innermost() -> None:
    for last in (False, True):
        weight = training(schedule__channels_last=last).model.conv2.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == last


@of("schedule.sync_bn")
def test_batch_norm_over_all_ranks_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.broadcast", lambda tensor, src: None)
    prepared = prepare(config())
    for ranks, kind in ((Ranks(0, 2), nn.SyncBatchNorm), (Ranks(), nn.BatchNorm2d)):
        trains = Trainer(config(schedule__sync_bn=True), prepared, ranks=ranks)
        assert type(trains.model.norm) is kind
        trained = trains.update.optimiser.param_groups[0]["params"]
        assert any(trains.model.norm.weight is one for one in trained)
    with pytest.raises(InputError, match=r"^schedule.sync_bn: got true, which needs GPUs, and dev"):
        prepare(config(schedule__sync_bn=True))


@of("schedule.compile")
def test_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    monkeypatch.setattr("dstrun.training.prepare.missing_for_compilation", lambda device: None)
    monkeypatch.setattr(
        "dstrun.methods.dst.compiled_masks.compiled",
        lambda function, device: compiled.append(function.__name__) or function,
    )
    for compile, whole, masks in (
        ("off", False, False),
        ("mask", False, True),
        ("step", True, False),
    ):
        compiled.clear()
        update, _, batches = update_of(schedule__compile=compile)
        assert isinstance(update, CompiledUpdate) == whole
        if not whole:  # else it would be
            update(*batches[0], 0.1)
        assert bool(compiled) == masks


# A run


@of("seed")
def test_a_seed_decides_weights_and_order_and_nothing_else() -> None:
    one, same, other = (training(seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.model.fc.weight, same.model.fc.weight)
    assert not torch.equal(one.model.fc.weight, other.model.fc.weight)
    assert shown(one.batches) == shown(same.batches) != shown(other.batches)
    assert sorted(shown(one.batches)) == sorted(shown(other.batches))


def test_every_epoch_has_an_order_of_its_own_and_tests_are_made_in_evaluation_mode() -> None:
    trains = training()
    trains.model.batches.clear()
    list(trains.records(lambda _: False))
    trained = [images for images, training, _ in trains.model.batches if training]
    first, second = ([n for images in half for n in images] for half in (trained[:6], trained[6:]))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(TRAIN))
    tested = [images for images, training, _ in trains.model.batches if not training]
    assert tested == [list(range(100, 100 + TEST))] * 2


def finished(**options: Any) -> Path:
    return run(config(**options), default_group="single")


@of("outputs", "group", "name", "threads", "log.steps")
def test_where_a_run_lies_and_what_stands_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    folder = finished(outputs="there", group="mine", name="first try", threads=2, log__steps=4)
    assert threads == [2]
    assert folder.parent == Path("there/mine")
    assert "first try" in (folder / "config.yaml").read_text()
    places = [
        (row["epoch"], row["step"]) for row in rows(folder / "layers.csv") if row["layer"] == "fc"
    ]
    assert places == [("1", "4"), ("1", "6"), ("2", "8"), ("2", "12")]


@of("init")
def test_a_run_starts_from_the_weights_of_another() -> None:
    folder = finished()
    (row,) = rows(finished(init=str(folder), schedule__epochs=0, group="again") / "metrics.csv")
    last = rows(folder / "metrics.csv")[-1]
    assert (row["test_loss"], row["density"]) == (last["test_loss"], last["density"])
    assert rows(finished(schedule__epochs=0) / "metrics.csv")[0]["test_loss"] != last["test_loss"]


def test_a_run_that_goes_on_does_not_ask_for_its_initial_weights_again() -> None:
    assert prepare(config(init="gone"), resumes=True).images["classes"] == CLASSES
    with pytest.raises(InputError, match="init: there is no checkpoint gone"):
        prepare(config(init="gone"))


@of("device")
def test_auto_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare(config(device="auto")).device.type == "cpu"
    emulate_gpus(monkeypatch)
    assert prepare(config(device="auto")).device == torch.device("cuda:0")
    assert prepare(config(device="cpu")).device.type == "cpu"


@of("deterministic")
def test_operations_repeat_bit_for_bit_where_asked() -> None:
    for wanted in (True, False):
        training(deterministic=wanted)
        assert torch.are_deterministic_algorithms_enabled() == wanted
        assert torch.backends.cudnn.deterministic == wanted
        assert torch.backends.cudnn.benchmark != wanted, "else the fastest convolution is chosen"


def test_overwrite_starts_over(capsys: pytest.CaptureFixture[str]) -> None:
    folder = finished()
    (folder / "metrics.csv").write_text("epoch\n")
    finished()
    assert "finished already" in capsys.readouterr().out
    assert not rows(folder / "metrics.csv")
    finished(overwrite=True)
    assert [row["epoch"] for row in rows(folder / "metrics.csv")] == ["1", "2"]


@of("dry_run")
def test_a_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    folder = finished(dry_run=True)
    assert f"{folder}: new" in capsys.readouterr().out
    assert not list(Path().iterdir())


@of("n_jobs")
def test_so_many_runs_of_a_sweep_at_a_time() -> None:
    def at_a_time(n_jobs: int, gpus: list[str]) -> int:
        return pool.jobs_at_a_time([SimpleNamespace(config=config(n_jobs=n_jobs))] * 20, gpus)  # type: ignore[list-item]

    assert [at_a_time(3, []), at_a_time(3, ["0"]), at_a_time(0, ["0", "1"])] == [3, 3, 2]


@of("checkpoint.every")
def test_checkpoints_are_as_far_apart_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[str] = []
    save = checkpoint.save
    monkeypatch.setattr(
        checkpoint,
        "save",
        lambda folder, state: (saved.append(folder.parent.name), save(folder, state)),
    )
    for every in (300.0, 0.0):
        finished(group=f"every{every:g}", checkpoint__every=every, schedule__epochs=3)
    assert saved == ["every300", "every0", "every0", "every0"]


@of("tracker")
@pytest.mark.parametrize(
    ("trackers", "expected"),
    [
        (["tensorboard", "mlflow"], ["tensorboard mlflow", "wandb disabled"]),
        (["trackio", "wandb"], ["trackio", "wandb offline"]),
        (["none"], ["wandb disabled"]),
        ([], ["wandb disabled"]),
    ],
)
def test_a_run_has_the_trackers_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, trackers: list[str], expected: list[str]
) -> None:
    started: list[str] = []

    def note(name: str) -> NoTracker:
        started.append(name)
        return NoTracker()

    monkeypatch.setattr(start, "is_installed", lambda name: True)
    monkeypatch.setattr(start, "TrackerProcesses", lambda names, *_: note(" ".join(names)))
    monkeypatch.setattr(start, "start_wandb", lambda mode, *_, **__: note(f"wandb {mode}"))
    finished(tracker=trackers, wandb__mode="offline")
    assert started == expected


@of("wandb.mode", "wandb.project", "wandb.entity", "wandb.tags")
@pytest.mark.parametrize(
    ("mode", "key", "opened"),
    [
        ("offline", "", "offline"),
        ("online", "", "online"),
        ("auto", "", "offline"),
        ("auto", "x" * 40, "online"),
        ("disabled", "x" * 40, None),
    ],
)
def test_wandb_gets_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, mode: str, key: str, opened: str | None
) -> None:
    import wandb

    opens: list[dict[str, Any]] = []
    nothing = SimpleNamespace(
        define_metric=lambda *_, **__: 0, log=lambda *_: 0, finish=lambda **_: 0
    )
    monkeypatch.setattr(wandb, "init", lambda **given: opens.append(given) or nothing)
    monkeypatch.setenv("HOME", str(Path.cwd()))
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", key)
    finished(
        wandb__mode=mode,
        wandb__project="sparse",
        wandb__entity="us",
        wandb__tags=["a", "b"],
        name="first try",
    )
    assert [given["mode"] for given in opens] == ([opened] if opened else [])
    for given in opens:
        assert (given["project"], given["entity"], list(given["tags"])) == (
            "sparse",
            "us",
            ["a", "b"],
        )
        assert given["notes"] == "first try"
