"""Names that the parts of data sets go by in published trees: train, Training, seg_train, test_set,
val2017, eval, dev.

A name is read word by word: one word says the role, filler words such as set or images say nothing,
and the rest, as "seg" in seg_train and seg_test, must be the same for parts that belong together.
Knows nothing."""

import re
from collections.abc import Iterable

TRAIN, TEST, VALIDATION = "train", "test", "validation"
ROLES = {
    TRAIN: ("train", "training", "trn"),
    TEST: ("test", "testing", "tst", "eval", "evaluation", "holdout", "heldout"),
    VALIDATION: (
        "val",
        "valid",
        "validation",
        "validate",
        "validating",
        "dev",
        "devel",
        "development",
    ),
}
FILLERS = "sets?|data|datasets?|images?|imgs?|pics?|pictures?|photos?|splits?|parts?|folders?"
EXPECTED = "train (training) and test (testing, eval) or val (valid, validation, dev)"
_BETWEEN_WORDS = re.compile(
    r"[\W\d_]+|(?<=[^\W\d_A-Z])(?=[A-Z])"
)  # "TrainSet" and "train_set" are two words
_ROLE_OF = {
    role: re.compile(rf"({'|'.join(words)})({FILLERS})?") for role, words in ROLES.items()
}  # of one word, "trainset" too


def role_of(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return (role, rest of the name) of a folder that is named like a part; None for any other
    name."""
    words = [word.lower() for word in _BETWEEN_WORDS.split(name)]
    words = [word for word in words if word and not re.fullmatch(FILLERS, word)]
    roles = [
        (role, at)
        for at, word in enumerate(words)
        for role in ROLES
        if _ROLE_OF[role].fullmatch(word)
    ]
    if len(roles) != 1:
        return None
    ((role, at),) = roles
    return role, (*words[:at], *words[at + 1 :])


def part_groups(names: Iterable[str]) -> dict[tuple[str, ...], dict[str, list[str]]]:
    """Return {rest of the names: {role: names}} of the folders that are named like parts."""
    groups: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name in names:
        if found := role_of(name):
            role, rest = found
            groups.setdefault(rest, {}).setdefault(role, []).append(name)
    return groups


def complete_groups(names: Iterable[str]) -> list[dict[str, list[str]]]:
    """Return the groups with a part to train on and one to test on: {role: names} of each."""
    return [group for group in part_groups(names).values() if TRAIN in group and len(group) > 1]
