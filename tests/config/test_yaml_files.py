"""Config files as editors and shells write them: encodings, marks, and text like YAML 1.1."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore

from dstrun.config.groups import find_choice
from dstrun.config.sources import (
    FileConfigSource,
    ImportlibResourcesConfigSource,
    StructuredConfigSource,
    register_plugins,
)
from dstrun.config.yaml_files import header_package, read_text, read_yaml
from dstrun.system.errors import InputError
from tests.helpers.commands import Command

HEAD = "# @package _global_\n"


def written(content: str | bytes, name: str = "file.yaml") -> Path:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(name)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("group: 1e3", {"group": "1e3"}),
        ("group: 007", {"group": "007"}),
        ("name: on", {"name": "on"}),
        ("name: 2026-01-01", {"name": "2026-01-01"}),
        ("name: 1:30", {"name": "1:30"}),
        ("name: null", {"name": None}),
        ("name:", {"name": None}),
        ("name: 'null'", {"name": "null"}),
        ("wandb: {tags: [1e3, 007, yes, a]}", {"wandb": {"tags": ["1e3", "007", "yes", "a"]}}),
        (
            "schedule: {compile: off, optimiser: SGD}",
            {"schedule": {"compile": "off", "optimiser": "sgd"}},
        ),
        ("seed: 010", {"seed": 10}),
        ("seed: 0x10", {"seed": 16}),
        ("seed: 1_000", {"seed": 1000}),
        ("seed: 1:30", {"seed": "1:30"}),
        ("data: {train_limit: 10k, flip: yes}", {"data": {"train_limit": 10_000, "flip": True}}),
        ("schedule: {epochs: 1e1, lr: 1e-4}", {"schedule": {"epochs": 10, "lr": 1e-4}}),
        ("reg: {alpha: .5, target_density: 5%}", {"reg": {"alpha": 0.5, "target_density": 0.05}}),
        (
            "model: {args: {a: 010, b: on, c: 1e3}}",
            {"model": {"args": {"a": 10, "b": True, "c": 1e3}}},
        ),
        (
            "hydra: {sweeper: {params: {group: [1e10, 123e456], name: 007}}}",
            {"hydra": {"sweeper": {"params": {"group": ["1e10", "123e456"], "name": "007"}}}},
        ),
        (
            "hydra: {sweeper: {grids: [{name: on, seed: 010}]}}",
            {"hydra": {"sweeper": {"grids": [{"name": "on", "seed": 10}]}}},
        ),
        ("# nothing", {}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
    ],
)
def test_scalars_are_what_their_option_takes(text: str, values: dict[str, Any]) -> None:
    assert read_yaml(written(text)) == values


def test_a_file_that_is_read_again_is_parsed_only_where_it_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And what is read is the reader's own to change."""
    file = written("wandb: {tags: [a]}")
    read_yaml(file)["wandb"]["tags"].append("b")
    with monkeypatch.context() as patch:
        patch.delattr("dstrun.config.yaml_files.Loader")
        assert read_yaml(file) == {"wandb": {"tags": ["a"]}}
    assert read_yaml(written("wandb: {tags: [c]}")) == {"wandb": {"tags": ["c"]}}


