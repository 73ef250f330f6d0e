"""Lists a tree: finds its parts and classes, then the images of each class. Knows errors."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from pathlib import Path

from dstrun.system.errors import DataError
from dstrun.system.image_tree.folders import (
    ENDINGS,
    Identity,
    Listed,
    ancestors,
    identity_of,
    read_folder,
)
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

ASTRAY = "link to a folder above or beside its class"  # counted beside the endings of files


class Lister:
    """Reads the folders of one tree, each once, and gathers what its notes say."""

    def __init__(self) -> None:
        self._seen: dict[Path, Listed] = {}
        self._passed: Counter[str] = Counter()
        self._above: set[Identity] = set()  # the root, the parts, what wraps them
        self._class_folders: set[Identity] = set()  # of all parts
        self._notes: list[str] = []

    @property
    def times(self) -> dict[Path, int]:
        """When each folder was last changed, as of before it was read; ns."""
        return {folder: listed.changed for folder, listed in self._seen.items()}

    def tree(self, root: Path) -> Tree:
        folders = self._parts(self._unwrapped(root, lambda name: role_of(name) is not None))
        classes: tuple[str, ...] = ()
        for name in folders:  # the part to train on is the first
            folders[name] = self._unwrapped(folders[name], classes.__contains__)
            classes = self._class_names(folders[name], classes)
        self._note_above(folders.values())
        found = {name: self._class_images(part, classes) for name, part in folders.items()}
        if self._passed:
            self._notes.append(f"passed over {_counted(self._passed)}")
        listed = {name: make_part(folders[name], classes, images) for name, images in found.items()}
        return Tree(classes, listed, tuple(self._notes), fingerprint_of(classes, found))

    def _parts(self, root: Path) -> dict[str, Path]:
        """Return the folder of each part, or {WHOLE: root} for a tree of classes."""
        folders = self._read(root).folders
        complete = complete_groups(folders)
        if len(complete) > 1:
            raise DataError(
                f"{root} holds the parts of several data sets: {', '.join(folders[:6])}; choose one"
            )
        if not complete:
            self._refuse_half(root, part_groups(folders).get((), {}))
            return {WHOLE: root}
        self._refuse_dangling(root, lambda name: role_of(name) is not None)
        (group,) = complete
        self._above |= {
            self._read(root / name).identity for names in group.values() for name in names
        }
        parts = {
            TRAIN: self._chosen(root, group[TRAIN]),
            TEST: self._chosen(root, group.get(TEST, []), group.get(VALIDATION, [])),
        }
        if unused := [name for name in folders if root / name not in parts.values()]:
            self._notes.append(
                f"in {root} not used: {', '.join(unused[:5])}{' …' if len(unused) > 5 else ''}"
            )
        return parts

    def _refuse_half(self, root: Path, group: Mapping[str, list[str]]) -> None:
        """Raise DataError for a part without the others; a class may be called train or valid where
        it looks like one.

        That is: it holds images, and so do folders beside it that are not named like parts.
        """
        names = [name for some in group.values() for name in some]
        others = [name for name in self._read(root).folders if name not in names]
        for name in names:
            listed = self._read(root / name)
            if TEST in group or not others or listed.folders or not listed.images:
                has = f"{root} has {name}/ but no part to {'test' if TRAIN in group else 'train'} on beside it"
                raise DataError(
                    f"{has}: expected folders named {EXPECTED}, or one folder a class and no parts"
                )
            self._notes.append(f"{root / name} is taken for a class")

    def _chosen(self, root: Path, *candidates: list[str]) -> Path:
        """Return the part to use: of the first names that hold class folders, or else of the
        first."""
        with_classes = [
            [name for name in names if self._read(root / name).folders] for names in candidates
        ]
        names = next(filter(None, [*with_classes, *candidates]))
        if len(names) > 1:
            raise DataError(
                f"{root} has {', '.join(f'{name}/' for name in names)}, of which only one can be used"
            )
        return root / names[0]

    def _unwrapped(self, folder: Path, stops: Callable[[str], bool]) -> Path:
        """Step into a folder that holds nothing but one folder of folders, unless `stops` says so
        of its name."""
        start = folder
        while (
            len((listed := self._read(folder)).folders) == 1
            and not listed.images
            and not listed.dangling
        ):
            (name,) = listed.folders
            inside = self._read(folder / name)
            if (
                inside.images
                or not inside.folders
                or (stops(name) and not complete_groups(inside.folders))
            ):
                break
            folder /= name
        if folder != start:
            self._notes.append(f"read from {folder}, the only folder in {start}")
        return folder

    def _class_names(self, part: Path, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the classes: those that are given, or else the folders of the part."""
        self._refuse_dangling(part, lambda _: True)
        listed = self._read(part)
        if extra := [name for name in listed.folders if classes and name not in classes]:
            raise DataError(
                f"{part} has classes that the training part has not: {', '.join(extra[:5])}"
            )
        if not listed.folders:
            holds = f"{_images(len(listed.images))} and no" if listed.images else "no"
            raise DataError(
                f"{part} holds {holds} class folders with images in them: expected {part}/CLASS/*.png"
            )
        self._class_folders |= {self._read(part / name).identity for name in listed.folders}
        return tuple(classes or listed.folders)

    def _refuse_dangling(self, folder: Path, is_meant: Callable[[str], bool]) -> None:
        """Raise DataError for a link to nothing that may stand for a folder of the tree, by its
        name."""
        for name in filter(is_meant, self._read(folder).dangling):
            link = folder / name
            raise DataError(
                f"{link} is a link to {os.readlink(link)}, which cannot be reached: mount it, or remove {link}"
            )

    def _note_above(self, parts: Collection[Path]) -> None:
        """Note what lies beside the folders of parts and classes: in the root, in the parts, in
        what wraps them."""
        for folder, listed in self._seen.items():
            if any(part.is_relative_to(folder) for part in parts):
                self._above.add(listed.identity)
                self._passed += listed.passed
                if listed.images:
                    beside = (
                        f"{_images(len(listed.images))} in {folder} that lie in no class folder"
                    )
                    self._notes.append(f"passed over {beside}")

    def _class_images(self, part: Path, classes: Sequence[str]) -> list[Images]:
        """Return the images of each class in a part."""
        folders = self._read(part).folders
        images = [self._images(part / name) if name in folders else [] for name in classes]
        _refuse_parts_for_classes(part, dict(zip(classes, images, strict=True)))
        return images

    def _images(self, folder: Path) -> Images:
        """Return the images of a class, sorted by path. DataError where there is none."""
        found: Images = []
        passed: Counter[str] = Counter()
        above = self._above | ancestors(folder)
        if folder.is_symlink() and identity_of(folder) in above:
            passed[ASTRAY] += 1
        else:
            for inside, listed in self._walk(folder, above | self._class_folders, passed):
                found += [((*inside, name), size) for name, size in listed.images]
                passed += listed.passed
        if not found:
            also = f"; it holds {_counted(passed)}" if passed else ""
            raise DataError(
                f"class {folder.name!r} in {folder.parent} holds no image ({', '.join(ENDINGS)}){also}"
            )
        self._passed += passed
        return sorted(found)

    def _walk(
        self, start: Path, barred: Set[Identity], passed: Counter[str]
    ) -> Iterator[tuple[tuple[str, ...], Listed]]:
        """Yield (path from `start`, what lies there) of each folder, once; count links to barred
        folders in `passed`.

        A folder is barred behind a link only: a class may be a link to a folder inside another
        class, which keeps it."""
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
                passed[ASTRAY] += 1
                continue
            visited.add(identity)
            listed = self._read(folder)
            yield inside, listed
            waiting += [((*inside, name), behind_link) for name in reversed(listed.folders)]

    def _read(self, folder: Path) -> Listed:
        if folder not in self._seen:
            self._seen[folder] = read_folder(folder)
        return self._seen[folder]


