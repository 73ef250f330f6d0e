"""What `dstrun --help` says: verbs, choices and options, from the folders and dataclasses
themselves.

Written here since Hydra's own help takes over a second to collect the choices and shows no option's
meaning. Knows config and sources."""

from dstrun.config.options import GROUPS, OPTIONS
from dstrun.config.sources import choices

USAGE = """\
dstrun trains sparse networks by Dynamic Sparse Training.

  dstrun                                          LeNet-300-100 on scikit-learn's digits, seconds on a CPU
  dstrun model=vgg16 data=cifar10 reg.alpha=1e-6  the settings of the pair follow by themselves
  dstrun -m reg.alpha=1e-3,2e-3 seed=0,1          every combination
  dstrun sweep=NAME                               a grid from sweeps/; the same command again resumes it
  dstrun -m hydra/sweeper=pareto KEY=interval(A,B) ...  a search for accurate and sparse runs
  dstrun rerun RUN [KEY=VALUE ...]                a run's settings again, some of them changed
  dstrun eval RUN [KEY=VALUE ...]                 test figures of a run
  dstrun report [PATH ...]                        what runs came to: a table, or a page with figures
  dstrun dashboard [PATH ...]                     a local page over runs, live while they train
  dstrun export RUN --to PATH                     the network out of the training code: .safetensors, .pt2 or .onnx

  --cfg job prints the config that a command line comes to, and trains nothing;
  --hydra-help lists Hydra's flags, shell completion among them.
"""


def text() -> str:
    """The whole help, at most 120 columns wide."""
    lines = [USAGE, "Choices: dstrun GROUP=CHOICE", ""]
    lines += [f"  {group + ':':<12}{', '.join(choices(group))}" for group in GROUPS]
    lines += ["", "Options: dstrun KEY=VALUE, with the base value that recipes build on", ""]
    for key, entry in OPTIONS.items():
        base = "" if entry.metadata["default"] in ("", None) else str(entry.metadata["default"])
        lines.append(
            f"  {key:<25}{'$DSTRUN_DATA or data' if key == 'data.root' else base:<22}{entry.metadata['doc']}"
        )
    return "\n".join(lines)
