"""Tables for the documents, in Markdown: launches of a step, memory of a step and of evaluation."""

from collections.abc import Callable, Sequence

from tests.helpers.fake_cuda.cases import NETWORKS
from tests.helpers.fake_cuda.trial import Finding, find

ONE_EPOCH = "schedule.epochs=1"
PIECES = {"resnet50": 16}  # that a step's batch is computed in, else it would need 79 GiB


def show_launches(networks: Sequence[str]) -> None:
    """Print the operations that a step launches, dense and sparse."""
    _show_row("network", "dense", "DST", "DST / dense")
    _show_row("---", "---:", "---:", "---:")
    for network in networks:
        dense = _find(network, "reg=dense").launches_a_step
        sparse = _find(network).launches_a_step
        _show_row(network, f"{dense:,}", f"{sparse:,}", f"{sparse / dense:.2f}")


def show_memory(networks: Sequence[str]) -> None:
    """Print the most MiB that a sparse step and an evaluation have alive on the device."""
    _show_row("network", "images a step", "a step, MiB", "evaluation, MiB")
    _show_row("---", "---:", "---:", "---:")
    for network in networks:
        pieces = PIECES.get(network, 1)
        finding = _find(network, f"schedule.accumulate={pieces}")
        size = f"{finding.batch_size:,}" + (f" in {pieces} pieces" if pieces > 1 else "")
        step, evaluation = (finding.peaks[phase] / 2**20 for phase in ("step", "evaluation"))
        _show_row(network, size, f"{step:,.0f}", f"{evaluation:,.0f}")


def _find(network: str, *words: str) -> Finding:
    finding = find(NETWORKS[network], (ONE_EPOCH, *words))
    if finding.faults:
        raise RuntimeError(f"{network}, {' '.join(words)}: {'; '.join(finding.faults)}")
    return finding


def _show_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


TABLES: dict[str, Callable[[Sequence[str]], None]] = {
    "launches": show_launches,
    "memory": show_memory,
}