def test_keys_of_a_groups_file_are_those_of_the_group() -> None:
    assert read_yaml(written("name: 1e3\nbuilder: vgg"), "model") == {
        "name": "1e3",
        "builder": "vgg",
    }
    assert read_yaml(written("name: 1e3"), "model.args") == {"name": 1000.0}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + HEAD.encode() + b"seed: 1\n",
        HEAD.replace("\n", "\r\n").encode() + b"seed: 1\r\n",
    ],
)
def test_a_mark_and_line_ends_of_windows_are_read(content: bytes) -> None:
    file = written(content)
    assert (read_yaml(file), header_package(read_text(file))) == ({"seed": 1}, "_global_")


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("# mine\n\n# more\n# @package _global_\nseed: 1\n", "_global_"),
        ("#@package   _global_  \n", "_global_"),
        ("---\n# @package reg\n", "reg"),
        ("seed: 1\n# @package _global_\n", None),
    ],
)
def test_the_package_stands_above_the_first_line(text: str, package: str | None) -> None:
    assert header_package(text) == package


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "file.yaml: is empty"),
        (b" \n\n", "file.yaml: is empty"),
        (
            "seed: 1\n".encode("utf-16"),
            "file.yaml: is written in UTF-16, or is no text; expected UTF-8",
        ),
        (
            "seed: 1\n".encode("utf-16-le"),
            "file.yaml: is written in UTF-16, or is no text; expected UTF-8",
        ),
        (
            "seed: 1\nname: Größe\n".encode("latin-1"),
            "file.yaml: line 2 is not UTF-8; save the file as UTF-8",
        ),
        (b"reg:\n\talpha: 1\n", "file.yaml: line 2: a tab, where YAML wants spaces"),
        (b"seed: 1\nseed: 2\n", "file.yaml: line 2: the key seed is there twice"),
        (b"reg:\n  alpha: 1\n  alpha: 2\n", "file.yaml: line 3: the key alpha is there twice"),
        (b"- seed\n", "file.yaml: got a list, expected lines of the form KEY: VALUE"),
        (b"seed=1\n", "file.yaml: got a single value, expected lines of the form KEY: VALUE"),
        (b"seed: 1\n---\nseed: 2\n", "file.yaml: line 2: expected a single document"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(content: bytes, line: str) -> None:
    with pytest.raises(InputError) as complaint:
        read_yaml(written(content))
    assert str(complaint.value).startswith(line)


def test_packages_are_looked_at_for_a_choice_that_is_no_file_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which takes 5 ms a group."""
    monkeypatch.delattr("dstrun.config.groups.entry_points")
    assert find_choice("model", "vgg16") == "vgg16"
    assert find_choice("sweep", "table1") == "table1"
    with pytest.raises(NameError):
        find_choice("model", "VGG-16")


def test_hydras_own_files_are_read_once_and_copied_for_each_config(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register_plugins()
    source = SourcesRegistry.instance().resolve("pkg")("hydra", "pkg://hydra.conf")
    first = source.load_config("hydra/help/default")
    monkeypatch.delattr("omegaconf.OmegaConf.load")
    again = source.load_config("hydra/help/default")
    assert again == first
    again.config.template = "another"
    assert again != source.load_config("hydra/help/default") == first


def test_hydras_store_is_not_copied_with_its_sources() -> None:
    """The copy took 7 ms a config."""
    register_plugins()
    source = SourcesRegistry.instance().resolve("structured")("schema", "structured://")
    assert isinstance(source, StructuredConfigSource)
    assert deepcopy(source).store is ConfigStore.instance()


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("mine", "mine"),
        ("mine.yaml", "mine"),
        ("sweeps/mine.yaml", "mine"),
        ("./sweeps/mine.yaml", "mine"),
        ("Mine", "mine"),
        ("sweeps/quick.yaml", "quick"),
        ("Best-Table1", "best_table1"),
        ("mien", "mien"),
        ("sweeps/mien.yaml", "mien"),
    ],
)
def test_a_choice_is_found_by_its_file_and_in_any_spelling(name: str, choice: str) -> None:
    written(HEAD, "sweeps/mine.yaml")
    assert find_choice("sweep", name) == choice


@pytest.mark.parametrize(
    ("file", "name", "line"),
    [
        ("sweeps/short.yml", "short", "sweep: sweeps/short.yml must be called short.yaml"),
        (
            "sweeps/short.yml",
            "sweeps/short.yml",
            "sweep: sweeps/short.yml must be called short.yaml",
        ),
        (
            "sweeps/short.yaml.txt",
            "short",
            "sweep: sweeps/short.yaml.txt must be called short.yaml",
        ),
        (
            "there/quick.yaml",
            "there/quick.yaml",
            "sweep: there/quick.yaml is in a folder that is not searched; copy it to",
        ),
    ],
)
def test_a_file_of_another_name_or_place_is_told_where_it_belongs(
    file: str, name: str, line: str
) -> None:
    written(HEAD, file)
    with pytest.raises(InputError) as complaint:
        find_choice("sweep", name)
    assert str(complaint.value).startswith(line)


def test_a_folder_in_a_group_is_hydras() -> None:
    written(HEAD, "conf/experiment/sub/x.yaml")
    assert find_choice("experiment", "sub/x") == "sub/x"


def test_a_sweeps_path_is_the_sweep(command: Command) -> None:
    written(
        HEAD + "hydra:\n  sweeper:\n    params:\n      group: [1e10, 123e456]\n", "sweeps/mine.yaml"
    )
    by_path, by_name = (
        command("sweep=./sweeps/mine.yaml", "dry_run=true"),
        command("sweep=mine", "dry_run=true"),
    )
    assert by_path.out == by_name.out
    assert [line for line in by_name.out.splitlines() if line.startswith("outputs/")] == [
        "outputs/1e10:",
        "outputs/123e456:",
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "experiment=dotted",
            "schedule.lr: in a file it is written as `schedule:` and, indented below that, `lr:`",
        ),
        (
            "sweep=flat",
            "schedule.milestones: got [10, 20], an axis of 2 values; a single list is [[10, 20]]",
        ),
        ("sweep=word", "hydra.sweeper.params: "),
    ],
)
def test_a_file_of_another_form_is_one_line(command: Command, words: str, line: str) -> None:
    written(HEAD + "schedule.lr: 0.1\n", "conf/experiment/dotted.yaml")
    params = "hydra:\n  sweeper:\n    params:"
    written(f"{HEAD}{params}\n      schedule.milestones: [10, 20]\n", "sweeps/flat.yaml")
    written(f"{HEAD}{params} seed=1\n", "sweeps/word.yaml")
    outcome = command(words)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert outcome.err.startswith(f"dstrun: {line}")


def test_a_files_launcher_and_sweeper_hold_unless_the_command_line_has_others(
    command: Command,
) -> None:
    choose = "defaults:\n  - override /hydra/{}\n"
    written(HEAD + choose.format("launcher: submitit_local"), "conf/experiment/cluster.yaml")
    written(
        HEAD
        + choose.format("sweeper: pareto")
        + "hydra:\n  sweeper:\n    params:\n      reg.alpha: interval(0, 1)\n",
        "sweeps/front.yaml",
    )
    shown = ("--cfg", "hydra", "--package", "hydra.launcher")
    assert "timeout_min" in command("experiment=cluster", *shown).out
    assert "LocalLauncher" in command("experiment=cluster", "hydra/launcher=local", *shown).out
    assert "LocalLauncher" in command(*shown).out
    assert "a search over reg.alpha" in command("sweep=front", "dry_run=true").out
    several = command("-m", "experiment=cluster,best_lenet5", "dry_run=true")
    assert several.code == 2
    assert several.err.startswith(
        "dstrun: hydra/launcher: got submitit_local from experiment=cluster"
    )
    assert several.err.endswith("give hydra/launcher=submitit_local on the command line\n")


def test_a_files_mode_of_hydra_holds_and_a_run_without_one_is_composed_once(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(HEAD + "seed: 3\n", "conf/experiment/one.yaml")
    written(
        HEAD + "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,2'}}}\n",
        "conf/experiment/several.yaml",
    )
    assert "seed 2  new" in command("experiment=several", "dry_run=true").out
    monkeypatch.setattr("hydra.main", lambda **_: pytest.fail("Hydra composes twice"))
    assert "-s3-" in command("experiment=one", "dry_run=true").out


def test_a_job_of_a_launcher_may_register_hydras_sources_after_ours() -> None:
    """Hydra refuses another class for a scheme by its name; a job is unpickled first."""
    register_plugins()
    for source in (FileConfigSource, ImportlibResourcesConfigSource, StructuredConfigSource):
        hydras = source.__mro__[1]
        SourcesRegistry.instance().register(hydras)
        assert SourcesRegistry.instance().types[hydras.scheme()] is source
