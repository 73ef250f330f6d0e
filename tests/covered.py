"""Share of the lines and branches of each module that the fast tests run: `make coverage`.

Exits with 1 if they run under 95 % of the lines of a module that makes, stores or compares figures.
With --missing, print each module's lines and branches that no test runs.
"""

import json
import sys
import tomllib
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dstrun"
LEAST = 95  # % of lines


def figure_modules() -> list[Path]:
    """Return the modules that pyproject.toml lists as making, storing and comparing figures."""
    names = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dstrun"]["figures"]
    return [file for name in names for file in sorted(SOURCE.glob(f"{name}.py"))]


def main() -> int:
    coverage, file = (
        Coverage(config_file=str(ROOT / "pyproject.toml")),
        ROOT / "build/coverage/found.json",
    )
    coverage.load()
    coverage.json_report(outfile=str(file))
    found = {ROOT / name: one for name, one in json.loads(file.read_text())["files"].items()}
    figures, short = figure_modules(), []
    print("* makes, stores or compares figures\n")
    print("  module                        lines    run %  branches    run %")
    for file in sorted(SOURCE.rglob("*.py"), key=lambda file: (file not in figures, file)):
        if file not in found:
            continue  # not imported by any test
        name, one = str(file.relative_to(SOURCE)), found[file]
        count = one["summary"]
        lines = _share(count["covered_lines"], count["num_statements"])
        branches = _share(count["covered_branches"], count["num_branches"])
        mark = "*" if file in figures else " "
        counts = f"{count['num_statements']:>9}{lines:>9.1f}{count['num_branches']:>10}"
        print(f"{mark} {name:<26}{counts}{branches:>9.1f}")
        if file in figures and lines < LEAST:
            short.append(name)
        if "--missing" in sys.argv and (one["missing_lines"] or one["missing_branches"]):
            print(f"      lines {one['missing_lines']}, branches {one['missing_branches']}")
    if short:
        print(f"under {LEAST} % of lines: {', '.join(short)}", file=sys.stderr)
    return 1 if short else 0


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


if __name__ == "__main__":
    sys.exit(main())
