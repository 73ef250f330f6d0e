"""Optuna study of a search: space, samplers, objectives, and the history in search.db."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from math import log10
from pathlib import Path
from typing import Any

from dstrun.config.options import OPTIONS, value_of
from dstrun.config.values import parse_overrides
from dstrun.runs.front import on_front
from dstrun.runs.tasks import task_of
from dstrun.sweep.plan import Planner, axis, in_grammar, override_of
from dstrun.system.errors import InputError, error_line
from dstrun.system.run_files import CONFIG_FILE

QMC_TRIALS = 8  # that cover the space evenly, before TPE has enough trials to model
MIN_OBJECTIVE = 1e-4  # of an error or a density, so that its logarithm is finite


def import_optuna() -> Any:
    """Return the module optuna; raise InputError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            "hydra/sweeper=pareto needs Optuna: pip install 'dstrun[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def split_space(
    params: Mapping[str, Any], words: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return Optuna's distribution of each option to search over, and the overrides of all trials.

    Raise InputError where there is nothing to search over, and for an axis of seeds.
    """
    given = {override.key_or_group for override in parse_overrides(words)}
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
            space[override.key_or_group] = _distribution(override)
    if not space:
        example = "'reg.alpha=tag(log,interval(1e-4,1e-1))'"
        raise InputError(
            f"hydra/sweeper=pareto: nothing to search over; expected an interval, such as {example}"
        )
    return space, fixed


def _distribution(override: Any) -> Any:
    try:
        if override.is_interval_sweep():
            return _interval(override.key_or_group, override.value())
        return _categories(override)
    except ValueError as error:
        raise InputError(f"{override.input_line}: {error}") from error


def _interval(key: str, sweep: Any) -> Any:
    distributions, is_log = import_optuna().distributions, "log" in sweep.tags
    if key in OPTIONS and OPTIONS[key].type is int:
        return distributions.IntDistribution(int(sweep.start), int(sweep.end), log=is_log)
    return distributions.FloatDistribution(float(sweep.start), float(sweep.end), log=is_log)


def _categories(override: Any) -> Any:
    values = list(override.sweep_iterator(transformer=lambda value: getattr(value, "text", value)))
    if not values or not all(isinstance(value, str | int | float | bool) for value in values):
        raise ValueError("expected plain values")
    return import_optuna().distributions.CategoricalDistribution(values)


def sample_value(distribution: Any) -> str:
    """Return a value of a distribution in Hydra's grammar, for composing a sample config."""
    if hasattr(distribution, "choices"):
        return in_grammar(distribution.choices[0])
    return in_grammar(distribution.low)


def config_values(
    planner: Planner, space: Mapping[str, Any], fixed: Sequence[str]
) -> dict[str, Any]:
    """Return the config's own values of the options searched over, where the space contains them.

    They make the first trial: the settings without a search.
    """
    config = planner.jobs([fixed])[0].config
    values = {}
    for key, distribution in space.items():
        if key in OPTIONS and _is_within(distribution, value_of(config, key)):
            values[key] = value_of(config, key)
    return values


def _is_within(distribution: Any, value: Any) -> bool:
    if hasattr(distribution, "choices"):
        return value in distribution.choices
    return distribution.low <= value <= distribution.high


def open_study(group: Path, space: Mapping[str, Any], fixed: Sequence[str]) -> Any:
    """Return the study in a group's folder, created or resumed.

    Raise InputError where the study there has another space or other fixed overrides, and where
    search.db is no database.
    """
    try:
        group.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"outputs: {error}") from error
    about = _description(space, fixed)
    history = group / "search.db"
    with without_warnings():
        try:
            storage = _storage(history)
            study = _create_study(storage)
        except Exception as error:  # SQLAlchemy's, for a file that is no database
            raise InputError(
                f"{history}: the history of the search cannot be read ({error_line(error)})"
            ) from error
        recorded = study.user_attrs.get("about", about)
        if recorded != about:
            if any(group.glob(f"*/{CONFIG_FILE}")):
                raise InputError(
                    f"group: {group} contains another search; group=NAME starts a new one"
                )
            import_optuna().delete_study(study_name="search", storage=storage)  # has no run
            study = _create_study(storage)
        study.set_user_attr("about", about)
    return study


def _storage(history: Path) -> Any:
    from sqlalchemy.pool import NullPool  # SQLAlchemy comes with Optuna

    # The timeout, in seconds, matters where two commands write at the same time.
    options = {"connect_args": {"timeout": 60}, "poolclass": NullPool}
    return import_optuna().storages.RDBStorage(f"sqlite:///{history}", engine_kwargs=options)


def _create_study(storage: Any) -> Any:
    return import_optuna().create_study(
        storage=storage,
        study_name="search",
        directions=["minimize"] * 2,
        load_if_exists=True,
    )


def _description(space: Mapping[str, Any], fixed: Sequence[str]) -> str:
    """Return what identifies a search as JSON: its space, and the overrides that affect figures."""
    to_json = import_optuna().distributions.distribution_to_json
    kinds = {key: json.loads(to_json(distribution)) for key, distribution in space.items()}
    relevant = sorted(filter(_affects_figures, fixed))
    return json.dumps({"space": kinds, "fixed": relevant}, sort_keys=True)


def _affects_figures(word: str) -> bool:
    key = override_of(word).key_or_group
    if key.startswith("hydra"):
        return False
    return key not in OPTIONS or bool(OPTIONS[key].metadata["identity"])


def make_sampler(kind: str, seed: int, trials: int) -> Any:
    """Return Optuna's sampler for the next trials, after `trials` trials.

    `kind`: "nsga2", or "tpe", which starts with a quasi-random sequence.
    """
    samplers = import_optuna().samplers
    seed += trials  # a resumed search with its first seed would repeat its first trials
    if kind == "nsga2":
        return samplers.NSGAIISampler(seed=seed)
    if trials < QMC_TRIALS:
        return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    return samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)


def objectives(figures: Mapping[str, float]) -> list[float]:
    """Return what Optuna minimises: the logarithms of validation error and density.

    On this scale 2 % and 4 % are as far apart as 20 % and 40 %; the Pareto front is the same on
    any scale.
    """
    headline = task_of(figures).headline
    error = headline.error(figures[headline.column("validation")])
    return [log10(max(error, MIN_OBJECTIVE)), log10(max(figures["density"], MIN_OBJECTIVE))]


def best_of(trials: Sequence[Any]) -> list[Any]:
    """Return the trials on the front, from sparse to dense; densities shown alike are equal."""
    trials = sorted(trials, key=lambda trial: trial.values[1])
    scores = [-trial.values[0] for trial in trials]
    densities = [10 ** trial.values[1] for trial in trials]  # the objective is the logarithm
    return list(compress(trials, on_front(scores, densities)))


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore warnings, such as Optuna's of experimental features, inside the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
