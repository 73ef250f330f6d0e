"""Run of a sweep from its jobs to its report, with any launcher.

plan  →  find what is done  →  the launcher runs the rest, watched  →  summary and report
"""

from collections.abc import Callable, Sequence

from dstrun.sweep.monitor import Monitor
from dstrun.sweep.plan import Job
from dstrun.sweep.start_check import rehearse_start
from dstrun.system.errors import InputError, error_line, print_notes

Launch = Callable[[list[list[str]]], object]


def sweep(jobs: Sequence[Job], launch: Launch) -> None:
    """Run the jobs that are not done yet, and print the report.

    `launch` takes a list of overrides per job and returns when the jobs have ended. Raise
    InputError where no job could start, RunFailedError where a run is not finished at the end.
    """
    monitor = Monitor(jobs)
    if jobs[0].config.dry_run:
        notes = rehearse_start(jobs)
        monitor.preview()
        print_notes(notes)
        return
    to_do = monitor.jobs_to_do()
    try:
        with monitor.watching():
            if to_do:
                launch_and_wait(monitor, launch, to_do)
    except InputError:
        monitor.remove_empty_groups()
        raise
    except KeyboardInterrupt:
        monitor.report()
        raise
    monitor.close()


def launch_and_wait(monitor: Monitor, launch: Launch, jobs: Sequence[Job]) -> None:
    """Have a launcher run the jobs, and wait until no run is under way, here or elsewhere."""
    try:
        launch([list(job.overrides) for job in jobs])
    except InputError:
        raise
    except Exception as error:  # such as submitit's, for one lost job while the others go on
        monitor.say(f"launcher failed: {error_line(error)}")
    monitor.wait()
