"""Draws the density of every layer over a run as SVG: python docs/picture.py RUN > docs/density.svg."""

import csv
import sys
from pathlib import Path

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, told apart by all
LEFT, TOP, WIDTH, HEIGHT = 60, 20, 560, 260


def courses(run: Path) -> dict[str, list[float]]:
    """Density in [0, 1] by epoch, of each layer and of the model, beginning with 1 before the first."""
    found: dict[str, list[float]] = {}
    with (run / "layers.csv").open() as file:
        for row in csv.DictReader(file):
            found.setdefault(row["layer"], [1.0]).append(float(row["density"]))
    with (run / "metrics.csv").open() as file:
        found["model"] = [1.0, *(float(row["density"]) for row in csv.DictReader(file))]
    return found


def drawing(lines: dict[str, list[float]]) -> str:
    epochs = max(map(len, lines.values())) - 1

    def at(epoch: float, density: float) -> str:
        return f"{LEFT + WIDTH * epoch / epochs:.1f},{TOP + HEIGHT * (1 - density):.1f}"

    size = f'width="{LEFT + WIDTH + 130}" height="{TOP + HEIGHT + 50}"'
    style = 'font-family="sans-serif" font-size="13" fill="#777"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>']
    for percent in range(0, 101, 25):
        start, end = at(0, percent / 100), at(epochs, percent / 100)
        parts.append(f'<path d="M{start} L{end}" stroke="#8884"/>')
        y = float(start.split(",")[1]) + 4
        parts.append(f'<text x="{LEFT - 8}" y="{y}" text-anchor="end">{percent} %</text>')
    for epoch in range(0, epochs + 1, max(1, epochs // 5)):
        x = at(epoch, 0).split(",")[0]
        parts.append(f'<text x="{x}" y="{TOP + HEIGHT + 20}" text-anchor="middle">{epoch}</text>')
    parts.append(f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 42}" text-anchor="middle">epoch</text>')
    middle = TOP + HEIGHT / 2
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">weights kept</text>')
    ends: list[float] = []
    for number, (name, densities) in enumerate(sorted(lines.items(), key=lambda line: -line[1][-1])):
        colour = "#777" if name == "model" else COLOURS[number % len(COLOURS)]
        points = " ".join(at(epoch, density) for epoch, density in enumerate(densities))
        dashes = ' stroke-dasharray="6 4"' if name == "model" else ""
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"{dashes}/>')
        y = max(TOP + HEIGHT * (1 - densities[-1]) + 4, ends[-1] + 16 if ends else 0)
        ends.append(y)
        label = f"{name} {densities[-1]:.1%}"
        parts.append(f'<text x="{LEFT + WIDTH + 8}" y="{y:.1f}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>"])


if __name__ == "__main__":
    print(drawing(courses(Path(sys.argv[1]))))
