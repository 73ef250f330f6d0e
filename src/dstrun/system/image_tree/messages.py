"""Parts of messages and notes on trees of images."""

from collections import Counter
from collections.abc import Iterable

BARRED_LINK = "link to a folder above or beside its class"  # counted beside the endings of files


def comma_list(names: Iterable[str], most: int) -> str:
    """Return names separated by commas, at most `most` of them, with … for the others."""
    names = list(names)
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def count_by_kind(skipped: Counter[str]) -> str:
    """Return counts of skipped entries in words.

    An example is '19 files (12 .heic, 4 .txt, 3 hidden) and 1 link to a folder above or beside its
    class'.
    """
    files = Counter(skipped)
    links = files.pop(BARRED_LINK, 0)
    parts = []
    if total := files.total():
        kinds = comma_list((f"{count} {kind}" for kind, count in files.most_common()), 5)
        parts.append(f"{total} file{'s' * (total != 1)} ({kinds})")
    if links == 1:
        parts.append(f"1 {BARRED_LINK}")
    elif links:
        parts.append(f"{links} links to folders above or beside their classes")
    return " and ".join(parts)


def count_images(count: int) -> str:
    """Return '1 image', '2 images'."""
    return f"{count} image{'s' * (count != 1)}"
