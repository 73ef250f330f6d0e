"""Notes on reg.include and reg.tied where they change no mask, and what include offers."""

from pathlib import Path

import pytest

from dstrun.config.sparsity_options import RegConfig
from dstrun.models import BUILDERS
from dstrun.training.selection_notes import selection_notes
from tests.helpers.commands import Command
from tests.helpers.runs import QUICK

UNTIED, TIED = {"tied": False}, {"tied": True}


@pytest.mark.parametrize(
    ("args", "include", "tied", "exclude", "line"),
    [
        (UNTIED, ["head"], "leave", [], "include=[head] has no effect: what it names has a mask "),
        (UNTIED, ["embedding", "he*"], "leave", [], "include=[he*] has no effect: what it names"),
        (UNTIED, ["embedding"], "leave", [], ""),
        (UNTIED, [], "leave", [], ""),
        (UNTIED, [], "share", [], "tied=share has no effect: no layers of this model that can "),
        (TIED, [], "share", [], ""),
        (
            TIED,
            ["embedding"],
            "leave",
            [],
            "include=[embedding] has no effect: embedding.weight stays dense, tied to another "
            "module; reg.tied=share gives it a mask",
        ),
        (TIED, ["embedding"], "share", [], "include=[embedding] has no effect: what it names has"),
        (
            UNTIED,
            ["emb*"],
            "leave",
            ["embedding"],
            "include=[emb*] has no effect: embedding.weight ",
        ),
    ],
)
def test_options_that_change_no_mask_are_noted(
    args: dict[str, bool], include: list[str], tied: str, exclude: list[str], line: str
) -> None:
    model = BUILDERS["gpt"]((8,), 11, depth=1, width=8, heads=2, **args)
    reg = RegConfig("rigl", 0.5, include=include, tied=tied, exclude=exclude)
    found = list(selection_notes(model, reg))
    assert len(found) == bool(line)
    assert not line or found[0].startswith(f"reg.{line}")
    assert not list(selection_notes(model, RegConfig("dense", include=include, tied=tied)))


def test_a_run_says_so_once(command: Command) -> None:
    out = command("model=lenet5", "reg.include=[conv1]", *QUICK, "schedule.epochs=0").out
    note = "note: reg.include=[conv1] has no effect: what it names has a mask without it"
    assert out.count(note) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "model=gpt data=text data.root=texts reg.include=[embed]",
            "reg.include: 'embed' matches no layer; did you mean embedding? the embeddings are "
            "embedding\n",
        ),
        (
            "model=lenet5 reg.include=[embed]",
            "reg.include: 'embed' matches no layer; no embedding of this model can have a mask, ",
        ),
    ],
)
def test_include_offers_what_it_can_name(command: Command, words: str, line: str) -> None:
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("A line of a text that goes on and on.\n" * 100)
    outcome = command(*words.split(), "reg.density=0.5", "reg=rigl")
    assert outcome.code == 2
    assert outcome.complaints.startswith(f"dstrun: {line}")
