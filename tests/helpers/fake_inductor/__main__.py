"""Print what torch.compile generates for an H100, a row for each network and option.

python -m tests.helpers.fake_inductor [NETWORK ...] [--cases CASE ...] [--json FILE] [--save FOLDER]
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.helpers.fake_cuda import libraries

STEP = {"schedule.compile": "step"}
MASK = {"schedule.compile": "mask"}
DENSE = {"reg.method": "dense"}
BF16 = {"schedule.precision": "bf16", "schedule.channels_last": True}
TARGET = {"reg.target_density": 0.05}
STATIC = {"reg.method": "static", "reg.density": 0.1}
RIGL = {"reg.method": "rigl", "reg.density": 0.1, "reg.every": 3}
CASES: dict[str, dict[str, Any]] = {
    "dense, step": STEP | DENSE,
    "step": STEP,
    "mask": MASK,
    "dense, step, bf16": STEP | DENSE | BF16,
    "step, bf16": STEP | BF16,
    "mask, bf16": MASK | BF16,
    "step, target": STEP | TARGET,
    "mask, target": MASK | TARGET,
    "step, guard": STEP | {"reg.guard": 0.9},
    "step, adam": STEP | {"schedule.optimiser": "adam"},
    "step, weight": STEP | {"reg.granularity": "weight"},
    "mask, weight": MASK | {"reg.granularity": "weight"},
    "mask, layer": MASK | {"reg.granularity": "layer"},
    "step, deterministic": STEP | {"deterministic": True},
    "static, step": STEP | STATIC,
    "rigl, step": STEP | RIGL,
    "rigl, step, bf16": STEP | RIGL | BF16,
    "mask, deterministic": MASK | {"deterministic": True},
}
HEAD = """\
| network | options | graphs | kernels a step | of a library | replays a step | inputs copied |
|---|---|---|---|---|---|---|"""


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES, metavar="CASE")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--save", type=Path, help="a folder for the generated code")
    asked = parser.parse_args()
    libraries.restart_with_libraries()
    from tests.helpers.fake_inductor.h100 import pretend

    pretend()
    from tests.helpers.fake_inductor.runs import NETWORKS

    figures = {}
    print(HEAD)
    for network in asked.networks or NETWORKS:
        for case in asked.cases:
            figures[f"{network}, {case}"] = row = generated(network, case, asked.save)
            print(_line(network, case, row), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))


def generated(network: str, case: str, save: Path | None = None) -> dict[str, Any]:
    """Return figures of every graph of a short run, and which of them a full step calls."""
    from tests.helpers.fake_inductor.lowering import lowered_for_cuda
    from tests.helpers.fake_inductor.runs import trainer

    with lowered_for_cuda() as steps:
        for _ in trainer(network, CASES[case]).records(steps.next, evaluates=False):
            pass
    graphs = [graph for step in steps.captured for graph in step]
    if save:
        save.mkdir(parents=True, exist_ok=True)
        for number, graph in enumerate(graphs):
            name = f"{network}-{case.replace(', ', '-')}-{number}.py"
            (save / name).write_text(graph.code)
    in_full_step = [graphs.index(graph) for graph in steps.called[4]]  # the second of an epoch
    figures = []
    for graph in graphs:
        facts = asdict(graph)
        del facts["code"]
        figures.append(facts | {"kernels": graph.kernels, "is_replayed": graph.is_replayed})
    return {"graphs": figures, "step": in_full_step}


def _line(network: str, case: str, row: dict[str, Any]) -> str:
    called = [row["graphs"][number] for number in row["step"]]
    library = sum(sum(graph["library"].values()) for graph in called)
    replays = sum(graph["is_replayed"] for graph in called)
    copied = sum(replay["copied"] for graph in called for replay in graph["replays"])
    cells = [
        network,
        case,
        len(row["graphs"]),
        sum(graph["kernels"] for graph in called),
        library,
        replays,
        copied,
    ]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