def _refuse_parts_for_classes(part: Path, classes: Mapping[str, Images]) -> None:
    """Raise DataError where classes hold no image themselves, and folders of the same names: those
    are the classes.

    One name in common is no sign of it: trees are published as CLASS/images/*.
    """
    inside = {
        name: {path[0] for path, _ in images}
        for name, images in classes.items()
        if all(path[1:] for path, _ in images)
    }
    often = Counter(folder for folders in inside.values() for folder in folders)
    common = sorted(folder for folder, count in often.items() if count > 1)
    if len(common) > 1:
        names = ", ".join(
            sorted(name for name, folders in inside.items() if folders & set(common))[:4]
        )
        raise DataError(
            f"{part} holds {names}, and these hold {', '.join(common[:4])}, which look like the classes: "
            f"expected parts named {EXPECTED}, or one folder a class with its images in it"
        )


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _counted(passed: Counter[str]) -> str:
    """Return '19 files (12 .heic, 4 .txt, 3 hidden) and 1 link to a folder above or beside its
    class'."""
    links = passed[ASTRAY]
    files = Counter({kind: count for kind, count in passed.items() if kind != ASTRAY})
    kinds = [f"{count} {kind}" for kind, count in files.most_common(5)]
    more = " …" if len(files) > 5 else ""
    total = files.total()
    said = [f"{total} file{'s' * (total != 1)} ({', '.join(kinds)}{more})"] if total else []
    if links:
        said.append(
            f"1 {ASTRAY}"
            if links == 1
            else f"{links} links to folders above or beside their classes"
        )
    return " and ".join(said)
