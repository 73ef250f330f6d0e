"""Methods side by side: the settings of each as a line over density, and who is best at which."""

from collections.abc import Iterator, Sequence

import pandas as pd

from dstrun.compare.headlines import examples_of, headline_of, headline_values
from dstrun.compare.labels import (
    COMPARABLE,
    DENSITIES,
    cell_text,
    is_dense,
    sparse_methods,
    varying_options,
)
from dstrun.compare.statistics import by_seed, difference
from dstrun.runs.labels import NAMES, is_of_method, option_label

ASKED = DENSITIES[0]
LISTS = ["names", "values"]  # columns of a setting's runs
OF_A_LINE = ("seed", "reg.method", "reg.alpha", *DENSITIES, *NAMES)  # not in the name of a line


def lines_of_methods(settings: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each method with its rows; apart where an option but the density varies in it.

    `settings` is the table of `aggregate.by_setting`, of one model and data. An option that is of
    no method, such as the epochs, the data's limits or the model's arguments, is in every name
    where not all settings have the same.
    """
    keys = [key for key in ("group", *varying_options(settings)) if key not in OF_A_LINE]
    examples = examples_of(settings)
    for method, rows in settings.groupby("reg.method", sort=False):
        own = [key for key in keys if _is_shared(key) or rows[key].nunique(dropna=False) > 1]
        blocks = rows.groupby(own, sort=False, dropna=False) if own else [((), rows)]
        for values, block in blocks:
            words = []
            for key, value in zip(own, values, strict=True):
                if cell_text(value, key):
                    words.append(option_label(key, value, examples))
            yield ", ".join([str(method), *words]), block


def _is_shared(key: str) -> bool:
    """Return whether an option is of no method, so that methods which differ in it are apart."""
    return key != "group" and not is_of_method(key)


def by_density(settings: pd.DataFrame) -> pd.DataFrame:
    """Return the headline, accuracy say, by method and density asked for, of one model and data.

    A row for each line of `lines_of_methods` and density, of settings with finished runs. Columns:
    method, reg.method, reg.density, which is 1 of dense runs, density, accuracy, accuracy_std,
    count, names, values; best and unclear: whether it is the best at its density, of the same data
    and model arguments, or seeds cannot tell it from that one. Empty without two methods and two
    densities.
    """
    settings = settings[(settings["finished"] > 0) & headline_values(settings).notna()]
    if ASKED not in settings or len(sparse_methods(settings)) < 2:
        return pd.DataFrame()
    settings = settings.assign(**{ASKED: settings[ASKED].mask(is_dense(settings), 1.0)})
    blocks = []
    for name, rows in lines_of_methods(settings):
        blocks.append(rows[rows[ASKED].notna()].assign(method=name))
    table = pd.concat(blocks, ignore_index=True)
    sparse = table[~is_dense(table)]
    if sparse["reg.method"].nunique() < 2 or sparse[ASKED].nunique() < 2:
        return pd.DataFrame()
    name, same = headline_of(table).name, [key for key in COMPARABLE if key in table]
    own = ["method", "reg.method", ASKED, "density", name, f"{name}_std", "count"]
    best, unclear = _beside_the_best(table, [ASKED, *same])
    return table[[*own, *LISTS]].assign(best=best, unclear=unclear)


def _beside_the_best(table: pd.DataFrame, by: Sequence[str]) -> tuple[pd.Series, pd.Series]:
    """Return for each row whether it is the best of those that agree in `by`, and `unclear`.

    The latter is whether seeds cannot tell it from the best. Neither is one that is alone.
    """
    scores = headline_values(table) * headline_of(table).score(1.0)
    is_best, unclear = pd.Series(False, table.index), pd.Series(False, table.index)
    for _, rows in scores.groupby([table[key] for key in by], dropna=False):
        best = rows.idxmax()
        for row in rows.index if len(rows) > 1 else ():
            found = difference(by_seed(table["values"][best]), by_seed(table["values"][row]))
            is_best[row] = rows[row] == rows[best]
            unclear[row] = not is_best[row] and found.is_unclear
    return is_best, unclear
