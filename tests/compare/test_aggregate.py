"""Filters, labels, means over seeds, dense baselines and the Pareto front of small tables."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dstrun.compare import aggregate, filters, paper
from dstrun.compare.figures.parallel import parallel_coordinates
from dstrun.compare.labels import (
    METHOD_HUES,
    cell_text,
    method_hue,
    varying_options,
    with_labels,
)
from dstrun.compare.methods import by_density, lines_of_methods
from dstrun.compare.report import method_table
from dstrun.compare.report import table as report_table
from dstrun.compare.run_tables import Store
from dstrun.config.sparsity_options import METHODS
from dstrun.runs.identity import SETTINGS
from dstrun.system.errors import InputError
from tests.helpers.folders import leave, leave_methods, status

OUT = Path("outputs/made")


def runs(outputs: Path = Path("outputs")) -> pd.DataFrame:
    return with_labels(Store([outputs]).runs)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs of three settings, one of them failed.

    Accuracies: dense 0.98 and 0.96; α 1e-3 0.95 and 0.97, with 0.1 and 0.2 of the weights; α 1e-2
    0.9, with 0.05.
    """
    folder = tmp_path_factory.mktemp("outputs") / "made"
    for seed, accuracy in enumerate((0.98, 0.96)):
        leave(folder, [accuracy], [1.0], seed=seed, reg__method="dense", created=seed)
    for seed, (accuracy, density) in enumerate(((0.95, 0.1), (0.97, 0.2))):
        leave(folder, [accuracy], [density], seed=seed, reg__alpha=1e-3, created=2 + seed)
    leave(folder, [0.9], [0.05], seed=0, reg__alpha=1e-2, created=4)
    leave(folder, [0.1], [1.0], seed=1, reg__alpha=1e-2, state="failed", created=5)
    return folder.parent


@pytest.fixture(scope="module")
def sweep(made: Path) -> pd.DataFrame:
    return runs(made)


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        ("", 6),
        ("alpha>1e-3", 2),
        ("alpha>=1e-3", 4),
        ("alpha=1e-3", 2),
        ("α!=0.001", 4),
        ("reg.alpha<0.01", 2),
        ("density<20%", 2),
        ("density<=20%", 3),
        ("density=20.004%", 1),
        ("density!=20.004%", 5),
        ("remaining<0.2, seed=0", 2),
        ("alpha>1e-4 and accuracy>90%", 2),
        ("method=dense", 2),
        ("method=DENSE", 2),
        ("state!=finished", 1),
        ("model=lenet_300_100", 6),
        ("model>m", 0),
        ("lr=0.01 epochs=2", 6),
        ("epoch=1", 6),
        ("seed=1 alpha=1e-2", 1),
        ("density<=1", 6),
        ("density < 20 %, seed=0", 2),
        ('state="finished"', 5),
        ("state='finished' and seed='0'", 3),
    ],
)
def test_conditions(sweep: pd.DataFrame, conditions: str, count: int) -> None:
    assert len(filters.where(sweep, conditions)) == count


