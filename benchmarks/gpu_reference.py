"""Masked layers on the device against the paper's formulas, written out in float64 on the CPU."""

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from gpu_child import Child
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.data import Batches, Split
from dstrun.methods.dst.masking import (
    GRANULARITIES,
    Penalty,
    ThresholdMask,
    reset_at_floor,
    shift_to_density,
)
from dstrun.methods.masked_layers import sparsify
from dstrun.models.recurrent import RecurrentLinear

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(64, 48), (16, 64)),
    "convolution": (lambda: nn.Conv2d(8, 12, 3, padding=1), (4, 8, 9, 9)),
    "recurrent": (lambda: RecurrentLinear(32, 40, bias=False), (16, 32)),
}
LARGEST = {"fp32": 1e-5, "bf16": 2e-2}  # relative errors that rounding explains


def reference(child: Child) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    worst: dict[str, float] = {}
    for kind, granularity, precision in product(LAYERS, GRANULARITIES, LARGEST):
        for name, error in layer_errors(child.device, kind, granularity, precision).items():
            key = f"{precision} {name}"
            worst[key] = max(worst.get(key, 0.0), error)
    child.say(relative_errors=worst)
    child.say(ok={key: error <= LARGEST[key[:4]] for key, error in worst.items()})
    child.say(ok={"thresholds reset and shifted as on the CPU": moves_alike(child.device)})
    child.say(ok={"batches of images on the host as of those on it": batches_alike(child.device)})
    thresholds = torch.linspace(-1, 1, 40)
    there = float(Penalty.apply(thresholds.to(child.device)))
    child.say(ok={"penalty": abs(there - float((-thresholds.double()).exp().sum())) < 1e-4})


def estimator(distance: Tensor) -> Tensor:
    """Return H as the paper has it, piece by piece."""
    size = distance.abs()
    inner, outer = 2 - 4 * size, torch.full_like(size, 0.4)
    return torch.where(size <= 0.4, inner, torch.where(size <= 1, outer, torch.zeros_like(size)))


def layer_errors(
    device: torch.device, kind: str, granularity: str, precision: str
) -> dict[str, float]:
    """Return the relative errors of a layer's output and gradients."""
    torch.manual_seed(7)
    build, shape = LAYERS[kind]
    layer, images = build(), torch.randn(shape)
    sparsify(layer, lambda weight: ThresholdMask(weight, granularity))
    with torch.no_grad():
        layer.weight.mul_(6)
        layer.mask.threshold.uniform_(-0.2, 0.8)
    expected = by_formula(layer, images)
    layer.to(device)
    x = images.to(device).requires_grad_()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        out = layer(x, layer.step_weight()) if kind == "recurrent" else layer(x)
    out.float().square().sum().backward()
    found = {"output": out, "dL/dW": layer.weight.grad}
    found |= {"dL/dt": layer.mask.threshold.grad, "dL/dx": x.grad}
    return {
        name: float((found[name].detach().cpu().double() - value).norm() / value.norm())
        for name, value in expected.items()
    }


def by_formula(layer: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return output and gradients of the sum of squares by the paper's formulas, in float64."""
    weight = layer.weight.detach().double()
    threshold = layer.mask.threshold.detach().double()
    bias = None if layer.bias is None else layer.bias.detach().double()
    distance = weight.abs() - threshold
    used = torch.where(distance > 0, weight, torch.zeros_like(weight)).requires_grad_()
    x = images.double().requires_grad_()
    is_convolution = weight.dim() == 4
    out = F.conv2d(x, used, bias, padding=1) if is_convolution else F.linear(x, used, bias)
    out.square().sum().backward()
    structure = used.grad * weight * estimator(distance)
    return {
        "output": out.detach(),
        "dL/dW": used.grad * (distance > 0) + structure * weight.sign(),
        "dL/dt": -structure.sum_to_size(threshold.shape),
        "dL/dx": x.grad,
    }


def moves_alike(device: torch.device) -> bool:
    """Return whether resets at the floor and shifts to a density do the same as on the CPU."""
    torch.manual_seed(1)
    weights = [torch.randn(50, 40), torch.randn(30, 8, 3, 3) * 0.1]
    thresholds = [torch.rand(50, 1) * 3, torch.rand(30, 1, 1, 1) * 0.3]
    here = (weights, [t.clone() for t in thresholds])
    there = ([w.to(device) for w in weights], [t.to(device) for t in thresholds])
    alike = True
    for floor, factor in ((0.0, 0.0), (0.25, 0.9), (0.25, 0.0)):
        counts = [[int(n) for n in reset_at_floor(*some, floor, factor)] for some in (here, there)]
        same = all(torch.equal(a, b.cpu()) for a, b in zip(here[1], there[1], strict=True))
        alike = alike and same and counts[0] == counts[1]
    for density in (0.5, 0.05, 0.001):
        kept = []
        for some in (here, there):
            shift_to_density(*some, density, 0.01)
            kept.append(sum(int((w.abs() > t).sum()) for w, t in zip(*some, strict=True)))
        alike = alike and abs(kept[0] - kept[1]) <= 2  # the mean of |W| may differ in its last bit
    return alike


def batches_alike(device: torch.device) -> bool:
    """Return whether images on the host give the batches of those on the device, bit for bit.

    With the CPU's batches both agree but for rounding.
    """
    torch.manual_seed(2)
    images = torch.randint(256, (300, 3, 32, 32), dtype=torch.uint8)
    split = Split(images, torch.arange(len(images)))
    options: dict[str, Any] = {"pad": 4, "flip": True, "mean": (0.5,), "std": (0.25,), "seed": 3}
    places = {"cpu": torch.device("cpu"), "device": device, "host": device}
    found = {
        name: Batches(split, 64, place, on_host=name == "host", **options)
        for name, place in places.items()
    }
    alike = True
    for read in (lambda batches: batches.shuffled(1), lambda batches: batches.in_order()):
        cpu, there, host = (list(read(batches)) for batches in found.values())
        for (x, labels), (y, _), (z, own) in zip(cpu, there, host, strict=True):
            alike = alike and torch.equal(y, z) and torch.equal(labels, own.cpu())
            alike = alike and torch.allclose(x, z.cpu(), rtol=1e-6, atol=1e-6)
    return alike
