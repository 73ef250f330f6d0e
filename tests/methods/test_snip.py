"""SNIP on one layer and one image, worked out by hand."""

import pytest
import torch
from torch import nn

from dstrun.methods.layer_weights import all_weights
from dstrun.methods.snip import Snip

WEIGHTS = [[0.5, 0.75], [4.0, -1.0]]
IMAGES, LABELS = torch.tensor([[1.0, 2.0]]), torch.tensor([0])


def test_scores_are_gradient_times_weight() -> None:
    """Both logits are 2, so p = (½, ½) and ∂L/∂logits = (−½, ½), times the image (1, 2).

    G = [[−½, −1], [½, 1]]; |G ⊙ W| = [[¼, ¾], [2, 1]]. Half of 4: the second row.
    """
    model = nn.Sequential(nn.Linear(2, 2, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(WEIGHTS))
    method = Snip(0.5, images=1)
    method.prepare(model, past=[])
    method.begin(1, torch.optim.SGD(model.parameters(), lr=0.1))
    network = method.network(method.plain(model))
    method.see(network, iter([(IMAGES.double(), LABELS)]))
    (scores,) = method.scores(network, list(all_weights(network).values()))
    expected = torch.tensor([[0.25, 0.75], [2.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)
    method.initialise(model, iter([(IMAGES.double(), LABELS)]))
    assert model[0].weight.tolist() == [[0.0, 0.0], WEIGHTS[1]]


def test_pieces_of_images_add_up_to_the_gradient_of_all() -> None:
    """7 images in batches of 3 are pieces of 3, 2 and 2, each with its share of the mean."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    images, labels = torch.rand(9, 4, dtype=torch.float64), torch.arange(9) % 3
    method = Snip(0.5, images=7)
    method.prepare(model, past=[])
    network = method.network(method.plain(model))
    weights = [network[0].weight, network[2].weight]
    method.see(network, zip(images.split(3), labels.split(3), strict=True))
    scores = method.scores(network, list(all_weights(network).values()))
    loss = nn.functional.cross_entropy(network(images[:7]), labels[:7])
    for score, weight, gradient in zip(
        scores, weights, torch.autograd.grad(loss, weights), strict=True
    ):
        torch.testing.assert_close(score, (gradient * weight).abs(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (128, "snip, density 5.00%, 128 images, 3 rounds"),
        (0, "snip, density 5.00%, 10 images of each class, 3 rounds"),
    ],
)
def test_it_says_what_it_scores_by(images: int, line: str) -> None:
    assert Snip(0.05, images=images, iterations=3).describe() == line
