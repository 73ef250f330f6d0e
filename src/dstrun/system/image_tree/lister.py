"""The reading of a tree: its parts and classes, then the images of each class."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from pathlib import Path

from dstrun.system.errors import DataError
from dstrun.system.image_tree.checks import refuse_parts_for_classes
from dstrun.system.image_tree.folders import (
    ENDINGS,
    Entries,
    Identity,
    ancestors,
    identity_of,
    read_folder,
)
from dstrun.system.image_tree.messages import BARRED_LINK, comma_list, count_by_kind, count_images
from dstrun.system.image_tree.names import (
    EXPECTED,
    TEST,
    TRAIN,
    VALIDATION,
    complete_groups,
    part_groups,
    role_of,
)
from dstrun.system.image_tree.tree import WHOLE, Images, Tree, fingerprint_of, make_part


class Lister:
    """A reader of one tree, which reads each folder once and collects notes for the user."""

    def __init__(self) -> None:
        self._seen: dict[Path, Entries] = {}
        self._skipped: Counter[str] = Counter()
        self._above: set[Identity] = set()  # the root, the parts, and folders that only wrap them
        self._class_folders: set[Identity] = set()  # of all parts
        self._notes: list[str] = []

    @property
    def times(self) -> dict[Path, int]:
        """Return the time of change of each folder before it was read, ns."""
        return {folder: entries.changed for folder, entries in self._seen.items()}

    def tree(self, root: Path) -> Tree:
        """Return the tree below a folder; raise DataError for one that no run can use."""
        folders = self._parts(self._unwrapped(root, _is_part))
        classes: tuple[str, ...] = ()
        for name in folders:  # the part for training is the first
            folders[name] = self._unwrapped(folders[name], classes.__contains__)
            classes = self._class_names(folders[name], classes)
        self._note_above(folders.values())
        images = {name: self._class_images(part, classes) for name, part in folders.items()}
        if self._skipped:
            self._notes.append(f"skipped {count_by_kind(self._skipped)}")
        parts = {name: make_part(folders[name], classes, images[name]) for name in images}
        return Tree(classes, parts, tuple(self._notes), fingerprint_of(classes, images))

    def _parts(self, root: Path) -> dict[str, Path]:
        """Return the folder of each part, or {WHOLE: root} for a tree of classes."""
        folders = self._read(root).folders
        complete = complete_groups(folders)
        if len(complete) > 1:
            names = ", ".join(folders[:6])
            raise DataError(f"{root} holds the parts of several data sets: {names}; choose one")
        if not complete:
            self._refuse_half(root, part_groups(folders).get((), {}))
            return {WHOLE: root}
        self._refuse_dangling(root, _is_part)
        (group,) = complete
        for role in group:
            self._above |= {self._read(root / name).identity for name in group[role]}
        parts = {
            TRAIN: self._chosen(root, group[TRAIN]),
            TEST: self._chosen(root, group.get(TEST, []), group.get(VALIDATION, [])),
        }
        if unused := [name for name in folders if root / name not in parts.values()]:
            self._notes.append(f"in {root} not used: {comma_list(unused, 5)}")
        return parts

    def _refuse_half(self, root: Path, group: Mapping[str, list[str]]) -> None:
        """Raise DataError for a part without the other one, unless it can be a class.

        A folder called train or valid is a class if it contains images, as do folders beside it
        that are not named like parts.
        """
        names = [name for some in group.values() for name in some]
        has_others = len(self._read(root).folders) > len(names)
        for name in names:
            entries = self._read(root / name)
            is_class = has_others and entries.images and not entries.folders
            if TEST in group or not is_class:
                missing = "test" if TRAIN in group else "train"
                raise DataError(
                    f"{root} has {name}/ but no part to {missing} on beside it: "
                    f"expected folders named {EXPECTED}, or one folder a class and no parts"
                )
            self._notes.append(f"{root / name} is used as a class")

    def _chosen(self, root: Path, *candidates: list[str]) -> Path:
        """Return the folder to use as a part: of the first names with class folders, or the first.

        Raise DataError for several folders of one role.
        """
        with_classes = []
        for some in candidates:
            with_classes.append([name for name in some if self._read(root / name).folders])
        names = next(filter(None, [*with_classes, *candidates]))
        if len(names) > 1:
            several = "/, ".join(names)
            raise DataError(f"{root} has {several}/, of which only one can be used")
        return root / names[0]

    def _unwrapped(self, folder: Path, stops: Callable[[str], bool]) -> Path:
        """Return the folder, or the only one in it if that contains nothing but folders.

        This is repeated. A folder is not replaced by one whose name makes `stops` true.
        """
        start = folder
        while (name := self._only_folder(folder)) is not None:
            inside = self._read(folder / name)
            is_meant = stops(name) and not complete_groups(inside.folders)
            if inside.images or not inside.folders or is_meant:
                break
            folder /= name
        if folder != start:
            self._notes.append(f"read from {folder}, the only folder in {start}")
        return folder

    def _only_folder(self, folder: Path) -> str | None:
        """Return the name of the only folder in one without images or broken links, or None."""
        entries = self._read(folder)
        if len(entries.folders) != 1 or entries.images or entries.dangling:
            return None
        return entries.folders[0]

    def _class_names(self, part: Path, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the classes: the given ones, or else the folders of the part."""
        self._refuse_dangling(part, lambda _: True)
        entries = self._read(part)
        if extra := [name for name in entries.folders if classes and name not in classes]:
            names = ", ".join(extra[:5])
            raise DataError(f"{part} has classes that the training part has not: {names}")
        if not entries.folders:
            images = f"{count_images(len(entries.images))} and " if entries.images else ""
            raise DataError(
                f"{part} holds {images}no class folders with images in them: "
                f"expected {part}/CLASS/*.png"
            )
        self._class_folders |= {self._read(part / name).identity for name in entries.folders}
        return tuple(classes or entries.folders)

    def _refuse_dangling(self, folder: Path, is_meant: Callable[[str], bool]) -> None:
        """Raise DataError for a broken link whose name makes `is_meant` true.

        Such a link may be a folder of the tree.
        """
        for name in filter(is_meant, self._read(folder).dangling):
            link = folder / name
            raise DataError(
                f"{link} is a link to {os.readlink(link)}, which cannot be reached: "
                f"mount it, or remove {link}"
            )

    def _note_above(self, parts: Collection[Path]) -> None:
        """Note the entries beside the parts and classes: in the root, the parts and their wraps."""
        for folder, entries in self._seen.items():
            if any(part.is_relative_to(folder) for part in parts):
                self._above.add(entries.identity)
                self._skipped += entries.skipped
                if entries.images:
                    images = count_images(len(entries.images))
                    self._notes.append(f"skipped {images} in {folder}, outside of class folders")

    def _class_images(self, part: Path, classes: Sequence[str]) -> list[Images]:
        """Return the images of each class in a part."""
        folders = self._read(part).folders
        images = [self._images(part / name) if name in folders else [] for name in classes]
        refuse_parts_for_classes(part, dict(zip(classes, images, strict=True)))
        return images

    def _images(self, folder: Path) -> Images:
        """Return the images of a class, sorted by path; raise DataError if there is none."""
        found: Images = []
        skipped: Counter[str] = Counter()
        above = self._above | ancestors(folder)
        if folder.is_symlink() and identity_of(folder) in above:
            skipped[BARRED_LINK] += 1
        else:
            for inside, entries in self._walk(folder, above | self._class_folders, skipped):
                found += [((*inside, name), size) for name, size in entries.images]
                skipped += entries.skipped
        if not found:
            also = f"; it holds {count_by_kind(skipped)}" if skipped else ""
            kinds = ", ".join(ENDINGS)
            raise DataError(
                f"class {folder.name!r} in {folder.parent} holds no image ({kinds}){also}"
            )
        self._skipped += skipped
        return sorted(found)

    def _walk(
        self, start: Path, barred: Set[Identity], skipped: Counter[str]
    ) -> Iterator[tuple[tuple[str, ...], Entries]]:
        """Yield (path from `start`, entries) of each folder once; count barred links in `skipped`.

        A folder in `barred` is left out only behind a link: a class may be a link to a folder
        inside another class, which keeps that folder.
        """
        visited: set[Identity] = set()
        waiting: list[tuple[tuple[str, ...], bool]] = [((), False)]
        while waiting:
            inside, behind_link = waiting.pop()
            folder = start.joinpath(*inside)
            behind_link |= bool(inside) and folder.is_symlink()
            identity = identity_of(folder)
            if identity in visited:
                continue
            if behind_link and identity in barred:
                skipped[BARRED_LINK] += 1
                continue
            visited.add(identity)
            entries = self._read(folder)
            yield inside, entries
            waiting += [((*inside, name), behind_link) for name in reversed(entries.folders)]

    def _read(self, folder: Path) -> Entries:
        """Return the entries of a folder, read once."""
        if folder not in self._seen:
            self._seen[folder] = read_folder(folder)
        return self._seen[folder]


def _is_part(name: str) -> bool:
    """Return whether a folder of a name may be a part."""
    return role_of(name) is not None