def test_a_name_with_anything_in_it_is_written_in_quotes() -> None:
    names = [
        "my net, v2",
        "a=b",
        "<x> & [y]",
        "Größe",
        "it's",
        'a "b"',
        "0016",
        "plain",
        r"back\slash",
    ]
    for seed, name in enumerate(names):
        leave(
            model__name=name,
            seed=seed,
            schedule__rate="multistep",
            schedule__milestones=[1, 2 + seed % 2],
        )
    table = runs()
    for name in names:
        quoted = [
            f"model={mark[0]}{name}{mark[1]}"
            for mark in ('""', "''", "“”")
            if not {*mark} & {*name}
        ]
        assert len(quoted) >= 2
        for words in (*quoted, f"{quoted[0]}, seed<99", f"seed>=0 and {quoted[1]}"):
            assert filters.where(table, words)["model.name"].tolist() == [name]
    assert len(filters.where(table, 'model!="plain"')) == len(names) - 1
    assert len(filters.where(table, "model=Gro\u0308SSe")) == 1  # as a Mac writes it
    for bare in ("model=a=b", "model=it's", "model=plain"):
        assert len(filters.where(table, bare)) == 1
    for listed in ("milestones=[1,2]", 'milestones="[1, 2]"'):
        assert len(filters.where(table, listed)) == 5


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ("alhpa>1", "alhpa: there is no such column; did you mean alpha or reg.alpha"),
        (
            "zzz=1",
            "zzz: there is no such column; there are model, data, method, alpha, seed, state, "
            "epoch, epochs, accuracy",
        ),
        ("alpha", "filter: got 'alpha', expected a condition such as alpha>1e-6"),
        ("alpha>1e-6 or", "filter: got 'or', expected"),
        ("__import__('os')", "expected a condition"),
        ("density<5", "filter: got density<5, expected a fraction or a percentage: 5%"),
        ("accuracy>99", "expected a fraction or a percentage: 99%"),
        ("seed=a", "filter: got seed=a, expected a number there"),
        (
            "model=my net",
            "filter: got 'net', expected a condition such as alpha>1e-6 or model=\"my net, v2\"",
        ),
        ('model="my net', 'condition such as alpha>1e-6 or model="my net, v2"'),
    ],
)
def test_errors_of_conditions(sweep: pd.DataFrame, conditions: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        filters.where(sweep, conditions)
    assert message in str(error.value)


def test_a_message_names_the_figures_that_there_are(sweep: pd.DataFrame) -> None:
    own = {"test_accuracy": float("nan"), "test_bits_per_byte": 2.5}
    texts = sweep.assign(**own)
    for conditions, known in (
        ("'bits per byte'<6.3", r"did you mean bits_per_byte\?"),
        ("zzz=1", "epoch, epochs, bits_per_byte, density, flops, time"),
    ):
        with pytest.raises(InputError, match=f"{known}$"):
            filters.where(texts, conditions)
    with pytest.raises(InputError, match=r"epoch, epochs, accuracy, density, flops, time$"):
        filters.where(sweep, "zzz=1")
    for table, figure in ((texts, "bits_per_byte"), (sweep, "accuracy")):
        known = f"epochs, {figure}, difference, density, flops, time"
        with pytest.raises(InputError, match=known):
            filters.sort_by_word(aggregate.by_setting(table), "zzz")


def test_options_in_which_runs_vary(sweep: pd.DataFrame) -> None:
    """Check that an option that does not apply to a run, or belongs to a name, does not vary."""
    assert varying_options(sweep) == ["reg.method", "reg.alpha", "seed"]
    leave(seed=0, created=5)
    leave(seed=0, model__args={"width": 3}, created=6)
    assert "model.args" in varying_options(runs()), "since the name does not tell them apart"
    leave(model__name="lenet5", model__builder="lenet5", created=7)
    assert "model.builder" not in varying_options(runs())


def test_of_several_methods_the_options_do_not_vary_with_the_method() -> None:
    """DST's target is the density that others are asked for; ΔT tells RigL from SET alone."""
    leave_methods()
    found = runs()
    assert varying_options(found) == ["reg.method", "reg.density"]
    assert list(found["label"])[:4] == [
        "dense, seed 0",
        "rigl, density 0.1, seed 0",
        "set, density 0.1, seed 0",
        "dst, density 0.1, seed 0",
    ]
    table = aggregate.by_setting(found)
    assert list(table["reg.method"]) == ["dense", *["dst"] * 2, *["rigl"] * 2, *["set"] * 2]
    assert list(table["reg.density"])[1:] == [0.05, 0.1] * 3
    assert "reg.target_density" not in table
    leave(reg__method="rigl", reg__density=0.1, reg__every=50, created=9)
    found = runs()
    assert varying_options(found) == ["reg.method", "reg.density", "reg.every"]
    alone = found[found["reg.method"] == "dst"]
    assert varying_options(alone) == ["reg.target_density"]


def test_accuracies_by_method_and_density() -> None:
    """Means of two seeds, half a percent below the first; at 10 % RigL is best, at 5 % DST."""
    leave_methods(seeds=2)
    table = by_density(aggregate.by_setting(runs())).set_index(["method", "reg.density"])
    assert list(table.index) == [
        ("dense", 1.0),
        *[(method, density) for method in ("dst", "rigl", "set") for density in (0.05, 0.1)],
    ]
    means = table["accuracy"].round(6)
    assert means["dense", 1.0] == 0.975
    assert [means["rigl", 0.1], means["rigl", 0.05], means["dst", 0.05]] == [0.955, 0.915, 0.935]
    assert table["accuracy_std"].round(6).unique().tolist() == [0.007071]
    assert list(table.index[table["best"]]) == [("dst", 0.05), ("rigl", 0.1)]
    leave(reg__method="rigl", reg__density=0.1, reg__every=50, created=99)
    lines = [name for name, _ in lines_of_methods(aggregate.by_setting(runs()))]
    assert lines == ["dense", "dst", "rigl, every 100", "rigl, every 50", "set"]


def test_runs_that_were_asked_for_no_density_are_in_no_column_of_it() -> None:
    """DST with a fixed α, beside RigL and SET."""
    leave_methods()
    leave(reg__method="dst", reg__alpha=1e-3, created=98)
    leave(reg__method="imp", reg__density=0.1, reg__rounds=3, state="running", created=97)
    found = runs()
    table = by_density(aggregate.by_setting(found))
    assert sorted(table["reg.density"].unique()) == [0.05, 0.1, 1.0]
    assert "imp" not in set(table["method"]), "which has not been pruned yet"
    fixed = found[found["reg.density"].isna() | (found["reg.method"] != "dst")]
    table = by_density(aggregate.by_setting(fixed))
    assert set(table["method"]) == {"dense", "rigl", "set"}
    assert table["reg.density"].notna().all()


def test_the_best_and_what_seeds_cannot_tell_from_it() -> None:
    """At 10 %, seed by seed RigL is 1 % above static; above SET by −1.5, 0.5 and 2.5 %.

    At 5 % there is one run of each, so only the best one is; at 20 % of either number of images.
    """
    accuracies = {"rigl": (95, 96, 97), "static": (94, 95, 96), "set": (96.5, 95.5, 94.5)}
    for place, (method, values) in enumerate(accuracies.items()):
        options: dict[str, Any] = {"reg__method": method, "created": place}
        for seed, value in enumerate(values):
            leave(OUT, [value / 100], [0.1], seed=seed, reg__density=0.1, **options)
        leave(OUT, [values[2] / 100], [0.05], reg__density=0.05, **options)
        limit = 100 if method == "rigl" else 0
        leave(OUT, [values[2] / 100], [0.2], reg__density=0.2, data__train_limit=limit, **options)
    table = by_density(aggregate.by_setting(runs()))
    table = table.assign(method=table["method"].str.partition(",")[0])
    best = table.loc[table["best"], ["method", "reg.density"]].to_numpy().tolist()
    assert best == [["rigl", 0.05], ["rigl", 0.1], ["static", 0.2]]
    unclear = table.loc[table["unclear"], ["method", "reg.density"]].to_numpy().tolist()
    assert unclear == [["set", 0.1]]
    found = runs()
    bits = {"test_bits_per_byte": found["test_accuracy"], "test_accuracy": float("nan")}
    table = by_density(aggregate.by_setting(found.assign(**bits)))
    best = table.loc[table["best"] & (table["reg.density"] == 0.05), "method"]
    assert [name.partition(",")[0] for name in best] == ["set"], "of which less is better"


def test_options_that_are_nothing_are_not_told() -> None:
    leave_methods()
    leave(reg__method="set", reg__density=0.5, reg__structure="2:4", created=97)
    leave(reg__method="static", reg__density=0.1, created=98)
    densities = {"reg__layer_densities": {"fc1": 0.5}}
    leave(reg__method="static", reg__density=0.1, created=99, **densities)
    found = runs()
    names = [name for name, _ in lines_of_methods(aggregate.by_setting(found))]
    assert names == [
        *("dense", "dst", "rigl", "set", "set, structure 2:4"),
        *('static, layer densities {"fc1": 0.5}', "static"),
    ]
    assert list(found["setting_label"])[-2:] == [
        "static, density 0.1",
        'static, density 0.1, layer densities {"fc1": 0.5}',
    ]
    assert len(filters.where(found, "structure=none")) == 6, "a filter reads what the config says"


def test_a_share_meets_the_percentage_that_it_is_shown_as(sweep: pd.DataFrame) -> None:
    for share, shown in ((0.0007, "0.07%"), (0.5699, "56.99 %"), (0.57, "57.00%")):
        for comparison in (">=", "<="):
            some = sweep.assign(test_accuracy=share)
            assert len(filters.where(some, f"accuracy{comparison}{shown}")) == len(sweep)


def test_without_two_methods_there_is_no_table_of_them(sweep: pd.DataFrame) -> None:
    assert by_density(aggregate.by_setting(sweep)).empty


def test_methods_that_differ_in_an_option_of_none_of_them_are_told_apart() -> None:
    """Models, numbers of images and rates: of each method one, so no method varies in itself."""
    common = {"accuracies": [0.9], "densities": [0.1]}
    for density in (0.1, 0.2):
        leave(**common, reg__method="rigl", reg__density=density, model__args={"width": 3})
        leave(**common, reg__method="set", reg__density=density, data__train_limit=500)
        leave(**common, reg__method="gmp", reg__density=density, data__test_limit=70)
    leave(**common, reg__method="dense")
    leave(**common, reg__method="dense", data__train_limit=500)
    settings = aggregate.by_setting(runs())
    names = [name for name, _ in lines_of_methods(settings)]
    assert names == [
        "dense, training images all, test images all",
        "dense, training images 500, test images all",
        "gmp, training images all, test images 70",
        'rigl, model args {"width": 3}, training images all, test images all',
        "set, training images 500, test images all",
    ]
    ((network, table),) = method_table.tables(settings)
    assert method_table.title(network, table) == (
        "lenet_300_100 on mnist, accuracy % by density asked for; "
        "dense, training images all, test images all: 90.00; "
        "dense, training images 500, test images all: 90.00"
    )


def test_without_two_densities_there_is_no_table_of_methods() -> None:
    """Whether or not a run that was asked for none makes the density a column."""
    for method in ("rigl", "set"):
        leave(densities=[0.1], accuracies=[0.9], reg__method=method, reg__density=0.1)
    assert by_density(aggregate.by_setting(runs())).empty
    leave(reg__alpha=1e-3, created=3)
    settings = aggregate.by_setting(runs())
    assert "reg.density" in settings
    assert by_density(settings).empty
    leave(reg__target_density=0.3, created=4)
    assert len(by_density(aggregate.by_setting(runs()))) == 3


def test_a_method_has_one_hue_wherever_it_is_shown() -> None:
    """Whatever is beside it; its settings are told apart by kind, dense runs stay grey."""
    leave_methods()
    found = runs().set_index("label")
    assert found.loc["dense, seed 0", "hue"] == -1
    rigl = found[found["reg.method"] == "rigl"]
    assert list(rigl["hue"]) == [method_hue("rigl")] * 2
    assert list(rigl["kind"]) == [0, 1]
    hues = {method_hue(method) for method in (*METHODS, "mine") if method != "dense"}
    assert len(hues) == len(METHODS)
    assert min(hues) >= METHOD_HUES


def test_labels_and_series(sweep: pd.DataFrame, made: Path) -> None:
    assert list(sweep["label"]) == [
        "dense, seed 0",
        "dense, seed 1",
        "α 1e-3, seed 0",
        "α 1e-3, seed 1",
        "α 1e-2, seed 0",
        "α 1e-2, seed 1",
    ]
    assert list(sweep["series"]) == [-1, -1, 0, 0, 1, 1]
    assert list(sweep["repeat"]) == [0, 1, 0, 1, 0, 1]
    assert sweep["hover"].iloc[2] == [
        sweep.index[2],
        "α 1e-3, seed 0",
        "accuracy 95.00%",
        "remaining 10.00%",
        "multiply-adds 5.00%",
        "finished, 1 of 2 epochs",
    ]
    shutil.copytree(made, "outputs")
    leave(reg__alpha=1e-4, created=9)
    later = runs()
    assert list(later["series"])[:6] == list(sweep["series"]), (
        "a run that comes later changes no look"
    )


def test_hover_lines_leave_out_what_is_unknown() -> None:
    """Check the lines on a run without an epoch, and on one of a partly masked model."""
    leave(accuracies=(), densities=(), schedule__epochs=1, state="interrupted")
    ((_, *said),) = runs()["hover"]
    assert said == ["lenet_300_100 on mnist, seed 0", "interrupted"]
    row = runs().iloc[0].to_dict() | {
        "test_accuracy": 0.5,
        "density": 0.25,
        "flops_fraction": 0.125,
        "epoch": 1.0,
    }
    for whole, told in ((0.25, []), (0.5, ["remaining of the whole model 50.00%"])):
        ((_, _, *said),) = with_labels(pd.DataFrame([row | {"density_model": whole}]))["hover"]
        assert said == [
            "accuracy 50.00%",
            "remaining 25.00%",
            "multiply-adds 12.50%",
            *told,
            "interrupted, 1 of 1 epoch",
        ]


def test_labels_name_only_options_that_vary_in_a_group() -> None:
    """Check that options in which whole groups differ are not in the labels."""
    for alpha in (1e-3, 1e-2):
        leave(Path("outputs/a"), reg__alpha=alpha)
        leave(
            Path("outputs/b"),
            reg__alpha=alpha,
            schedule__lr=0.1,
            schedule__epochs=5,
            data__name="digits",
        )
    assert sorted(runs()["setting_label"]) == ["a, α 1e-2", "a, α 1e-3", "b, α 1e-2", "b, α 1e-3"]


def test_the_epochs_asked_of_a_run_in_rounds_are_those_of_all_rounds() -> None:
    """2 epochs, and twice the second of them; beside a run of one round."""
    rounds = {"reg__method": "imp", "reg__density": 0.1, "reg__rounds": 2, "reg__rewind_epoch": 1}
    leave(state="running", **rounds)
    leave(reg__method="dense")
    table = runs()
    assert [row[-1] for row in table.sort_values("reg.method")["hover"]] == [
        "finished, 2 of 2 epochs",
        "interrupted, 2 of 4 epochs",
    ]
    settings = aggregate.by_setting(table)
    assert dict(zip(settings["reg.method"], settings["schedule.epochs"], strict=True)) == {
        "dense": 2,
        "imp": 4,
    }


def test_runs_are_compared_with_dense_ones_of_as_many_epochs_in_all_rounds() -> None:
    """Two rounds of 2 epochs with those of 4; imp's config, or status.json, says how many."""
    for epochs, accuracy in ((2, 0.9), (4, 0.95)):
        dense = {"reg__method": "dense", "schedule__epochs": epochs}
        leave(accuracies=[accuracy], densities=[1], **dense)
    sparse = {"densities": [0.5], "reg__density": 0.5}
    leave(accuracies=[0.88], reg__method="set", **sparse)
    leave(accuracies=[0.94], reg__method="imp", reg__rounds=1, **sparse)
    status(leave(accuracies=[0.93], reg__method="static", **sparse), epochs=4)
    table = aggregate.by_setting(runs()).set_index("reg.method")
    assert table["difference"].dropna().round(6).to_dict() == {
        "imp": -0.01,
        "set": -0.02,
        "static": -0.02,
    }
    names = [name for name, _ in lines_of_methods(table.reset_index())]
    assert names == [
        *("dense, epochs 2", "dense, epochs 4", "imp, epochs 4", "set, epochs 2"),
        "static, epochs 4",
    ]
    assert len(filters.where(runs(), "epochs=4")) == 3


def test_labels_of_steered_runs_beside_others() -> None:
    leave(reg__alpha=1e-3)
    leave(reg__alpha=1e-2)
    leave(reg__target_density=0.05)
    assert sorted(runs()["setting_label"]) == ["target density 0.05", "α 1e-2", "α 1e-3"]


def test_a_limit_of_zero_is_all_images() -> None:
    leave(data__train_limit=0)
    leave(data__train_limit=500)
    assert sorted(runs()["setting_label"]) == ["training images 500", "training images all"]


def test_what_is_limited_of_a_text_is_sequences() -> None:
    leave(data__train_limit=500, reg__method="set", reg__density=0.1)
    leave(data__test_limit=70, reg__method="rigl", reg__density=0.2)
    table = runs()
    own = {"test_accuracy": float("nan"), "test_bits_per_byte": 2.5}
    texts = with_labels(table.assign(**own))
    words = "training sequences all, test sequences 70"
    assert f"rigl, {words}, density 0.2" in list(texts["setting_label"])
    settings = aggregate.by_setting(texts)
    assert f"rigl, {words}" in [name for name, _ in lines_of_methods(settings)]
    limits = ["data.train_limit", "data.test_limit"]
    assert report_table.lines(settings, limits)[0] == ["training sequences", "test sequences"]
    rows = report_table.with_settings(settings, limits)[report_table.SETTINGS]
    assert next(iter(rows)) == words
    both = aggregate.by_setting(with_labels(pd.concat([table, texts])))
    assert report_table.lines(both, limits)[0] == [
        *("training images or sequences", "test images or sequences"),
    ]
    titles = parallel_coordinates(texts)["layout"]["xaxis"]["ticktext"]
    assert {"training sequences", "test sequences"} < {*titles}


def test_arguments_of_model_and_data_have_their_own_headings() -> None:
    leave(model__args={"width": 3})
    leave(data__args={"length": 16})
    table = aggregate.by_setting(runs())
    keys = ["model.args", "data.args"]
    assert report_table.lines(table, keys)[0] == ["model args", "data args"]


def test_means_over_seeds(sweep: pd.DataFrame) -> None:
    table = aggregate.by_setting(sweep)
    assert list(table["reg.method"]) == ["dense", "dst", "dst"]
    assert list(table["reg.alpha"].iloc[1:]) == [1e-3, 1e-2]
    assert list(table["runs"]) == [2, 2, 2]
    assert list(table["finished"]) == [2, 2, 1]
    assert list(table["failed"]) == [0, 0, 1]
    assert table["accuracy"].tolist() == pytest.approx([0.97, 0.96, 0.9])
    assert table["accuracy_std"].iloc[:2].tolist() == pytest.approx([0.02 / 2**0.5] * 2)
    assert pd.isna(table["accuracy_std"].iloc[2]), (
        "one run has no spread, and the failed one does not count"
    )
    assert table["density"].tolist() == pytest.approx([1, 0.15, 0.05])
    assert pd.isna(table["difference"].iloc[0])
    assert table["difference"].iloc[1:].tolist() == pytest.approx([-0.01, -0.07])


def test_a_setting_without_a_finished_run_has_the_figures_of_its_last_epoch() -> None:
    leave(accuracies=[0.5, 0.6], densities=[1, 0.9], state="interrupted")
    (row,) = aggregate.by_setting(runs()).to_dict("records")
    assert (row["finished"], row["accuracy"], row["epochs"], row["schedule.epochs"]) == (
        0,
        0.6,
        2,
        2,
    )


def test_the_baseline_has_the_same_settings_otherwise() -> None:
    leave(accuracies=[0.9], densities=[1], reg__method="dense")
    leave(accuracies=[0.8], densities=[1], reg__method="dense", schedule__lr=0.1)
    leave(
        accuracies=[0.1],
        densities=[1],
        reg__method="dense",
        schedule__lr=0.1,
        seed=1,
        state="failed",
    )
    leave(
        accuracies=[0.85],
        densities=[0.1],
        schedule__lr=0.1,
        reg__granularity="layer",
        schedule__threshold_decay=0.5,
    )
    leave(accuracies=[0.85], densities=[0.1], schedule__lr=0.2)
    found = aggregate.by_setting(runs())
    difference = dict(zip(found["schedule.lr"], found["difference"], strict=True))
    assert difference[0.1] == pytest.approx(0.05)
    assert pd.isna(difference[0.2])


def test_a_baseline_differs_in_options_of_sparsity_only() -> None:
    """Change one option of a sparse run at a time.

    The dense run stays its baseline for options of sparsity only.
    """
    leave(accuracies=[0.9], densities=[1], reg__method="dense")
    leave(accuracies=[0.8], densities=[0.1], created=1)
    dense, sparse = runs().to_dict("records")
    common = json.loads(sparse["setting"])
    others = {key: json.dumps(common | {key: "other"}) for key in SETTINGS if key != "seed"}
    found = aggregate.by_setting(
        pd.DataFrame([dense, *(sparse | {"setting": setting} for setting in others.values())])
    )
    differences = dict(zip(found["setting"], found["difference"], strict=True))
    own = {key for key in others if key.startswith("reg.")} | {
        "schedule.threshold_decay",
        "schedule.threshold_clip",
        "schedule.epochs",  # of a round: those of all rounds are a column, and the same here
    }
    assert {key for key, setting in others.items() if pd.notna(differences[setting])} == own
    assert [differences[others[key]] for key in own] == pytest.approx([-0.1] * len(own))


def test_a_baseline_of_another_group_serves_where_there_is_none_of_its_own() -> None:
    leave(Path("outputs/a"), accuracies=[0.9], densities=[1], reg__method="dense")
    leave(Path("outputs/b"), accuracies=[0.8], densities=[0.1])
    table = runs()
    assert aggregate.by_setting(table)["difference"].dropna().tolist() == pytest.approx([-0.1])
    only = table[table["group"] == "b"]
    assert aggregate.by_setting(only)["difference"].isna().all()
    assert aggregate.by_setting(only, among=table)["difference"].tolist() == pytest.approx([-0.1])
    leave(Path("outputs/b"), accuracies=[0.84], densities=[1], reg__method="dense")
    assert aggregate.by_setting(runs())["difference"].dropna().tolist() == pytest.approx([-0.04]), (
        "its own comes first"
    )


def test_the_front() -> None:
    points = [
        (0.9, 0.1),
        (0.95, 0.2),
        (0.94, 0.3),
        (0.95, 0.4),
        (0.96, 0.5),
        (0.8, 0.1),
        (float("nan"), 0.01),
    ]
    table = pd.DataFrame(points, columns=["accuracy", "density"])
    assert aggregate.front(table).tolist() == [True, True, False, False, True, False, False]


def test_equals_share_the_front() -> None:
    table = pd.DataFrame([(0.9, 0.1), (0.9, 0.1), (0.9, 0.2)], columns=["accuracy", "density"])
    assert aggregate.front(table).tolist() == [True, True, False]


def test_a_run_without_an_accuracy_does_not_count() -> None:
    """Check that a finished run whose accuracy is NaN is not counted as a seed."""
    leave(accuracies=[0.95], densities=[0.1], seed=0)
    leave(accuracies=[float("nan")], densities=[0.1], seed=1)
    (row,) = aggregate.by_setting(runs()).to_dict("records")
    assert (row["accuracy"], row["count"], row["runs"]) == (0.95, 1, 2)
    assert pd.isna(row["accuracy_std"])


def test_a_failed_run_is_not_chosen_if_another_has_finished() -> None:
    leave(accuracies=[0.5], densities=[0.9], seed=0, state="failed")
    good = leave(seed=1)
    assert aggregate.choose_runs(runs(), 8) == [f"made/{good.name}"]


def test_a_run_without_a_name_meets_only_unequal() -> None:
    leave(seed=0)
    leave(seed=1, name="mine")
    assert len(filters.where(runs(), "name<zzz")) == 1
    assert len(filters.where(runs(), "name!=mine")) == 1


def test_of_several_methods_the_choice_is_one_each_at_the_lowest_density_of_all() -> None:
    """RigL goes to 1 %, GMP to 10 % and, unfinished, 5 %; DST with a fixed α is at 12 %."""
    for place, density in enumerate((0.5, 0.1, 0.01)):
        leave(densities=[density] * 2, reg__method="rigl", reg__density=density, created=place)
    for place, (density, state) in enumerate(((0.2, "finished"), (0.1, "finished"), (0.05, ""))):
        options = {"reg__method": "gmp", "reg__density": density, "created": 3 + place}
        leave(densities=[density] * 2, state=state or "failed", **options)
    leave(densities=[0.12] * 2, reg__alpha=1e-3, created=7)
    found = runs()
    chosen = found.loc[aggregate.choose_runs(found, 1)]
    assert dict(zip(chosen["reg.method"], chosen["density"], strict=True)) == {
        "dst": 0.12,
        "gmp": 0.1,
        "rigl": 0.1,
    }


def test_a_choice_is_spread_over_density(sweep: pd.DataFrame) -> None:
    assert [sweep.loc[name, "label"] for name in aggregate.choose_runs(sweep, 8)] == [
        "α 1e-3, seed 0",
        "α 1e-2, seed 0",
    ]
    assert len(aggregate.choose_runs(sweep, 1)) == 1
    dense = sweep[sweep["reg.method"] == "dense"]
    assert aggregate.choose_runs(dense, 8) == [dense.index[0]]
    assert aggregate.choose_runs(sweep.iloc[:0], 8) == []


@pytest.mark.parametrize(
    ("word", "accuracies"),
    [
        ("accuracy", [0.9, 0.96, 0.97]),
        ("-accuracy", [0.97, 0.96, 0.9]),
        ("remaining", [0.9, 0.96, 0.97]),
        ("-α", [0.9, 0.96, 0.97]),
        ("method", [0.97, 0.96, 0.9]),
    ],
)
def test_order(sweep: pd.DataFrame, word: str, accuracies: list[float]) -> None:
    assert filters.sort_by_word(aggregate.by_setting(sweep), word)[
        "accuracy"
    ].tolist() == pytest.approx(accuracies)


def test_order_by_a_column_that_is_not_there(sweep: pd.DataFrame) -> None:
    with pytest.raises(InputError) as error:
        filters.sort_by_word(aggregate.by_setting(sweep), "beauty")
    assert str(error.value).endswith(
        "there are model, data, method, alpha, epochs, accuracy, difference, density, flops, time"
    )
    with pytest.raises(InputError, match="lr: there is no such column; there are"):
        filters.sort_by_word(aggregate.by_setting(sweep), "lr")


def test_the_papers_rows() -> None:
    """Compare with table 1 for LeNet-300-100: 98.16 dense, 97.69 with 2.48 % remaining."""
    rows = paper.published_rows([("lenet_300_100", "mnist")])
    assert rows["accuracy"].tolist() == [0.9816, 0.9769]
    assert rows["density"].tolist() == [1, 0.0248]
    assert rows["difference"].iloc[1] == -0.0047
    assert len(paper.TABLES) == 4 * 2 + 3 + 3 + 3 * 3 + 3 * 3
    assert paper.published_rows([("mine", "mnist")]).empty
    vgg = paper.published_densities([("vgg16", "cifar10")])
    assert vgg.loc[vgg["reg.alpha"] == 1e-6, "density"].item() == 0.155


def test_the_papers_rows_follow_ours(sweep: pd.DataFrame) -> None:
    table = paper.with_published(aggregate.by_setting(sweep))
    assert list(table["reg.method"]) == ["dense", "dst", "dst", "paper: dense (DST)", "paper: DST"]


def test_epochs_are_those_asked_for_if_a_table_has_both() -> None:
    assert (
        filters.column("epochs", pd.DataFrame(columns=["epochs", "schedule.epochs"]))
        == "schedule.epochs"
    )


def test_first_columns_of_settings(sweep: pd.DataFrame) -> None:
    assert list(aggregate.by_setting(sweep))[:5] == [
        "group",
        "model.name",
        "data.name",
        "reg.method",
        "reg.alpha",
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1e-3, "1e-3"),
        (0.05, "0.05"),
        (20.0, "20"),
        (0, "0"),
        (5e-6, "5e-6"),
        (True, "true"),
        (None, ""),
        (pd.NA, ""),
        (float("nan"), ""),
        ("[80, 120]", "[80, 120]"),
        (123456.0, "1.23456e5"),
    ],
)
def test_values_in_few_characters(value: object, words: str) -> None:
    assert cell_text(value) == words


