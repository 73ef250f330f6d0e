"""A search for the Pareto front: accuracy up, density down, over whatever options it is given
intervals for.

    ask Optuna for a batch of trials  →  the launcher runs them  →  tell Optuna  →  …  →  front.csv

The accuracy is that of a validation split, so that nothing is selected on the test set. The history
lies in search.db in the group's folder, the runs beside it; the same command goes on where it was.
Knows plan, board, sweep, ledger, config, composition, tracking, status, cores and errors, and
Optuna."""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from math import log10
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dstrun.config.compose import as_hydra_takes_it
from dstrun.config.groups import AD_HOC
from dstrun.config.options import OPTIONS, value_of
from dstrun.config.values import parsed
from dstrun.runs.folder import RunFolder
from dstrun.runs.labels import counted
from dstrun.runs.status import FAILED, FINISHED
from dstrun.sweep.monitor import Board, Entry
from dstrun.sweep.plan import Job, Planner, axis, in_grammar, override_of
from dstrun.sweep.sweep import Launch, launched
from dstrun.system.cores import usable_cores
from dstrun.system.errors import InputError, RunFailedError, described
from dstrun.system.files import csv_text, read_csv, read_json, write_text

VALIDATION = 0.1  # share held out where the config holds out none
JUDGED_FROM = 0.25  # of a run's epochs: before that, a density says little
COMPARED = 4  # runs at least that have come as far
SAMPLERS = ("tpe", "nsga2")
FIRST_TRIALS = 8  # which cover the space evenly, before TPE has something to go by
MOST_AT_A_TIME = 4  # trials: more would be chosen without knowing of one another
SMALLEST = 1e-4  # of an error or a density, so that its logarithm is finite
FRONT = ("validation_accuracy", "density", "test_accuracy")


def search(
    planner: Planner,
    launch: Launch,
    params: Mapping[str, Any],
    words: Sequence[str],
    *,
    trials: int,
    sampler: str,
    batch: int,
    prune: bool,
    seed: int,
) -> None:
    """Has so many trials done in all, counting those of earlier commands, and writes the front.

    `params` and `words` give options their values; one with interval(a, b), tag(log, interval(a,
    b)) or a choice of values is searched over. InputError for a search that cannot be made, or that
    is not the one begun there. RunFailedError if a trial's run failed other than by diverging."""
    optuna = _optuna()
    for name, value, least in (("trials", trials, 1), ("batch", batch, 0)):
        if value < least:
            raise InputError(
                f"hydra.sweeper.{name}: got {value}, expected a whole number ≥ {least}"
            )
    if sampler not in SAMPLERS:
        raise InputError(
            f"hydra.sweeper.sampler: got {sampler!r}, expected one of {', '.join(SAMPLERS)}"
        )
    space, fixed = _space(optuna, params, words)
    first = planner.jobs(
        [[*fixed, *(f"{key}={_sample_value(value)}" for key, value in space.items())]]
    )[0]
    if not first.config.data.validation:
        fixed.append(f"data.validation={VALIDATION}")
    if first.config.group is None and planner.default_group == AD_HOC:
        fixed.append("group=search")
        first = planner.jobs([[*first.overrides, "group=search"]])[0]
    if first.config.dry_run:
        print(
            f"{first.folder.parent}: a search over {', '.join(space)}, {counted(trials, 'trial')}"
        )
        return
    study = _study(optuna, first.folder.parent, {"space": space, "fixed": fixed})
    if not study.trials and (base := _base_values(planner, space, fixed)):
        study.enqueue_trial(base)  # the settings as they are without a search
    choose = partial(_sampler, optuna, sampler, seed)
    _Search(study, choose, planner, launch, space, fixed, prune).go(
        trials, batch or first.config.n_jobs or min(usable_cores(), MOST_AT_A_TIME)
    )


class Judge:
    """Stops runs that those before them have left behind."""

    def __init__(self) -> None:
        self.hopeless: set[Path] = set()  # folders of those it has asked to stop
        self._courses: dict[
            Path, dict[int, tuple[float, float]]
        ] = {}  # of runs that have ended, read when needed

    def has_ended(self, folder: Path) -> None:
        """Compare runs from now on with this one too."""
        self._courses[folder] = {}

    def look(self, entry: Entry) -> None:
        """Ask a run to stop if at this epoch half of the runs before it were both more accurate and
        sparser."""
        epoch, epochs = int(entry.row.get("epoch") or 0), entry.job.config.schedule.epochs
        if not JUDGED_FROM * epochs <= epoch < epochs:
            return
        here = _point(entry.row)
        others = [point for folder in self._courses if (point := self._course(folder).get(epoch))]
        ahead = sum(
            other != here and other[0] >= here[0] and other[1] <= here[1] for other in others
        )
        if len(others) >= COMPARED and 2 * ahead >= len(others):
            (entry.job.folder / "stop").touch()
            self.hopeless.add(entry.job.folder)

    def _course(self, folder: Path) -> dict[int, tuple[float, float]]:
        """Accuracy and density by epoch of a run that has ended."""
        if not self._courses[folder]:
            with suppress(
                OSError, ValueError, KeyError, TypeError
            ):  # one that failed early, or a row that was cut
                for row in read_csv(folder / "metrics.csv"):
                    self._courses[folder][int(row["epoch"])] = _point(row)
        return self._courses[folder]


