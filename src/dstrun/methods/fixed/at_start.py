"""Base class of methods that choose masks before training, by scores of the untrained network.

    round k of n: keep the d^(k/n) · N weights of highest score, of all layers together

Scores are those of a copy of the network without masks, uncompiled and without autocast, so the
model keeps its mode, gradients and statistics of batch norm. Dropout draws from the seed, and
generators stay as they are.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import ceil, inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.methods.fixed.distribution import NAMED, Shapes, refuse_less_than
from dstrun.methods.fixed.method import FixedMaskMethod
from dstrun.methods.fixed.selection import select_share
from dstrun.methods.layer_weights import LayerWeight, all_weights

OF_EACH_CLASS = 10
Batches = Iterator[tuple[Tensor, Tensor]]
Weights = Sequence[LayerWeight]


class AtStart(FixedMaskMethod):
    """Masks by `scores`, which then stay.

    density: share of the masked layers' weights that is kept, in (0, 1). iterations: rounds, n.
    """

    def __init__(self, density: float, *, iterations: int = 1, **options: Any) -> None:
        super().__init__(density=density, **options)
        self._rounds = iterations
        self._has_masks = False

    def describe(self) -> str:
        """Return 'synflow, density 5.00%, 100 rounds', and name layers without a weight."""
        structure = "" if self.structure == "none" else f" ({self.structure})"
        words = [type(self).__name__.lower(), f"density {self.density:.2%}{structure}"]
        words += [self.scored_by()] if self.scored_by() else []
        words += [f"{self._rounds} rounds"] if self._rounds > 1 else []
        if empty := [layer.name for layer in self.layers if not layer.kept]:
            more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
            words.append(f"no weight is left in {', '.join(empty[:NAMED])}{more}")
        return ", ".join(words)

    def check_density(self, shapes: Shapes) -> None:
        """Raise ValueError for fewer weights than layers; scores may leave a row without one."""
        if self.structure == "fan_in":
            super().check_density(shapes)
        else:
            kept = self.number_kept(shapes)
            refuse_less_than(len(shapes), "layers", shapes, kept, self.density)

    def scored_by(self) -> str:
        """Return the images that scores go by, in words."""
        return ""

    def network(self, copy: nn.Module) -> nn.Module:
        """Return the network that is scored, made of a plain copy of the model."""
        return copy.train()

    def scores(self, network: nn.Module, weights: Weights) -> list[Tensor]:
        """Return a score for every weight, rows first; those that are pruned already are 0."""
        raise NotImplementedError

    def see(self, network: nn.Module, batches: Batches) -> None:
        """Take the training images that scores go by."""

    def initialise(self, model: nn.Module, batches: Batches) -> None:
        """Choose the masks, before the first step. Raises RuntimeError for scores without end."""
        devices = {one.device for one in model.parameters() if one.device.type == "cuda"}
        with torch.random.fork_rng(list(devices)):
            torch.manual_seed(self.seed)
            network = self.network(self.plain(model))
            self.see(network, batches)
            keeps = self._choose(network)
        for layer, keep in zip(self.layers, keeps, strict=True):
            self.move(layer, keep)
        self._take_masks()
        self._has_masks = True

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, after the model's own state, which holds the masks."""
        super().load_state_dict(state)
        self._has_masks = True

    def before_step(self, step: int) -> None:
        """Note the step. Raises RuntimeError before masks are chosen."""
        super().before_step(step)
        if not self._has_masks:
            name = type(self).__name__.lower()
            raise RuntimeError(
                f"{name} chooses its masks by initialise(model, batches): call it after begin()"
            )

    def _choose(self, network: nn.Module) -> list[Tensor]:
        """Return the masks, and leave 0 for pruned weights in the network."""
        by_name = all_weights(network)
        weights = [by_name[layer.name] for layer in self.layers]
        for one in weights:
            one.parameter.requires_grad_()
        keeps = [torch.ones_like(one.weight, dtype=torch.bool) for one in weights]
        for number in range(1, self._rounds + 1):
            scores = self.scores(network, weights)
            for layer, score in zip(self.layers, scores, strict=True):
                if not score.isfinite().all():
                    raise RuntimeError(f"scores of {layer.name} are NaN or infinite")
            scores = [s.masked_fill(~keep, -inf) for s, keep in zip(scores, keeps, strict=True)]
            density = self.density ** (number / self._rounds)
            keeps = select_share(scores, density, structure=self.structure)
            with torch.no_grad():
                for one, keep in zip(weights, keeps, strict=True):
                    one.weight.mul_(keep)
        return keeps


