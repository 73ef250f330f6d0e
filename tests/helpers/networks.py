"""Independent versions of the built-in networks: plain functions of named weights, from the papers.

`state` maps the names of a model's parameters and buffers to tensors, as its state_dict() does; in
training mode, batch norm updates its running statistics there. Images are (B, C, H, W), logits (B,
classes).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]
Network = Callable[[State, Tensor, bool], Tensor]


def lenet_300_100(state: State, images: Tensor, training: bool) -> Tensor:
    """Return the logits of LeNet-300-100 (LeCun et al., 1998) with ReLU, as in the paper."""
    hidden = rectified(linear(state, "fc1", images.flatten(1)))
    return linear(state, "fc3", rectified(linear(state, "fc2", hidden)))


def lenet5(state: State, images: Tensor, training: bool) -> Tensor:
    """Return the logits of Caffe's LeNet-5: 5×5 convolutions, ReLU, pooling, two linear layers."""
    maps = largest_of_four(rectified(convolution(state, "conv1", images)))
    maps = largest_of_four(rectified(convolution(state, "conv2", maps)))
    return linear(state, "fc4", rectified(linear(state, "fc3", maps.flatten(1))))


def lstm(state: State, images: Tensor, training: bool) -> Tensor:
    """Return the logits of two layers of torch's LSTM cell over the rows of an image."""
    steps = [images[:, :, row].flatten(1) for row in range(images.shape[2])]
    for layer in ("lstm1", "lstm2"):
        weights = [state[f"{layer}.{name}_to_hidden.weight"] for name in ("input", "hidden")]
        bias = state[f"{layer}.input_to_hidden.bias"]
        hidden = cell = torch.zeros(len(images), weights[1].shape[1])
        for at, step in enumerate(steps):
            hidden, cell = torch.lstm_cell(
                step, (hidden, cell), *weights, bias, torch.zeros_like(bias)
            )
            steps[at] = hidden
    return linear(state, "classifier", steps[-1])


def vgg(state: State, images: Tensor, training: bool) -> Tensor:
    """Return the logits of VGG-A with batch norm (Simonyan & Zisserman, 2015).

    It has 8 convolutions, and an average in place of the last pooling.
    """
    maps, place = images, 0
    for convolutions in (1, 1, 2, 2, 2):
        maps = largest_of_four(maps) if place else maps
        place += 1 if place else 0
        for _ in range(convolutions):
            maps = convolution(state, f"features.{place}", maps, padding=1)
            maps = rectified(batch_norm(state, f"features.{place + 1}", maps, training))
            place += 3
    hidden = linear(state, "classifier.0", maps.mean((2, 3)))
    return linear(
        state, "classifier.3", rectified(batch_norm(state, "classifier.1", hidden, training))
    )


def wide_resnet(state: State, images: Tensor, training: bool) -> Tensor:
    """Return the logits of a WideResNet (Zagoruyko & Komodakis, 2016).

    Three groups of pre-activation blocks, of which the second and third halve the maps. Where a
    block changes the width, the shortcut is a 1×1 convolution of its normalised input after ReLU.
    """
    maps = convolution(state, "conv1", images, padding=1)
    blocks = sum(name.endswith("conv2.weight") for name in state)
    for block in range(blocks):
        name, stride = f"blocks.{block}", 2 if block in (blocks // 3, 2 * blocks // 3) else 1
        ready = rectified(batch_norm(state, f"{name}.bn1", maps, training))
        inner = convolution(state, f"{name}.conv1", ready, stride, padding=1)
        inner = rectified(batch_norm(state, f"{name}.bn2", inner, training))
        projects = f"{name}.shortcut.weight" in state
        shortcut = convolution(state, f"{name}.shortcut", ready, stride) if projects else maps
        maps = convolution(state, f"{name}.conv2", inner, padding=1) + shortcut
    return linear(state, "fc", rectified(batch_norm(state, "bn", maps, training)).mean((2, 3)))


def cifar_resnet(state: State, images: Tensor, training: bool) -> Tensor:
    """Return the logits of a residual network for CIFAR (He et al., 2016), shortcuts of option A.

    Where a block doubles the channels, its shortcut is every second pixel between zeros.
    """
    maps = convolution(state, "conv1", images, padding=1)
    maps = rectified(batch_norm(state, "bn1", maps, training))
    blocks = sum(name.endswith("conv2.weight") for name in state)
    for block in range(blocks):
        name, stride = f"blocks.{block}", 2 if block in (blocks // 3, 2 * blocks // 3) else 1
        inner = convolution(state, f"{name}.conv1", maps, stride, padding=1)
        inner = rectified(batch_norm(state, f"{name}.bn1", inner, training))
        inner = convolution(state, f"{name}.conv2", inner, padding=1)
        inner = batch_norm(state, f"{name}.bn2", inner, training)
        if stride == 2:
            seen = maps[:, :, ::2, ::2]
            zeros = torch.zeros_like(seen[:, : seen.shape[1] // 2])
            maps = torch.cat([zeros, seen, zeros], dim=1)
        maps = rectified(inner + maps)
    return linear(state, "fc", maps.mean((2, 3)))


def mlp(state: State, images: Tensor, training: bool) -> Tensor:
    """Return the logits of linear layers fc1, fc2, … with ReLU between them."""
    layers = sum(name.endswith("weight") for name in state)
    hidden = images.flatten(1)
    for number in range(1, layers):
        hidden = rectified(linear(state, f"fc{number}", hidden))
    return linear(state, f"fc{layers}", hidden)


def linear(state: State, name: str, rows: Tensor) -> Tensor:
    return rows @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def convolution(state: State, name: str, maps: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(maps, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)


def batch_norm(state: State, name: str, x: Tensor, training: bool) -> Tensor:
    running = (state[f"{name}.running_mean"], state[f"{name}.running_var"])
    return F.batch_norm(
        x,
        *running,
        state[f"{name}.weight"],
        state[f"{name}.bias"],
        training,
        momentum=0.1,
        eps=1e-5,
    )


def rectified(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def largest_of_four(maps: Tensor) -> Tensor:
    """Return the maximum of each 2×2 square of pixels; an odd last row or column is left out."""
    return maps.unfold(2, 2, 2).unfold(3, 2, 2).amax((-2, -1))
