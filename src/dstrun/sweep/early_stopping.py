"""Early stopping in a search: stop the runs that are behind half of the earlier runs."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dstrun.runs.rounds import rounds_of
from dstrun.runs.tasks import task_of
from dstrun.sweep.job_states import Entry
from dstrun.system.files import read_csv
from dstrun.system.run_files import METRICS_FILE, STOP_FILE

FIRST_JUDGED = 0.25  # of a run's epochs; before that, a density says little
MIN_EARLIER_RUNS = 4  # that have reached the same epoch
Point = tuple[float, float]


class EarlyStopping:
    """Comparison of running trials with the trials that have ended, epoch by epoch."""

    def __init__(self) -> None:
        self.stopped: set[Path] = set()  # run folders of the runs that were asked to stop
        self._curves: dict[Path, dict[int, Point]] = {}  # by epoch; read when first needed

    def add_ended(self, folder: Path) -> None:
        """Compare runs with this one too from now on."""
        self._curves[folder] = {}

    def check(self, entry: Entry) -> None:
        """Ask a run to stop if half of the earlier runs are at least as accurate and as sparse.

        Runs are compared at the same epoch; one with the same figures counts as not ahead.
        """
        epoch, epochs = int(entry.row.get("epoch") or 0), rounds_of(entry.job.config).total
        if not FIRST_JUDGED * epochs <= epoch < epochs:
            return
        point = _figures(entry.row)
        earlier = list(filter(None, (self._curve(run).get(epoch) for run in self._curves)))
        ahead = sum(_is_ahead(other, point) for other in earlier)
        if len(earlier) >= MIN_EARLIER_RUNS and 2 * ahead >= len(earlier):
            (entry.job.folder / STOP_FILE).touch()
            self.stopped.add(entry.job.folder)

    def _curve(self, folder: Path) -> dict[int, Point]:
        """Return score and density by epoch of a run that has ended."""
        curve = self._curves[folder]
        if not curve:
            # A run that failed early has no file; a row may be cut.
            with suppress(OSError, ValueError, KeyError, TypeError):
                for row in read_csv(folder / METRICS_FILE):
                    curve[int(row["epoch"])] = _figures(row)
        return curve


def _figures(row: Mapping[str, str]) -> Point:
    """Return (score in validation, density) of a row of metrics.csv: of a score more is better."""
    headline = task_of(row).headline
    return headline.score(float(row[headline.column("validation")])), float(row["density"])


def _is_ahead(other: Point, point: Point) -> bool:
    return other != point and other[0] >= point[0] and other[1] <= point[1]
