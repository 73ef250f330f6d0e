"""Tables in Markdown of what `benchmarks/gpu.py` has written to results.json; needs no torch."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Content = dict[str, Any]
NOT_MEASURED = "Not measured yet."
STEP = "DST, compile=step"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table, or that nothing was measured where there is no row."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    if not lines:
        return NOT_MEASURED
    return "\n".join(["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *lines])


def of_kind(content: Content, kind: str) -> dict[str, Content]:
    """Return the parts of a kind, by name."""
    parts = content.get("parts", {})
    return {name: part for name, part in parts.items() if part["kind"] == kind}


def number(value: float | None, digits: int = 3) -> str:
    """Return a number of at least so many digits, '' for none."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}g}"


def facts(content: Content) -> str:
    """Return the card, the versions, and the ceilings of copying and of matrix products."""
    found = of_kind(content, "facts").get("facts", {})
    if not found:
        return NOT_MEASURED
    versions = found.get("versions", {})
    software = [f"torch {versions.get('torch')}", f"Python {versions.get('python')}"]
    software += [f"{name} {found[name]}" for name in ("driver", "triton") if found.get(name)]
    rows = [
        ("device", found.get("device_name", found.get("device"))),
        ("cores", found.get("cores")),
    ]
    rows += [("software", ", ".join(software))]
    units = {
        "memory_gib": "memory, GiB",
        "copy_gb_s": "copying, GB/s read and written",
        "launch_us": "one launch, µs",
    }
    rows += [(words, number(found[name])) for name, words in units.items() if name in found]
    for kind, value in found.get("matmul_tflops", {}).items():
        rows.append((f"matrix product of 8,192 × 8,192, {kind}, TFLOP/s", number(value)))
    return table(["", ""], rows)


def checks(content: Content) -> str:
    """Return each check, how it ended, its cases, and the largest difference that it found."""
    rows = []
    for name, part in of_kind(content, "checks").items():
        cases = part.get("ok", {})
        wrong = [case for case, good in cases.items() if not good]
        apart = max(part.get("differences", {}).values(), default=None)
        told = f"wrong: {', '.join(wrong)}" if wrong else part.get("skipped", "")
        told = part.get("error", told)
        good = f"{len(cases) - len(wrong)} of {len(cases)}" if cases else ""
        difference = "" if apart is None else f"{apart:.1g}"
        rows.append((name, part.get("state", "runs"), good, difference, told))
    return table(["check", "ended", "cases right", "largest difference", "remarks"], rows)


def speed(content: Content) -> str:
    """Return the time of a step, kernels, epochs and memory of every network and variant."""
    ceilings = of_kind(content, "facts").get("facts", {}).get("matmul_tflops", {})
    rows = []
    for name, part in of_kind(content, "speed").items():
        ceiling = ceilings.get("bf16" if "bf16" in name else "tf32")
        for variant, step in part.get("step", {}).items():
            rows.append([name, variant, *step_cells(step, ceiling), *other_cells(part, variant)])
    heads = ["network, batch", "variant", "ms a step", "to dense", "TFLOP/s", "of the card's"]
    heads += [
        "launches",
        "kernels",
        "busy ms",
        "epoch, s",
        "images/s",
        "peak MiB, update",
        "evaluation",
    ]
    return table(heads, rows)


def step_cells(step: Content, ceiling: float | None) -> list[str]:
    """Return time, ratio, TFLOP/s, and their share of the card's matrix products."""
    share = "" if not ceiling else f"{step['tflops'] / ceiling:.1%}"
    ratio = "" if "ratio" not in step else f"{step['ratio']:.2f}"
    return [number(step["ms"]), ratio, number(step["tflops"]), share]


def other_cells(part: Content, variant: str) -> list[str]:
    """Return what was measured of a step on the card, of an epoch and of memory; blanks else."""
    profile = part.get("profile", {}).get(variant, {})
    names = ("epoch_s", "images_a_second", "update_peak_mib", "evaluation_peak_mib")
    values = [profile.get(name) for name in ("launches", "kernels", "busy_ms")]
    values += [part.get(name, {}).get(variant) for name in names]
    return [number(value) for value in values]


GOALS: tuple[tuple[str, str, str, float], ...] = (
    ("DST / dense, VGG-16, bf16, compiled, batch 64", "vgg16 64 bf16", "ratio", 1.06),
    ("DST / dense, WRN-16-8, bf16, compiled, batch 64", "wrn_16_8 64 bf16", "ratio", 1.06),
    ("DST / dense, ResNet-50, bf16, compiled, batch 256", "resnet50 256 bf16", "ratio", 1.08),
    ("seconds an epoch of VGG-16, batch 64", "vgg16 64 bf16", "epoch", 2.5),
    ("seconds an epoch of VGG-16, batch 512", "vgg16 512 bf16", "epoch", 1.0),
)


def goals(content: Content) -> str:
    """Return what is wanted of a card and what was found."""
    parts, rows = of_kind(content, "speed"), []
    for words, name, what, wanted in GOALS:
        part = parts.get(name, {})
        found = part.get("epoch_s", {}).get(STEP)
        if what == "ratio":
            found = part.get("step", {}).get(STEP, {}).get("ratio")
        shown = "not measured yet" if found is None else f"{found:.2f}"
        rows.append((words, f"≤ {wanted:g}", shown))
    return table(["figure", "wanted", "found"], rows)


def sharing(content: Content) -> str:
    """Return the time of a step in each of several processes on one card."""
    times: dict[str, list[float]] = {}
    for part in of_kind(content, "share").values():
        for count, ms in part.get("ms", {}).items():
            times.setdefault(count, []).append(ms)
    alone = times.get("1", [None])[0]
    rows = []
    for count, values in sorted(times.items(), key=lambda pair: int(pair[0])):
        work = "" if alone is None else f"{sum(alone / ms for ms in values):.2f}"
        rows.append((count, number(max(values)), work))
    return table(["processes at once", "ms a step", "steps a second, to one alone"], rows)


def runs(content: Content) -> str:
    """Return every run of a row of table 2: how far it is, its accuracy and its density."""
    rows = []
    for name, part in of_kind(content, "runs").items():
        row = name.removeprefix("runs: ")
        if not part.get("runs"):
            rows.append((row, "", part.get("state", ""), "", "", "", ""))
        for run, figures in part.get("runs", {}).items():
            shares = [figures.get(key) for key in ("test_accuracy", "density")]
            cells = ["" if share is None else f"{share:.2%}" for share in shares]
            seconds = number(figures.get("seconds"))
            rows.append((row, f"`{run}`", figures["state"], figures["epochs"], *cells, seconds))
    return table(["row", "run", "state", "epochs", "accuracy", "density", "s an epoch"], rows)


TABLES: dict[str, Callable[[Content], str]] = {
    "goals": goals,
    "facts": facts,
    "checks": checks,
    "speed": speed,
    "sharing": sharing,
    "runs": runs,
}


def page(content: Content) -> str:
    """Return all tables below one another."""
    sections = [f"## {name.capitalize()}\n\n{make(content)}\n" for name, make in TABLES.items()]
    return "# dstrun on a GPU\n\n" + "\n".join(sections)
