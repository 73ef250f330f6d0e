"""Values in plotly's notation, read strictly: numbers, words, colours and formats of ticks.

What is not known here raises CannotDraw, so that a figure is never drawn without a part of it.
"""

import base64
import html
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
TICK_FORMAT = re.compile(r"\.(\d+)~([%gf])")


class CannotDraw(ValueError):
    """A part of a figure that is not known here. The message names it."""


def require_known(
    given: Mapping[str, Any], drawn: Collection[str], skipped: Collection[str], where: str
) -> None:
    """Raise CannotDraw if a mapping has a key that is neither drawn nor skipped on paper."""
    if unknown := sorted({*given} - {*drawn} - {*skipped}):
        raise CannotDraw(f"{where}: no way to draw {', '.join(unknown)}")


def numbers(values: Any) -> Numbers:
    """Return numbers of a trace, packed or a sequence, NaN for None, in one or two dimensions."""
    if not isinstance(values, Mapping):
        return np.asarray(values, dtype=float)
    array = np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).astype(float)
    if "shape" in values:
        return array.reshape([int(size) for size in values["shape"].split(",")])
    return array


def words(text: object) -> str:
    """Return HTML of a figure as plain text; raise CannotDraw for tags other than <br>."""
    lines = re.sub(r"<br ?/?>", "\n", str(text))
    if tag := re.search(r"</?\w+[^>]*>", lines):
        raise CannotDraw(f"text: no way to draw {tag.group()}")
    return html.unescape(lines).replace("$", r"\$")  # which begins a formula


def colour(given: str) -> str:
    """Return a colour as '#rrggbb', or its name, of 'rgb(r, g, b)' or of one of these."""
    if not given.startswith("rgb("):
        return given
    return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", given))


def each(value: Any, count: int) -> Sequence[Any]:
    """Return a value for each of so many points, of one for all of them or of one for each."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    return value


def tick_text(value: float, form: str, has_unit: bool) -> str:
    """Return a number as an axis shows it, by d3's format, such as '.3~%'.

    `has_unit`: the percent sign is in the title of the axis. Raise CannotDraw for other formats.
    """
    if not (read := TICK_FORMAT.fullmatch(form)):
        raise CannotDraw(f"tickformat: no way to draw {form}")
    digits, kind = int(read[1]), read[2]
    if kind == "g":
        return f"{value:.{digits}g}".replace("-", "−")
    shown = f"{value * (100 if kind == '%' else 1):.{digits}f}"
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return shown.replace("-", "−") + "%" * (kind == "%" and not has_unit)


def power_text(value: float) -> str:
    """Return '10⁻⁴' or '5·10⁻⁴' in matplotlib's notation of formulas."""
    exponent = int(np.floor(np.log10(value) + 1e-9))
    mantissa = value / 10.0**exponent
    power = rf"10^{{{exponent}}}"
    return f"${power}$" if abs(mantissa - 1) < 1e-6 else rf"${mantissa:.3g}\cdot{power}$"
