"""A rank that `launch` has started: it makes the launcher's call, and takes its signals."""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

from dstrun.system.errors import InputError, RunFailedError, error_line
from dstrun.system.streams import accept_all_text

GRACE = 0.1  # seconds between two looks at launcher and ranks
CALL, SIGNALS = "call", "signals"
# what a rank runs; Ctrl-C ends one that is still importing without a traceback
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "from dstrun.training.launched import main; main()"
)
PASSED_ON = (InputError, RunFailedError, KeyboardInterrupt, OSError)


def main() -> None:
    """Be a rank: make the call in the folder that the launcher names, and leave there what it
    raises.
    """
    folder, launcher = Path(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_take_signals, args=(launcher, folder), daemon=True).start()
    accept_all_text()
    try:
        call = pickle.loads((folder / CALL).read_bytes())  # which imports torch
        signal.signal(signal.SIGINT, signal.default_int_handler)
        call()
    except (Exception, KeyboardInterrupt) as error:
        is_passed_on = isinstance(error, PASSED_ON)
        if not is_passed_on or os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exc()
        raised = error if is_passed_on else RunFailedError(error_line(error))
        (folder / os.environ["RANK"]).write_bytes(pickle.dumps(raised))
        sys.exit(getattr(error, "exit_code", 1))


def _take_signals(launcher: int, folder: Path) -> None:
    """Send this process the launcher's stop signals, and SIGTERM when that has been killed, be it
    before this began.
    """
    taken = 0
    while os.getppid() == launcher:
        with suppress(FileNotFoundError):
            for word in (folder / SIGNALS).read_text(encoding="ascii").split()[taken:]:
                taken += 1
                os.kill(os.getpid(), int(word))
        time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGTERM)
