"""Search for the Pareto front of accuracy, or another headline, and density over intervals.

    ask Optuna for a batch of trials  →  the launcher runs them  →  tell Optuna  →  …  →  front.csv

The headline is measured on a validation split, so that nothing is selected on the test set. The
history is search.db in the group's folder, beside the run folders; the same command resumes it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console

from dstrun.config.groups import AD_HOC
from dstrun.config.overrides import normalize_override
from dstrun.runs.folder import RunFolder
from dstrun.runs.labels import quantity
from dstrun.runs.status import FAILED, FINISHED
from dstrun.runs.tasks import ACCURACY, task_of
from dstrun.sweep.early_stopping import EarlyStopping
from dstrun.sweep.front import front_figures, front_table
from dstrun.sweep.monitor import Monitor
from dstrun.sweep.plan import Job, Planner, in_grammar
from dstrun.sweep.start_check import rehearse_start
from dstrun.sweep.study import (
    best_of,
    config_values,
    import_optuna,
    make_sampler,
    objectives,
    open_study,
    sample_value,
    split_space,
    without_warnings,
)
from dstrun.sweep.sweep import Launch, launch_and_wait
from dstrun.sweep.worker import slots_of_cpu
from dstrun.system.errors import DivergedError, InputError, RunFailedError, print_notes
from dstrun.system.files import csv_text, read_json, write_text
from dstrun.system.run_files import STATUS_FILE, SUMMARY_FILE

VALIDATION_SHARE = 0.1  # held out where the config holds out none
SAMPLERS = ("tpe", "nsga2")
MAX_BATCH = 4  # trials by default: in a larger batch more are chosen without each other's results


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
    """Run trials until there are `trials` in all, earlier commands' included; write front.csv.

    `params` and `words` give options their values; an option with interval(a, b), tag(log,
    interval(a, b)) or a choice of values is searched over. `batch`: trials at a time (0: n_jobs,
    else one per core, at most 4). Raise InputError for a search that cannot run or is not the one
    in the group's folder; RunFailedError if a trial's run fails other than by diverging.
    """
    _check_options(trials, sampler, batch)
    space, fixed = split_space(params, words)
    sample, fixed = _complete(planner, space, fixed)
    if sample.config.dry_run:
        notes = rehearse_start([sample])
        group = sample.folder.parent
        print(f"{group}: a search over {', '.join(space)}, {quantity(trials, 'trial')}")
        print_notes(notes)
        return
    study = open_study(sample.folder.parent, space, fixed)
    if not study.trials and (values := config_values(planner, space, fixed)):
        study.enqueue_trial(values)
    of_search = _Search(study, planner, launch, space, fixed, prune)
    of_search.run(
        trials,
        batch or sample.config.n_jobs or min(slots_of_cpu(sample.config.devices), MAX_BATCH),
        partial(make_sampler, sampler, seed),
    )
    of_search.report()


def _check_options(trials: int, sampler: str, batch: int) -> None:
    """Raise InputError for options of the sweeper that are out of bounds."""
    for name, value, least in (("trials", trials, 1), ("batch", batch, 0)):
        if value < least:
            raise InputError(
                f"hydra.sweeper.{name}: got {value}, expected a whole number ≥ {least}"
            )
    if sampler not in SAMPLERS:
        raise InputError(
            f"hydra.sweeper.sampler: got {sampler!r}, expected one of {', '.join(SAMPLERS)}"
        )


def _complete(
    planner: Planner, space: Mapping[str, Any], fixed: Sequence[str]
) -> tuple[Job, list[str]]:
    """Return the job of a sample of the space, and the fixed overrides with those that a search
    adds: a validation split and a group.
    """
    words = [f"{key}={sample_value(distribution)}" for key, distribution in space.items()]
    job = planner.jobs([[*fixed, *words]])[0]
    added = []
    if not job.config.data.validation:
        added.append(f"data.validation={VALIDATION_SHARE}")
    if job.config.group is None and planner.default_group == AD_HOC:
        added.append("group=search")
        job = planner.jobs([[*job.overrides, "group=search"]])[0]
    return job, [*fixed, *added]


class _Search:
    """A study with the planner and the launcher that run its trials."""

    def __init__(
        self,
        study: Any,
        planner: Planner,
        launch: Launch,
        space: Mapping[str, Any],
        fixed: Sequence[str],
        prune: bool,
    ) -> None:
        self._study, self._planner, self._launch = study, planner, launch
        self._space, self._fixed, self._prune = space, fixed, prune
        self._early_stopping = EarlyStopping()
        self._failed = 0

    def run(self, trials: int, batch: int, make: Callable[[int], Any]) -> None:
        """Run batches of trials until `trials` have ended; `make` returns the sampler after a
        number of trials.
        """
        for trial in self._ended():
            self._early_stopping.add_ended(self._job(trial).folder)
        unfinished = self._unfinished()
        while (done := len(self._ended())) < trials:
            chosen, unfinished = unfinished[:batch], unfinished[batch:]
            with without_warnings():
                self._study.sampler = make(len(self._study.trials))
                while len(chosen) < min(batch, trials - done):
                    chosen.append(self._study.ask(dict(self._space)))
            jobs = {trial.number: self._job(trial) for trial in chosen}
            self._run_batch(jobs, done, trials)

    def report(self) -> None:
        """Write front.csv and print it as a table; raise RunFailedError if trials failed."""
        keys, headline = list(self._space), ACCURACY
        rows = []
        for trial in best_of(self._study.best_trials):
            folder = self._job(trial).folder
            summary = read_json(folder / SUMMARY_FILE)
            headline = task_of(summary).headline
            figures = map(summary.get, front_figures(headline))
            rows.append([folder.name, *map(trial.params.get, keys), *figures])
        file = self._job(self._study.trials[0]).folder.parent / "front.csv"
        write_text(file, csv_text([["run", *keys, *front_figures(headline)], *rows]))
        console = Console(highlight=False, soft_wrap=True)
        console.print(front_table(keys, rows, headline))
        counts = Counter(trial.state.name for trial in self._ended())
        console.print(
            f"{file}: {len(rows)} on the front; {quantity(counts['COMPLETE'], 'trial')} finished, "
            f"{counts['PRUNED']} stopped early, {counts['FAIL']} failed"
        )
        if self._failed:
            raise RunFailedError(f"{quantity(self._failed, 'trial')} failed")

    def _ended(self) -> list[Any]:
        return [trial for trial in self._study.trials if trial.state.is_finished()]

    def _unfinished(self) -> list[Any]:
        """Return the trials of an interrupted command, but not one whose values are incomplete."""
        return [
            trial
            for trial in self._study.trials
            if trial.state.name == "RUNNING" and set(trial.params) == set(self._space)
        ]

    def _job(self, trial: Any) -> Job:
        words = [
            normalize_override(f"{key}={in_grammar(value)}") for key, value in trial.params.items()
        ]
        return self._planner.jobs([[*words, *self._fixed]])[0]

    def _run_batch(self, jobs: Mapping[int, Job], done: int, trials: int) -> None:
        """Run a batch of trials, by number, and tell the study their results."""
        distinct = list({job.folder: job for job in jobs.values()}.values())
        monitor = Monitor(
            distinct,
            done=done,
            total=trials,
            on_row=self._early_stopping.check if self._prune else None,
            keys=list(self._space),
        )
        with monitor.watching():
            if left := [
                job for job in distinct if RunFolder(job.folder, job.config).state() != FINISHED
            ]:
                launch_and_wait(monitor, self._launch, left)
        has_ended = [self._tell(number, job, monitor) for number, job in jobs.items()]
        if not any(has_ended):
            monitor.close()  # raises RunFailedError, since no run of the batch has ended

    def _tell(self, number: int, job: Job, monitor: Monitor) -> bool:
        """Tell the study the result of a trial; return False for one that the next command
        resumes.
        """
        status = read_json(job.folder / STATUS_FILE)
        states, values = import_optuna().trial.TrialState, None
        if status.get("state") == FINISHED:
            values, state = objectives(read_json(job.folder / SUMMARY_FILE)), states.COMPLETE
        elif _has_diverged(status) or job.folder in self._early_stopping.stopped:
            state = states.PRUNED
            reason = status.get("error") or "half of the earlier runs are as accurate and as sparse"
            monitor.say(f"{monitor.label(job)}  stopped: {reason}")
        elif status.get("state") == FAILED:
            state = states.FAIL
            self._failed += 1
        else:
            return False
        self._study.tell(number, values, state=state, skip_if_finished=True)
        self._early_stopping.add_ended(job.folder)
        return True


def _has_diverged(status: Mapping[str, Any]) -> bool:
    """Return whether a run has failed by a DivergedError; status.json records "KIND: message"."""
    return str(status.get("error")).partition(":")[0] == DivergedError.__name__