class _Search:
    """A study under way."""

    def __init__(
        self,
        study: Any,
        choose: Callable[[int], Any],
        planner: Planner,
        launch: Launch,
        space: Mapping[str, Any],
        fixed: Sequence[str],
        prune: bool,
    ) -> None:
        self._study, self._choose, self._planner, self._launch = study, choose, planner, launch
        self._space, self._fixed, self._prune = space, fixed, prune
        self._judge = Judge()
        self._failed = 0

    def go(self, trials: int, batch: int) -> None:
        for trial in self._told():
            self._judge.has_ended(self._job(trial).folder)
        left_over = [  # by a command that was stopped; not those it was stopped in the middle of choosing
            trial
            for trial in self._study.trials
            if trial.state.name == "RUNNING" and set(trial.params) == set(self._space)
        ]
        while (done := len(self._told())) < trials:
            taken, left_over = left_over[:batch], left_over[batch:]
            with _quietly():
                self._study.sampler = self._choose(len(self._study.trials))
                while len(taken) < min(batch, trials - done):
                    taken.append(self._study.ask(dict(self._space)))
            self._do({trial.number: self._job(trial) for trial in taken}, done, trials)
        self._report()

    def _told(self) -> list[Any]:
        return [trial for trial in self._study.trials if trial.state.is_finished()]

    def _job(self, trial: Any) -> Job:
        words = [
            as_hydra_takes_it(f"{key}={in_grammar(value)}") for key, value in trial.params.items()
        ]
        return self._planner.jobs([[*words, *self._fixed]])[0]

    def _do(self, jobs: Mapping[int, Job], done: int, trials: int) -> None:
        """Runs a batch of trials, and tells the study what came of them."""
        distinct = list({job.folder: job for job in jobs.values()}.values())
        board = Board(
            distinct,
            done=done,
            total=trials,
            on_row=self._judge.look if self._prune else None,
            keys=list(self._space),
        )
        with board.watching():
            if left := [
                job for job in distinct if RunFolder(job.folder, job.config).state() != FINISHED
            ]:
                launched(board, self._launch, left)
        told = [self._tell(number, job, board) for number, job in jobs.items()]
        if not any(told):
            board.close()  # which raises: no run of the batch has come to an end

    def _tell(self, number: int, job: Job, board: Board) -> bool:
        """Tells the study what came of a trial; False where nothing has yet, and the next command
        goes on with it."""
        summary, status = (read_json(job.folder / f"{name}.json") for name in ("summary", "status"))
        states = _optuna().trial.TrialState
        diverged = str(status.get("error")).startswith("DivergedError")
        values = None
        if status.get("state") == FINISHED:
            values, state = _objectives(summary), states.COMPLETE
        elif diverged or job.folder in self._judge.hopeless:
            state = states.PRUNED
        elif status.get("state") == FAILED:
            state = states.FAIL
            self._failed += 1
        else:
            return False
        if state is states.PRUNED:
            why = (
                status.get("error")
                or "half of the runs before it were ahead in accuracy and density"
            )
            board.say(f"{board.label(job)}  stopped: {why}")
        self._study.tell(number, values, state=state, skip_if_finished=True)
        self._judge.has_ended(job.folder)
        return True

    def _report(self) -> None:
        """front.csv and its picture in the terminal; RunFailedError if trials failed."""
        keys = list(self._space)
        columns = ["run", *keys, *FRONT]
        rows = []
        for trial in sorted(self._study.best_trials, key=lambda trial: trial.values[1]):
            folder = self._job(trial).folder
            summary = read_json(folder / "summary.json")
            rows.append(
                [
                    folder.name,
                    *(trial.params[key] for key in keys),
                    *(summary.get(name) for name in FRONT),
                ]
            )
        group = self._job(self._study.trials[0]).folder.parent
        write_text(group / "front.csv", csv_text([columns, *rows]))
        table = Table(title="Pareto front", title_justify="left")
        for column in [*keys, "validation", "density", "test"]:
            table.add_column(column.rpartition(".")[2], justify="right")
        for _, *values, accuracy, density, test in rows:
            shown = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
            table.add_row(
                *shown,
                *(
                    "" if figure is None else f"{figure:.2%}"
                    for figure in (accuracy, density, test)
                ),
            )
        console = Console(highlight=False, soft_wrap=True)
        console.print(table)
        counts = Counter(trial.state.name for trial in self._told())
        console.print(
            f"{group / 'front.csv'}: {len(rows)} on the front; {counted(counts['COMPLETE'], 'trial')} finished, "
            f"{counts['PRUNED']} stopped as hopeless, {counts['FAIL']} failed"
        )
        if self._failed:
            raise RunFailedError(f"{counted(self._failed, 'trial')} failed")


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            "hydra/sweeper=pareto needs Optuna: pip install 'dstrun[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _space(
    optuna: Any, params: Mapping[str, Any], words: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """What is searched over, as Optuna's distributions by option, and the overrides that hold for
    all trials."""
    given = {override.key_or_group for override in parsed(words)}
    axes = [axis(key, values) for key, values in params.items() if key not in given]
    space: dict[str, Any] = {}
    fixed = []
    for word in [*axes, *words]:
        override = override_of(word)
        if not override.is_sweep_override():
            fixed.append(word)
        elif override.key_or_group == "seed":
            raise InputError("seed: a search compares settings, not seeds; expected one value")
        else:
            space[override.key_or_group] = _distribution(optuna, override)
    if not space:
        example = "'reg.alpha=tag(log,interval(1e-4,1e-1))'"
        raise InputError(
            f"hydra/sweeper=pareto: nothing to search over; expected an interval, such as {example}"
        )
    return space, fixed


