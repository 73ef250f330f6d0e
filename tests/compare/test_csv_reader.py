"""Reader of CSV files: a damaged file loses its damaged lines, and a sound one beside it none."""

from pathlib import Path

import pytest

from dstrun.compare.csv_reader import AT_ONCE, Kind, read_files, stack, whole_lines

KIND = Kind(
    ("epoch", "step", "layer", "kept", "new"),
    optional=("new",),
    counts=("epoch", "step"),
    text="layer",
)
HEADER = "epoch,step,layer,kept\n"
SOUND = HEADER + "1,4,fc1,5\n1,4,fc2,6\n"


@pytest.mark.parametrize(
    ("content", "rows", "notes"),
    [
        (SOUND, [[1, 4, "fc1", 5], [1, 4, "fc2", 6]], []),
        (SOUND + "2,8,fc1,", [[1, 4, "fc1", 5], [1, 4, "fc2", 6]], []),  # being written
        (HEADER, [], []),
        ("", [], []),
        (None, [], []),
        (
            SOUND + "2,8,fc1\n",
            [[1, 4, "fc1", 5], [1, 4, "fc2", 6]],
            ["file.csv: 1 line cannot be read"],
        ),
        (
            HEADER + "1,4,0,5\n1,4,01,6\nx\n",
            [[1, 4, "0", 5], [1, 4, "01", 6]],
            ["file.csv: 1 line cannot be read"],
        ),
        (
            SOUND + "1.5,8,fc1,5\n-1,8,fc1,5\n",
            [[1, 4, "fc1", 5], [1, 4, "fc2", 6]],
            ["file.csv: 2 lines cannot be read"],
        ),
        (
            SOUND + f"{2**53},8,fc1,5\n",
            [[1, 4, "fc1", 5], [1, 4, "fc2", 6]],
            ["file.csv: 1 line cannot be read"],
        ),
        (
            SOUND + "2,8,,5\n",
            [[1, 4, "fc1", 5], [1, 4, "fc2", 6]],
            ["file.csv: 1 line cannot be read"],
        ),
        (SOUND + "\n", [[1, 4, "fc1", 5], [1, 4, "fc2", 6]], ["file.csv: 1 line cannot be read"]),
        (HEADER + '1,4,"fc1",5\n', [[1, 4, "fc1", 5]], []),
        (
            HEADER + '1,4,"fc1,5\n1,4,fc2",6\n',
            [[1, 4, "fc1", 5], [1, 4, "fc2", 6]],
            [],
        ),  # one line for a parser
        (HEADER + "1,4,fc1,many\n", [[1, 4, "fc1", None]], []),
        (
            "epoch,layer\n1,fc1\n",
            [[1, None, "fc1", None]],
            ["file.csv: no column step, kept: written by another version?"],
        ),
        (
            "a,b\n1,2\n",
            [],
            ["file.csv: no column epoch, step, layer, kept: written by another version?"],
        ),
    ],
)
def test_rows_and_notes_of_a_file(content: str | None, rows: list[list], notes: list[str]) -> None:
    if content is not None:
        Path("file.csv").write_text(content)
    Path("sound.csv").write_text(SOUND)
    frame, sound = read_files([Path("file.csv"), Path("sound.csv")], KIND)
    columns = ["epoch", "step", "layer", "kept"]
    found = frame.rows[columns].astype(object).where(frame.rows[columns].notna(), None)
    assert (found.to_numpy().tolist(), frame.notes) == (rows, notes)
    assert sound.rows["kept"].tolist() == [5, 6]
    assert sound.rows["new"].isna().all()
    assert list(frame.rows.columns) == list(KIND.columns)
    assert list(frame.rows.index) == list(range(len(rows)))


def test_more_files_than_are_read_at_once() -> None:
    files = [Path(f"{number}.csv") for number in range(AT_ONCE + 2)]
    for number, file in enumerate(files):
        file.write_text(f"{HEADER}1,{number},fc1,5\n")
    assert [frame.rows["step"].item() for frame in read_files(files, KIND)] == list(
        range(AT_ONCE + 2)
    )


def test_stacked_tables() -> None:
    Path("a.csv").write_text(SOUND)
    Path("b.csv").write_text(HEADER + "2,8,fc3,7\n")
    Path("c.csv").write_text(HEADER)
    one = stack(
        dict(
            zip(
                "abc",
                (frame.rows for frame in read_files([Path(f"{x}.csv") for x in "abc"], KIND)),
                strict=True,
            )
        ),
        KIND,
    )
    assert list(one.columns) == ["run", "layer", "epoch", "step", "kept", "new"]
    assert one[["run", "layer", "kept"]].to_numpy().tolist() == [
        ["a", "fc1", 5],
        ["a", "fc2", 6],
        ["b", "fc3", 7],
    ]
    assert list(stack({}, KIND).columns) == ["run", *KIND.columns]


def test_a_file_that_pandas_refuses_has_a_note_and_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file.csv").write_text(SOUND)

    def refused(*_: object, **options: object) -> None:
        raise ValueError("not a table")

    monkeypatch.setattr("pandas.read_csv", refused)
    (frame,) = read_files([Path("file.csv")], KIND)
    assert list(frame.rows.columns) == list(KIND.columns)
    assert not len(frame.rows)
    assert frame.notes == ["file.csv: cannot be read: not a table"]


def test_a_file_that_cannot_be_read_has_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file.csv").write_text(SOUND)
    assert whole_lines(Path("file.csv")) == SOUND.encode()

    def failed(path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", failed)
    assert whole_lines(Path("file.csv")) == b""


def test_links_and_folders_have_no_lines() -> None:
    Path("link.csv").symlink_to("/etc/hostname")
    Path("folder.csv").mkdir()
    assert [whole_lines(Path(name)) for name in ("link.csv", "folder.csv", "gone.csv")] == [b""] * 3
