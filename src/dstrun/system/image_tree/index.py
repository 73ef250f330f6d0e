"""Index of a large tree, in the user's cache: a million images are listed once, not at each start.

    a line of JSON       what the tree has beside names, times of change of its folders, lengths
    then of each part    where names end, 8 bytes each, and the names, one after the other

An index holds as long as every folder in it has the time of change that it had. A file that is
overwritten where it lies, so that only its size may change, is not noticed.
"""

import hashlib
import json
import os
import sys
import time
import zlib
from array import array
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dstrun.system.files import atomic_write
from dstrun.system.image_tree.tree import Names, Part, Tree

VERSION = 1
LARGE = 10_000  # images, from which on a tree has an index: fewer are listed in a tenth of a second
SETTLED = 2_000_000_000  # ns after which a change would give a folder another time of change

Times = Mapping[Path, int]


def index_file(root: Path) -> Path:
    """Return where the index of a tree is kept: below XDG_CACHE_HOME, or ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if os.path.isabs(cache) else Path("~/.cache").expanduser()
    name = hashlib.blake2b(os.fsencode(os.path.abspath(root)), digest_size=8).hexdigest()
    return base / "dstrun" / f"tree-{name}.index"


def write_index(root: Path, tree: Tree, times: Times) -> None:
    """Keep a large tree; do nothing where the cache cannot be written, or a folder just changed."""
    images = sum(len(part.files) for part in tree.parts.values())
    if images < LARGE or max(times.values()) > time.time_ns() - SETTLED:
        return
    blocks = []
    parts = {}
    for name, part in tree.parts.items():
        ends, names = part.files.ends.tobytes(), part.files.names
        parts[name] = [part.files.folder, part.counts, len(ends), len(names)]
        blocks += [ends, names]
    content = b"".join(blocks)
    head = {
        "version": VERSION,
        "order": sys.byteorder,
        "root": str(root),
        "classes": tree.classes,
        "notes": tree.notes,
        "fingerprint": tree.fingerprint,
        "times": {str(folder): changed for folder, changed in times.items()},
        "parts": parts,
        "crc32": zlib.crc32(content),
    }
    file = index_file(root)
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file, "wb") as opened:
            opened.write(json.dumps(head).encode() + b"\n" + content)


def read_index(root: Path) -> tuple[Tree, dict[Path, int]] | None:
    """Return a tree as it was listed, with the times of change of its folders; None without one."""
    try:
        head, _, content = index_file(root).read_bytes().partition(b"\n")
        found = json.loads(head)
        if (found["version"], found["order"], found["root"]) != (VERSION, sys.byteorder, str(root)):
            return None
        if zlib.crc32(content) != found["crc32"]:
            return None
        times = {Path(folder): changed for folder, changed in found["times"].items()}
        return _tree(found, content), times
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return None  # none yet, or damaged


def _tree(found: Mapping[str, Any], content: bytes) -> Tree:
    parts, start = {}, 0
    for name, (folder, counts, size_of_ends, size) in found["parts"].items():
        middle = start + size_of_ends
        ends = array("Q", content[start:middle])
        parts[name] = Part(Names(folder, content[middle : middle + size], ends), tuple(counts))
        start = middle + size
    classes, notes = tuple(found["classes"]), tuple(found["notes"])
    return Tree(classes, parts, notes, found["fingerprint"])
