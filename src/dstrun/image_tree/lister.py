"""Lists a tree: finds its parts and classes, then the images of each class. Knows errors."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dstrun.errors import DataError
from dstrun.image_tree.folders import ENDINGS, Listed, read_folder
from dstrun.image_tree.names import EXPECTED, TEST, TRAIN, VALIDATION, complete_groups, part_groups, role_of
from dstrun.image_tree.tree import WHOLE, Images, Tree, fingerprint_of, make_part


class Lister:
    """Reads the folders of one tree, each once, and gathers what its notes say."""

    def __init__(self) -> None:
        self._seen: dict[Path, Listed] = {}
        self._passed: Counter[str] = Counter()
        self._notes: list[str] = []

    @property
    def times(self) -> dict[Path, int]:
        """When each folder was last changed, as of before it was read; ns."""
        return {folder: listed.changed for folder, listed in self._seen.items()}

    def tree(self, root: Path) -> Tree:
        folders = self._parts(self._unwrapped(root, lambda name: role_of(name) is not None))
        classes: tuple[str, ...] = ()
        found: dict[str, list[Images]] = {}
        for name in folders:  # the part to train on is the first
            folders[name] = self._unwrapped(folders[name], classes.__contains__)
            classes, found[name] = self._class_images(folders[name], classes)
        if self._passed:
            self._notes.append(f"passed over {_counted(self._passed)}")
        listed = {name: make_part(folders[name], classes, images) for name, images in found.items()}
        return Tree(classes, listed, tuple(self._notes), fingerprint_of(classes, found))

    def _parts(self, root: Path) -> dict[str, Path]:
        """Return the folder of each part, or {WHOLE: root} for a tree of classes."""
        folders = self._read(root).folders
        complete = complete_groups(folders)
        if len(complete) > 1:
            raise DataError(f"{root} holds the parts of several data sets: {', '.join(folders[:6])}; choose one")
        if not complete:
            self._refuse_half(root, part_groups(folders).get((), {}))
            return {WHOLE: root}
        (group,) = complete
        parts = {
            TRAIN: self._chosen(root, group[TRAIN]),
            TEST: self._chosen(root, group.get(TEST, []), group.get(VALIDATION, [])),
        }
        if unused := [name for name in folders if root / name not in parts.values()]:
            self._notes.append(f"in {root} not used: {', '.join(unused[:5])}{' …' if len(unused) > 5 else ''}")
        return parts

    def _refuse_half(self, root: Path, group: Mapping[str, list[str]]) -> None:
        """Raise DataError for a part without the others; a class may be called train or valid where it looks like one.

        That is: it holds images, and so do folders beside it that are not named like parts.
        """
        names = [name for some in group.values() for name in some]
        others = [name for name in self._read(root).folders if name not in names]
        for name in names:
            listed = self._read(root / name)
            if TEST in group or not others or listed.folders or not listed.images:
                has = f"{root} has {name}/ but no part to {'test' if TRAIN in group else 'train'} on beside it"
                raise DataError(f"{has}: expected folders named {EXPECTED}, or one folder a class and no parts")
            self._notes.append(f"{root / name} is taken for a class")

    def _chosen(self, root: Path, *candidates: list[str]) -> Path:
        """Return the part to use: of the first names that hold class folders, or else of the first."""
        with_classes = [[name for name in names if self._read(root / name).folders] for names in candidates]
        names = next(filter(None, [*with_classes, *candidates]))
        if len(names) > 1:
            raise DataError(f"{root} has {', '.join(f'{name}/' for name in names)}, of which only one can be used")
        return root / names[0]

    def _unwrapped(self, folder: Path, stops: Callable[[str], bool]) -> Path:
        """Step into a folder that holds nothing but one folder of folders, unless `stops` says so of its name."""
        start = folder
        while not self._read(folder).images and len(self._read(folder).folders) == 1:
            (name,) = self._read(folder).folders
            inside = self._read(folder / name)
            if inside.images or not inside.folders or (stops(name) and not complete_groups(inside.folders)):
                break
            folder /= name
        if folder != start:
            self._notes.append(f"read from {folder}, the only folder in {start}")
        return folder

    def _class_images(self, part: Path, classes: Sequence[str]) -> tuple[tuple[str, ...], list[Images]]:
        """Return the classes, those that are given or else the folders of the part, and the images of each."""
        listed = self._read(part)
        if extra := [name for name in listed.folders if classes and name not in classes]:
            raise DataError(f"{part} has classes that the training part has not: {', '.join(extra[:5])}")
        if not listed.folders:
            holds = f"{_images(len(listed.images))} and no" if listed.images else "no"
            raise DataError(f"{part} holds {holds} class folders with images in them: expected {part}/CLASS/*.png")
        if listed.images:
            self._notes.append(f"passed over {_images(len(listed.images))} in {part} that lie in no class folder")
        names = tuple(classes or listed.folders)
        images = [self._images(part / name) if name in listed.folders else [] for name in names]
        _refuse_parts_for_classes(part, dict(zip(names, images, strict=True)))
        return names, images

    def _images(self, folder: Path) -> Images:
        """Return the images of a class, sorted by path. DataError where there is none."""
        found: Images = []
        passed: Counter[str] = Counter()
        visited: set[tuple[int, int]] = set()
        for inside, listed in self._walk(folder, (), visited):
            found += [((*inside, name), size) for name, size in listed.images]
            passed += listed.passed
        if not found:
            also = f"; it holds {_counted(passed)}" if passed else ""
            raise DataError(f"class {folder.name!r} in {folder.parent} holds no image ({', '.join(ENDINGS)}){also}")
        self._passed += passed
        return sorted(found)

    def _walk(
        self, folder: Path, inside: tuple[str, ...], visited: set[tuple[int, int]]
    ) -> Iterator[tuple[tuple[str, ...], Listed]]:
        listed = self._read(folder)
        if listed.identity in visited:
            return
        visited.add(listed.identity)
        yield inside, listed
        for name in listed.folders:
            yield from self._walk(folder / name, (*inside, name), visited)

    def _read(self, folder: Path) -> Listed:
        if folder not in self._seen:
            self._seen[folder] = read_folder(folder)
        return self._seen[folder]


def _refuse_parts_for_classes(part: Path, classes: Mapping[str, Images]) -> None:
    """Raise DataError where classes hold no image themselves, and folders of the same names: those are the classes.

    One name in common is no sign of it: trees are published as CLASS/images/*.
    """
    inside = {
        name: {path[0] for path, _ in images} for name, images in classes.items() if all(path[1:] for path, _ in images)
    }
    often = Counter(folder for folders in inside.values() for folder in folders)
    common = sorted(folder for folder, count in often.items() if count > 1)
    if len(common) > 1:
        names = ", ".join(sorted(name for name, folders in inside.items() if folders & set(common))[:4])
        raise DataError(
            f"{part} holds {names}, and these hold {', '.join(common[:4])}, which look like the classes: "
            f"expected parts named {EXPECTED}, or one folder a class with its images in it"
        )


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _counted(passed: Counter[str]) -> str:
    """Return '19 files (12 .heic, 4 .txt, 3 hidden)'."""
    kinds = [f"{count} {kind}" for kind, count in passed.most_common(5)]
    more = " …" if len(passed) > 5 else ""
    total = passed.total()
    return f"{total} file{'s' * (total != 1)} ({', '.join(kinds)}{more})"
