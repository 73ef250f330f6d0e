"""Tables for the documents, in Markdown: launches of a step, memory of a step and of evaluation."""

from collections.abc import Callable, Sequence

from tests.helpers.fake_cuda.cases import CASES, NETWORKS
from tests.helpers.fake_cuda.trial import Finding, find


def show_launches(networks: Sequence[str]) -> None:
    """Print the operations that a step launches, dense and sparse."""
    _show_row("network", "dense", "DST", "DST / dense")
    _show_row("---", "---:", "---:", "---:")
    for network in networks:
        dense, sparse = (_find(network, case).launches_a_step for case in ("dense", "neuron"))
        _show_row(network, f"{dense:,}", f"{sparse:,}", f"{sparse / dense:.2f}")


def show_memory(networks: Sequence[str]) -> None:
    """Print the most MiB that a sparse step and an evaluation have alive on the device."""
    _show_row("network", "images a step", "a step, MiB", "evaluation, MiB")
    _show_row("---", "---:", "---:", "---:")
    for network in networks:
        pieces = 16 if network == "resnet50" else 1
        finding = _find(network, "16 pieces" if pieces > 1 else "neuron")
        size = f"{finding.batch_size:,}" + (f" in {pieces} pieces" if pieces > 1 else "")
        step, evaluation = (finding.peaks[phase] / 2**20 for phase in ("step", "evaluation"))
        _show_row(network, size, f"{step:,.0f}", f"{evaluation:,.0f}")


def _find(network: str, case: str) -> Finding:
    finding = find(NETWORKS[network], CASES[case])
    if finding.faults:
        raise RuntimeError(f"{network}, {case}: {'; '.join(finding.faults)}")
    return finding


def _show_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


TABLES: dict[str, Callable[[Sequence[str]], None]] = {
    "launches": show_launches,
    "memory": show_memory,
}
