"""A sweep from its jobs to its end, whichever launcher does them.

    plan  →  what is there already  →  the launcher does the rest, watched  →  summary, and a table of what failed

Knows board, plan and errors.
"""

from collections.abc import Callable, Sequence

from dstrun.sweep.monitor import Board
from dstrun.sweep.plan import Job
from dstrun.system.errors import InputError, described

Launch = Callable[[list[list[str]]], object]


def sweep(jobs: Sequence[Job], launch: Launch) -> None:
    """Has the jobs done that are not done yet. InputError where nothing was begun; RunFailedError
    if any has failed.

    `launch` takes lists of overrides and returns when their runs have ended.
    """
    board = Board(jobs)
    if jobs[0].config.dry_run:
        board.preview()
        return
    left = board.left()
    try:
        with board.watching():
            if left:
                launched(board, launch, left)
    except InputError:
        board.withdraw()
        raise
    except KeyboardInterrupt:
        board.report()
        raise
    board.close()


def launched(board: Board, launch: Launch, jobs: Sequence[Job]) -> None:
    """Has a launcher do the jobs, and waits for those that are under way still, here or in other
    hands."""
    try:
        launch([list(job.overrides) for job in jobs])
    except InputError:
        raise
    except (
        Exception
    ) as error:  # such as submitit's for one job that was lost, while the others go on
        board.say(f"the launcher: {described(error)}")
    board.wait()