def by_layer(*settings: list[float], dense: bool = False) -> pd.DataFrame:
    """Return a table of layers from the densities of each setting."""
    rows = [
        {"series": at, "setting_label": f"α {at}", "layer": f"fc{number}", "mean": density}
        for at, densities in enumerate(settings, start=-1 if dense else 0)
        for number, density in enumerate(densities)
    ]
    return pd.DataFrame(rows)


def test_agreement_of_layers() -> None:
    """Compare ranks 1, 2, 3, 4 with 1, 2, 4, 3: 1 − 6 · 2 / (4 · 15) = 0.8; reversed: −1."""
    said = "Rank correlation of layers between settings (Spearman): "
    up, swapped, down = [0.1, 0.2, 0.3, 0.4], [0.01, 0.02, 0.04, 0.03], [0.4, 0.3, 0.2, 0.1]
    assert aggregate.agreement(by_layer(up, up)) == f"{said}1.00"
    assert aggregate.agreement(by_layer(up, swapped)) == f"{said}0.80"
    assert aggregate.agreement(by_layer(up, swapped, down)) == f"{said}-1.00 to 0.80"
    assert (
        aggregate.agreement(by_layer([1.0, 1.0, 1.0, 1.0], up, swapped, dense=True))
        == f"{said}0.80"
    )


def test_no_agreement_of_too_few_layers() -> None:
    assert aggregate.agreement(by_layer([0.1, 0.2, 0.3, 0.4])) == ""
    assert aggregate.agreement(by_layer([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])) == ""
    assert aggregate.agreement(by_layer([0.1, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4])) == "", (
        "ties have no order"
    )
