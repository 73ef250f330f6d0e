"""Training of one run on a rank that is not the first: it computes, and writes and says nothing.

Whatever all ranks do together, `Session` does on the first one in the same order.
"""

from dstrun.config.options import Config
from dstrun.runs.identity import compiles
from dstrun.system.errors import Interrupted
from dstrun.system.machine import keep_freed_memory, set_threads
from dstrun.system.signals import stop_request
from dstrun.training.compile_check import compare_with_eager
from dstrun.training.divergence import check_finite
from dstrun.training.prepare import Prepared
from dstrun.training.ranks import AnyRank, Ranks
from dstrun.training.trainer import Trainer


def follow(config: Config, prepared: Prepared, ranks: Ranks) -> None:
    """Train to the end of the run, or to where the first rank or a signal stops it.

    Raises Interrupted, and DivergedError where the model is no longer finite.
    """
    keep_freed_memory()
    set_threads(config.threads)
    with stop_request() as stop:
        trainer = Trainer(config, prepared, ranks.tell(), ranks=ranks)
        if compiles(config) and trainer.rounds.total:
            compare_with_eager(config, prepared, trainer)
        asked = AnyRank(ranks)
        for record in trainer.records(lambda progress: asked(stop)):
            asked.last()
            if record.kind == "epoch":
                check_finite(trainer)
            if trainer.progress.epoch == trainer.rounds.total:
                break
            saves, number = ranks.highest(bool(stop), stop.signal or 0)
            if saves:
                check_finite(trainer)
                trainer.state_dict()
            if number:
                raise Interrupted(number)
        trainer.state_dict()