def _base_values(
    planner: Planner, space: Mapping[str, Any], fixed: Sequence[str]
) -> dict[str, Any]:
    """The config's own values of what is searched over, where they lie inside the intervals."""
    config = planner.jobs([fixed])[0].config
    values = {key: value_of(config, key) for key in space if key in OPTIONS}
    return {key: value for key, value in values.items() if _within(space[key], value)}


def _within(distribution: Any, value: Any) -> bool:
    if hasattr(distribution, "choices"):
        return value in distribution.choices
    return distribution.low <= value <= distribution.high


def _distribution(optuna: Any, override: Any) -> Any:
    key, sweep = override.key_or_group, override.value()
    try:
        if override.is_interval_sweep():
            log = "log" in sweep.tags
            if key in OPTIONS and OPTIONS[key].type is int:
                return optuna.distributions.IntDistribution(
                    int(sweep.start), int(sweep.end), log=log
                )
            return optuna.distributions.FloatDistribution(
                float(sweep.start), float(sweep.end), log=log
            )
        values = list(
            override.sweep_iterator(transformer=lambda value: getattr(value, "text", value))
        )
        if not all(isinstance(value, str | int | float | bool) for value in values) or not values:
            raise ValueError("expected plain values")
        return optuna.distributions.CategoricalDistribution(values)
    except ValueError as error:
        raise InputError(f"{override.input_line}: {error}") from error


def _sample_value(distribution: Any) -> str:
    """A value that a distribution may take, to see what the options come to."""
    return in_grammar(
        distribution.choices[0] if hasattr(distribution, "choices") else distribution.low
    )


def _study(optuna: Any, group: Path, what: Mapping[str, Any]) -> Any:
    """The study of a group's folder, begun now or before; InputError if that one was about
    something else."""
    try:
        group.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"outputs: {error}") from error
    space = {
        key: json.loads(optuna.distributions.distribution_to_json(kind))
        for key, kind in what["space"].items()
    }
    fixed = sorted(word for word in what["fixed"] if _matters(word))
    about = json.dumps({"space": space, "fixed": fixed}, sort_keys=True)
    history = group / "search.db"
    with _quietly():
        try:
            from sqlalchemy.pool import NullPool  # a package of Optuna's

            patient = {
                "connect_args": {"timeout": 60},
                "poolclass": NullPool,
            }  # seconds, where two commands write
            storage = optuna.storages.RDBStorage(f"sqlite:///{history}", engine_kwargs=patient)
            study = optuna.create_study(
                storage=storage,
                study_name="search",
                directions=["minimize"] * 2,
                load_if_exists=True,
            )
        except Exception as error:  # whatever SQLAlchemy makes of a file that is no database
            raise InputError(
                f"{history}: no history of a search can be read there ({described(error)})"
            ) from error
        begun = study.user_attrs.get("about", about)
        if begun != about and not any(group.glob("*/config.yaml")):  # it never came to a run
            optuna.delete_study(study_name="search", storage=storage)
            study = optuna.create_study(
                storage=storage, study_name="search", directions=["minimize"] * 2
            )
        elif begun != about:
            raise InputError(
                f"group: {group} holds another search; group=NAME begins one of its own"
            )
        study.set_user_attr("about", about)
    return study


def _sampler(optuna: Any, kind: str, seed: int, trials: int) -> Any:
    """What chooses the next trials. TPE has something to go by after a first few, which cover the
    space evenly."""
    seed += trials  # one that went on from its first seed would repeat its first trials
    if kind == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed)
    first = optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    if trials < FIRST_TRIALS:
        return first
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True
    )


def _matters(word: str) -> bool:
    """Whether an override can change a run's figures, and so a search."""
    key = override_of(word).key_or_group
    return not key.startswith("hydra") and (
        key not in OPTIONS or bool(OPTIONS[key].metadata["identity"])
    )


@contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _objectives(figures: Mapping[str, float]) -> list[float]:
    """What Optuna makes small: error and density, both on a logarithmic scale, where 2 % and 4 %
    lie as far apart as 20 % and 40 %. The front is the same on any scale."""
    return [
        log10(max(1 - figures["validation_accuracy"], SMALLEST)),
        log10(max(figures["density"], SMALLEST)),
    ]


def _point(row: Mapping[str, str]) -> tuple[float, float]:
    return float(row["validation_accuracy"]), float(row["density"])
