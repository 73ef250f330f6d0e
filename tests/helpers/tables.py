"""Tables that commands print, read back."""

import re


def table(out: str) -> list[list[str]]:
    """Return the cells of a printed table, which two spaces or more separate."""
    return [re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if "  " in line.strip()]
