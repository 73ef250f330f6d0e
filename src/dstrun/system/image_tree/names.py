"""Names of the parts of published data sets: train, Training, seg_train, test_set, val2017, dev.

A name is split into words. One word gives the role, filler words such as set or images are ignored,
and the rest, such as "seg" in seg_train and seg_test, must be the same for parts that belong
together.
"""

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
# "TrainSet" and "train_set" are two words each
_BETWEEN_WORDS = re.compile(r"[\W\d_]+|(?<=[^\W\d_A-Z])(?=[A-Z])")
# "trainset" is one word, with a role
_WORD_OF_ROLE = {
    role: re.compile(rf"({'|'.join(words)})({FILLERS})?") for role, words in ROLES.items()
}


def role_of(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return (role, rest of the name) of a folder that is named like a part, else None."""
    roles, rest = [], []
    for word in _BETWEEN_WORDS.split(name):
        word = word.lower()
        if role := _role_of_word(word):
            roles.append(role)
        elif word and not re.fullmatch(FILLERS, word):
            rest.append(word)
    return (roles[0], tuple(rest)) if len(roles) == 1 else None


def _role_of_word(word: str) -> str | None:
    """Return the role that a word gives, or None."""
    for role, pattern in _WORD_OF_ROLE.items():
        if pattern.fullmatch(word):
            return role
    return None


def part_groups(names: Iterable[str]) -> dict[tuple[str, ...], dict[str, list[str]]]:
    """Return {rest of the name: {role: names}} of the folders that are named like parts."""
    groups: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name in names:
        if found := role_of(name):
            role, rest = found
            groups.setdefault(rest, {}).setdefault(role, []).append(name)
    return groups


def complete_groups(names: Iterable[str]) -> list[dict[str, list[str]]]:
    """Return {role: names} of each group that has a part for training and one for testing."""
    return [group for group in part_groups(names).values() if TRAIN in group and len(group) > 1]
