"""Methods side by side: the settings of each as a line over density, and who is best at which."""

from collections.abc import Iterator

import pandas as pd

from dstrun.compare.labels import (
    DENSE,
    DENSITIES,
    cell_text,
    is_dense,
    sparse_methods,
    varying_options,
)
from dstrun.runs.labels import NAMES, option_label

ASKED = DENSITIES[0]
OF_A_LINE = ("seed", "reg.method", "reg.alpha", *DENSITIES, *NAMES)  # not in the name of a line


def lines_of_methods(settings: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each sparse method with its rows; apart where an option but the density varies in it.

    `settings` is the table of `aggregate.by_setting`, of one model and data.
    """
    keys = [key for key in ("group", *varying_options(settings)) if key not in OF_A_LINE]
    for method, rows in settings[~is_dense(settings)].groupby("reg.method", sort=False):
        own = [key for key in keys if rows[key].nunique(dropna=False) > 1]
        blocks = rows.groupby(own, sort=False, dropna=False) if own else [((), rows)]
        for values, block in blocks:
            named = zip(own, values, strict=True)
            words = [option_label(key, value) for key, value in named if cell_text(value, key)]
            yield ", ".join([str(method), *words]), block


def by_density(settings: pd.DataFrame) -> pd.DataFrame:
    """Return accuracies by method and density asked for, of one model and data.

    A row for each line of `lines_of_methods` and density, of settings with finished runs; first
    that of the dense ones, whose density is 1. Columns: method, density_asked, density, accuracy,
    accuracy_std, count, best: whether it is the most accurate at its density. Empty without two
    methods and two densities.
    """
    settings = settings[settings["finished"] > 0]
    if ASKED not in settings or len(sparse_methods(settings)) < 2:
        return pd.DataFrame()
    blocks = [settings[is_dense(settings)].head(1).assign(method=DENSE, **{ASKED: 1.0})]
    for name, rows in lines_of_methods(settings):
        blocks.append(rows[rows[ASKED].notna()].assign(method=name))
    table = pd.concat(blocks, ignore_index=True).rename(columns={ASKED: "density_asked"})
    table = table[["method", "density_asked", "density", "accuracy", "accuracy_std", "count"]]
    groups = table.groupby("density_asked")["accuracy"]
    is_best = table["accuracy"] == groups.transform("max")
    return table.assign(best=is_best & (groups.transform("count") > 1))
