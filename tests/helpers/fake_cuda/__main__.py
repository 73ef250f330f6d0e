"""Train on fake CUDA tensors: what mixes devices, waits for the device, launches, takes memory.

One line for each network and case, then what must not be in it; exit code 1 if there was any.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict

from tests.helpers.fake_cuda.libraries import restart_with_libraries

if __name__ == "__main__":
    restart_with_libraries()

from tests.helpers.fake_cuda.cases import CASES, MATRIX, NETWORKS, SHORTENED
from tests.helpers.fake_cuda.emulation import prepare_torch
from tests.helpers.fake_cuda.faults import all_faults
from tests.helpers.fake_cuda.tables import TABLES
from tests.helpers.fake_cuda.trial import Finding, find


def main() -> None:
    """Try what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.helpers.fake_cuda",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    all_of = {"networks": list(NETWORKS), "cases": list(CASES)}
    for option, names in all_of.items():
        metavar = option[:-1].upper()
        parser.add_argument(
            f"--{option}", nargs="*", metavar=metavar, choices=names, help="; ".join(names)
        )
    parser.add_argument("--faults", action="store_true", help="mistakes put in on purpose too")
    parser.add_argument("--json", action="store_true", help="everything found, a line a trial")
    parser.add_argument("--table", choices=TABLES, help="Markdown, in place of a line a trial")
    options = parser.parse_args()
    prepare_torch()
    if options.table:
        TABLES[options.table](options.networks or [n for n in NETWORKS if n != SHORTENED])
        return
    chosen = [
        (network, case)
        for network, case in MATRIX
        if network in (options.networks or NETWORKS) and case in (options.cases or CASES)
    ]
    count = 0
    for network, case in chosen:
        start = time.perf_counter()
        finding = find(NETWORKS[network], CASES[case])
        count += not finding.faults
        _show(network, case, finding, time.perf_counter() - start, options.json)
    if options.faults:
        with all_faults():
            finding = find(NETWORKS["lenet_300_100"], ("schedule.epochs=1",))
        _show("lenet_300_100", "faults", finding, 0.0, options.json)
    if not options.json:
        print(f"{count} of {len(chosen)} as they must be")
    sys.exit(count < len(chosen))


def _show(network: str, case: str, finding: Finding, seconds: float, as_json: bool) -> None:
    if as_json:
        row = {"network": network, "case": case, "faults": finding.faults, **asdict(finding)}
        print(json.dumps(row), flush=True)
        return
    verdict = "FAULT" if finding.faults else "right"
    print(
        f"{verdict} {network:14} {case:28} {finding.launches_a_step:6,} launches a step, "
        f"{seconds:5.1f} s",
        flush=True,
    )
    for line in finding.faults:
        print(f"      {line}", flush=True)


if __name__ == "__main__":
    main()
