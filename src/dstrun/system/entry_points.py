"""Loading of what installed packages register as entry points."""

from importlib.metadata import EntryPoint
from typing import Any

from dstrun.system.errors import InputError, user_code_error


def words_of(entry: EntryPoint) -> str:
    """Return an entry point as its package declares it, for messages."""
    return f"the entry point `{entry.group}: {entry.name} = {entry.value}`"


def load(entry: EntryPoint, option: str = "") -> Any:
    """Return the object of an entry point; raise InputError if it cannot be imported.

    option: that asked for it, for the message.
    """
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # importing a user's module may raise anything
        subject = f"{option}: {words_of(entry)}" if option else words_of(entry)
        raise InputError(f"{subject} cannot be loaded: {user_code_error(error)}") from error
