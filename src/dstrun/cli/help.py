"""Text of `dstrun --help`: verbs, choices and options, from the folders and dataclasses themselves.

Hydra's own help takes over a second to collect the choices and shows no meaning of an option.
"""

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from dstrun.config.groups import choices, find_choice, folders
from dstrun.config.messages import condition, near
from dstrun.config.options import GROUPS, OPTIONS, Config
from dstrun.config.sparsity_options import RegConfig
from dstrun.config.yaml_files import read_yaml
from dstrun.runs.identity import applies
from dstrun.system.errors import InputError

WIDTH = 120  # columns
KEY_WIDTH, BASE_WIDTH = 30, 22

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
  dstrun figure NAME [PATH ...] --to FILE         a figure as .pdf, .svg or .png; alone: their names
  dstrun dashboard [PATH ...]                     local page on runs, live while they train
  dstrun export RUN --to PATH                     sparse network as .safetensors, .pt2 or .onnx

  --help reg=NAME lists the options of a method, with its own base values;
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
        lines += _option(key, OPTIONS[key].metadata["default"])
    return "\n".join(lines)


def text_of_method(name: str) -> str:
    """Return the help on a choice of `reg`: the options of its method, with the values it has.

    Raise InputError for an unknown one.
    """
    name = find_choice("reg", name)
    if name not in (known := choices("reg")):
        raise InputError(
            f"reg: got {name!r}, expected one of {', '.join(known)}{near(name, known)}"
        )
    files = [folder / f"{name}.yaml" for folder in folders("reg")]
    file = next(filter(Path.is_file, files), None)  # an installed package may have none
    own = {f"reg.{key}": value for key, value in read_yaml(file, "reg").items()} if file else {}
    lines = [f"Options of reg={name}: dstrun reg={name} KEY=VALUE, with the value they have", ""]
    for key in keys_of(own.get("reg.method", name)):
        lines += _option(key, own.get(key, OPTIONS[key].metadata["default"]), tells_condition=False)
    return "\n".join(lines)


def keys_of(method: str) -> list[str]:
    """Return the options of a method: those of `reg` and others that apply to some methods."""
    config, found = Config(reg=RegConfig(method)), []
    for key, entry in OPTIONS.items():
        other = next(iter(entry.metadata["when"]), key)
        if other.startswith("reg.") and key != "reg.method" and applies(config, key):
            found.append(key)
    return found


def _option(key: str, value: object, tells_condition: bool = True) -> Iterator[str]:
    """Yield the lines on one option: key, base value, meaning."""
    meta = OPTIONS[key].metadata
    base = "" if value in ("", None) else str(value)
    if key == "data.root":
        base = "$DSTRUN_DATA or data"
    words = meta["doc"] + (f" [{', '.join(meta['choices'])}]" if meta["choices"] else "")
    words += f" ({condition(key)})" if tells_condition and meta["when"] else ""
    yield from _wrapped(f"  {key:<{KEY_WIDTH}}{base:<{BASE_WIDTH}}", words)


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
