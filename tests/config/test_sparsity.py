"""Options of the sparsity that say the same, contradict each other, or have no effect."""

from typing import Any

import pytest

from dstrun.config.check import check
from dstrun.config.sparsity_options import METHODS, SEARCHED, WITH_DENSITY, WITH_STRUCTURE
from dstrun.runs.identity import run_hash, run_name
from dstrun.runs.method import make_method, method
from dstrun.system.errors import InputError
from dstrun.training.config_notes import notes
from tests.helpers.commands import Command
from tests.helpers.methods import LEAST
from tests.helpers.tiny import BASE

NEEDING = [name for name in METHODS if name in WITH_DENSITY and name not in ("dst", "l1")]
STRUCTURED = [name for name in METHODS if name in WITH_STRUCTURE]


def test_of_dst_density_is_another_word_for_target_density() -> None:
    one, other = check({"reg.density": 0.05}), check({"reg.target_density": 0.05})
    assert one == other
    assert run_name(one) == run_name(other)
    assert check({"reg.density": 0.05, "reg.target_density": 0.05}) == one


@pytest.mark.parametrize("name", STRUCTURED)
def test_a_structure_of_groups_is_a_density(name: str) -> None:
    own = LEAST[name] | {"reg.density": 0.0, "reg.structure": "1:4"}
    one, other = check(own), check(own | {"reg.density": 0.25})
    assert one.reg.density == 0.25
    assert run_hash(one) == run_hash(other)
    assert vars(make_method(one))["density"] == 0.25
    third = check(own | {"reg.structure": "1:3", "reg.density": 0.3333333})
    assert third.reg.density == 1 / 3


@pytest.mark.parametrize("name", NEEDING)
def test_a_method_needs_its_density(name: str) -> None:
    with pytest.raises(InputError, match=rf"^reg.density: reg={name} needs one"):
        check(LEAST[name] | {"reg.density": 0.0})


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"reg.structure": "2:4", "reg.density": 0.3},
            "reg.density: got 0.3 with reg.structure=2:4, which keeps 0.5",
        ),
        *(
            (
                {"reg.structure": structure},
                f"reg.structure: got '{structure}', expected none, fan_in, or N:M such as 2:4, "
                "with N < M",
            )
            for structure in ("4:2", "4:4", "0:4", "rows")
        ),
    ],
)
def test_a_structure_that_cannot_be_is_told(options: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as refused:
        check({"reg.method": "static"} | options)
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (
            {"reg.method": "static", "reg.density": 0.1, "reg.drop": 0.2},
            [
                "reg.drop has no effect: it is for reg.method=set, rigl, snfs and 2 more, "
                "and reg.method is static"
            ],
        ),
        (
            {"reg.method": "static", "reg.density": 0.1, "reg.args": {"one": 1}},
            ["reg.args has no effect: it is for other packages' methods, and reg.method is static"],
        ),
        (
            {"reg.method": "str", "reg.density": 0.1},
            ["reg.density has no effect: str has no density to ask for"],
        ),
        (
            {"reg.method": "static", "reg.structure": "2:4", "reg.distribution": "er"},
            ["reg.distribution has no effect: every layer has the density of 2:4"],
        ),
        (
            {"reg.method": "static", "reg.structure": "2:4", "reg.layer_densities": {"fc": 0.5}},
            ["reg.layer_densities has no effect: every layer has the density of 2:4"],
        ),
        ({"reg.method": "static", "reg.structure": "fan_in", "reg.density": 0.1}, []),
    ],
)
def test_an_option_without_effect_is_noted(options: dict[str, Any], lines: list[str]) -> None:
    found = notes(check(BASE | options), set(options))
    assert [line for line in found if "no recipe" not in line] == lines


@pytest.mark.parametrize("name", SEARCHED)
def test_a_word_that_people_look_for_is_led_to_the_method(name: str) -> None:
    with pytest.raises(InputError, match=f"^reg.method: got '{name}', .*; did you mean ") as told:
        check({"reg.method": name})
    for words in SEARCHED[name]:
        assert words in str(told.value).partition("did you mean")[2]
        method, *more = words.split()
        check(LEAST[method] | dict(word.split("=") for word in more))


def test_the_command_line_leads_there_too(command: Command) -> None:
    told = command("reg=SRigL").err
    assert "reg: there is no 'SRigL'; did you mean rigl reg.structure=fan_in?" in told
    with pytest.raises(ValueError, match=r"did you mean gmp or one_shot\?$"):
        method("prune")