class AtStartByImages(AtStart):
    """Scores by gradients of the loss of training images.

    images: how many, the first ones of an order of their own; 0 are ten of each class. All of an
    epoch, if they are fewer.
    """

    temperature = 1.0  # divides the logits

    def __init__(self, density: float, *, images: int = 128, **options: Any) -> None:
        super().__init__(density, **options)
        self._count = images
        self._pieces: list[tuple[Tensor, Tensor]] = []
        self._seen = 0

    def scored_by(self) -> str:
        """Return '128 images'."""
        return f"{self._count} images" if self._count else f"{OF_EACH_CLASS} images of each class"

    def see(self, network: nn.Module, batches: Batches) -> None:
        """Take images, in pieces of a batch's size at most."""
        first = next(batches)
        batches = _with_first(first, batches)
        if self._count:
            images, labels = first_images(batches, self._count)
        else:
            with torch.no_grad():
                classes = network(first[0]).shape[-1]
            images, labels = some_of_each_class(batches, classes)
        self._seen = len(images)
        # batch norm cannot train on a piece of one image
        pieces = max(1, min(ceil(len(images) / len(first[0])), len(images) // 2))
        parts = zip(images.tensor_split(pieces), labels.tensor_split(pieces), strict=True)
        self._pieces = list(parts)

    def initialise(self, model: nn.Module, batches: Batches) -> None:
        """Choose the masks, and forget the images."""
        super().initialise(model, batches)
        self._pieces = []

    def gradients(
        self, network: nn.Module, weights: Weights, create_graph: bool = False
    ) -> Iterator[tuple[Tensor, ...]]:
        """Yield the gradients of each piece's share of the mean loss."""
        for images, labels in self._pieces:
            logits = network(images) / self.temperature
            loss = F.cross_entropy(logits.flatten(0, -2), labels.flatten())  # of a text: each byte
            loss = loss * (len(images) / self._seen)
            yield gradients_of(loss, weights, create_graph)


def gradients_of(
    output: Tensor, weights: Weights, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Return the gradients of a scalar with respect to weights, rows first."""
    parameters = [one.parameter for one in weights]
    found = torch.autograd.grad(
        output, parameters, create_graph=create_graph, materialize_grads=True
    )
    return tuple(one.of(gradient) for one, gradient in zip(weights, found, strict=True))


def added(parts: Iterator[tuple[Tensor, ...]]) -> list[Tensor]:
    """Return the sum of tuples of tensors."""
    total = [part.detach() for part in next(parts)]
    for part in parts:
        total = [one + other for one, other in zip(total, part, strict=True)]
    return total


def first_images(batches: Batches, count: int) -> tuple[Tensor, Tensor]:
    """Return the first `count` images and labels, or all where they are fewer."""
    found: list[tuple[Tensor, Tensor]] = []
    for images, labels in batches:
        found.append((images[:count], labels[:count]))
        count -= len(found[-1][0])
        if count <= 0:
            break
    return torch.cat([images for images, _ in found]), torch.cat([labels for _, labels in found])


def some_of_each_class(
    batches: Batches, classes: int, each: int = OF_EACH_CLASS
) -> tuple[Tensor, Tensor]:
    """Return the first `each` images of every class, and their labels; fewer where there are."""
    taken: Counter[int] = Counter()
    found: list[tuple[Tensor, Tensor]] = []
    for images, labels in batches:
        places = []
        for place, label in enumerate(labels.tolist()):
            if taken[label] < each:
                taken[label] += 1
                places.append(place)
        found.append((images[places], labels[places]))
        if taken.total() == classes * each:
            break
    return torch.cat([images for images, _ in found]), torch.cat([labels for _, labels in found])


def _with_first(first: tuple[Tensor, Tensor], batches: Batches) -> Batches:
    yield first
    yield from batches
