"""Cost of a mask: a step of a sparse network against a step of the same network dense.

    python benchmarks/step.py model=vgg16 data=cifar10 [any option of dstrun ...]
                              [--rounds 11] [--json FILE] [--methods static set rigl]

Every variant trains with dstrun's own loop on one batch that is on the device. In a round each
variant does the same number of steps, one variant after the other, and the ratio is taken within
the round, so that a machine that is busy for a while slows both sides alike. Printed are the
medians over rounds, with quartiles.

The lower bound of a mask is the memory that it must move: forward W in and W ⊙ M out, backward W
and G in and dL/dW out, the threshold reset W in: 6 × 4 bytes per weight, at the speed at which this
machine copies a tensor of the size of the largest weight.
"""

import argparse
from pathlib import Path

import torch
from common import (
    VARIANTS,
    Training,
    base_of,
    report,
    seconds,
    spread,
    training,
    variants_of,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", help="options of dstrun: model=… data=… schedule.batch_size=… device=…"
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="how long the dense variant trains in a round"
    )
    parser.add_argument(
        "--without", nargs="*", default=[], metavar="VARIANT", help="leave variants out"
    )
    parser.add_argument(
        "--methods", nargs="*", default=[], metavar="METHOD", help="other methods, at 10 %%"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    asked = dict(VARIANTS)
    for method in options.methods:
        asked |= variants_of(method)
    asked = {name: words for name, words in asked.items() if name not in options.without}
    variants = {name: training([*options.words, *words]) for name, words in asked.items()}
    first = {name: seconds(lambda made=made: made.update(1)) for name, made in variants.items()}
    one = min(seconds(lambda: variants["dense"].update(1)) for _ in range(5))
    count = max(1, round(options.seconds / one))
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(options.rounds + 1):
        for name, made in variants.items():
            times[name].append(seconds(lambda made=made: made.update(count)) / count)
    times = {name: values[1:] for name, values in times.items()}  # the first round warms up
    rows = []
    for name, values in times.items():
        base = base_of(name, times)
        ratio, low, high = spread(
            [mine / other for mine, other in zip(values, times[base], strict=True)]
        )
        rows.append(
            {
                "variant": name,
                "ms per step": 1e3 * spread(values)[0],
                "ratio": ratio,
                "quartiles": f"{low:.3f} to {high:.3f}",
                "to": base,
                "first step, s": first[name],
            }
        )
    sparse = variants.get("DST, eager") or next(
        made for made in variants.values() if made.method.has_masks
    )
    weights, floor, speed = floor_of(sparse)
    report(
        f"{' '.join(options.words)}: {options.rounds} rounds of {count} steps",
        rows,
        options.json,
        weights=weights,
        floor_of_the_masks=f"{floor:.3g} ms, 24 bytes a weight at {speed / 1e9:.3g} GB/s",
        floor_ratio=round(1 + floor / rows[0]["ms per step"], 3),
        device=str(sparse.images.device),
    )


def floor_of(sparse: Training) -> tuple[int, float, float]:
    """Return the number of masked weights, and how fast their 24 bytes each can be moved.

    The second value is the time in ms, the third the speed of copying in bytes a second.
    """
    sizes = [layer.total for layer in sparse.method.measure()]
    source = torch.ones(max(sizes), device=sparse.images.device)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(20):
            target.copy_(source)
        if source.is_cuda:
            torch.cuda.synchronize(source.device)

    speed = 20 * 2 * 4 * max(sizes) / min(seconds(copy) for _ in range(10))
    return sum(sizes), 1e3 * 24 * sum(sizes) / speed, speed


if __name__ == "__main__":
    main()
