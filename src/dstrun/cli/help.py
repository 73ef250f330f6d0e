"""Text of `dstrun --help`: verbs, choices and options, from the folders and dataclasses themselves.

Hydra's own help takes over a second to collect the choices and shows no meaning of an option.
"""

from collections.abc import Iterator
from textwrap import wrap

from dstrun.config.groups import choices
from dstrun.config.options import GROUPS, OPTIONS

WIDTH = 120  # columns
KEY_WIDTH, BASE_WIDTH = 25, 22

USAGE = """\
dstrun trains sparse networks by Dynamic Sparse Training.

  dstrun                                          LeNet-300-100 on scikit-learn's digits, seconds
  dstrun model=vgg16 data=cifar10 reg.alpha=1e-6  with the paper's settings for the pair
  dstrun -m reg.alpha=1e-3,2e-3 seed=0,1          every combination
  dstrun sweep=NAME                               grid from sweeps/; the same command resumes it
  dstrun -m hydra/sweeper=pareto KEY=interval(A,B) ...  search for accurate and sparse runs
  dstrun rerun RUN [KEY=VALUE ...]                train again, with some settings changed
  dstrun eval RUN [KEY=VALUE ...]                 test a trained run
  dstrun report [PATH ...]                        results of runs: a table, or a page with figures
  dstrun dashboard [PATH ...]                     local page on runs, live while they train
  dstrun export RUN --to PATH                     sparse network as .safetensors, .pt2 or .onnx

  --cfg job prints the config that a command line results in, and trains nothing;
  --hydra-help lists Hydra's flags, such as those for shell completion.
"""


def text() -> str:
    """Return the whole help, at most WIDTH columns wide."""
    lines = [USAGE, "Choices: dstrun GROUP=CHOICE", ""]
    for group in GROUPS:
        lines += _wrapped(f"  {group + ':':<12}", ", ".join(choices(group)))
    lines += ["", "Options: dstrun KEY=VALUE, with the base value that recipes build on", ""]
    for key in OPTIONS:
        lines += _option(key)
    return "\n".join(lines)


def _option(key: str) -> Iterator[str]:
    """Yield the lines on one option: key, base value, meaning."""
    meta = OPTIONS[key].metadata
    base = "" if meta["default"] in ("", None) else str(meta["default"])
    if key == "data.root":
        base = "$DSTRUN_DATA or data"
    choices = f" [{', '.join(meta['choices'])}]" if meta["choices"] else ""
    yield from _wrapped(f"  {key:<{KEY_WIDTH}}{base:<{BASE_WIDTH}}", meta["doc"] + choices)


def _wrapped(label: str, words: str) -> list[str]:
    """Return a label and the words beside it, in as many lines as they need."""
    return wrap(
        words,
        WIDTH,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )
