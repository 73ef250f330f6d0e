"""ViT and GPT compared with their papers: counts, causality, initialisation, what they compute."""

import re
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dstrun.models import BUILDERS
from dstrun.models.transformer import Block

MODELS = Path(__file__).parents[2] / "conf" / "model"
SMALL: dict[str, Any] = {"depth": 2, "width": 12, "heads": 3}


def chosen(name: str) -> dict[str, Any]:
    described = yaml.safe_load((MODELS / f"{name}.yaml").read_text())
    assert described["name"] == name
    return {"builder": described["builder"], **described["args"]}


def build(builder: str, shape: tuple[int, ...], classes: int, seed: int = 0, **args: Any) -> Any:
    torch.manual_seed(seed)
    return BUILDERS[builder](shape, classes, **args)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("args", "shape", "classes", "parameters"),
    [
        # timm's vit_small_patch16_224, Touvron et al., 2021, table 1: 22 M; DeiT-Ti: 5 M
        (chosen("deit_small"), (3, 224, 224), 1000, 22_050_664),
        (chosen("deit_small") | {"width": 192, "heads": 3}, (3, 224, 224), 1000, 5_717_416),
        # torchvision's vit_b_16
        (chosen("deit_small") | {"width": 768, "heads": 12}, (3, 224, 224), 1000, 86_567_656),
        (chosen("vit_tiny"), (3, 32, 32), 10, 2_693_578),
        (chosen("vit"), (1, 28, 28), 10, 1_199_882),
    ],
)
def test_a_vision_transformer_has_the_published_number_of_parameters(
    args: dict[str, Any], shape: tuple[int, ...], classes: int, parameters: int
) -> None:
    with torch.device("meta"):
        model = build(shape=shape, classes=classes, **args)
        assert model(torch.empty(2, *shape)).shape == (2, classes)
    assert count(model) == parameters


def test_gpt_has_the_number_of_parameters_of_gpt_2() -> None:
    """Check GPT-2 small, 124,439,808: 50,257 tokens, 1,024 positions, one weight for both ends."""
    sizes = {"depth": 12, "width": 768, "heads": 12, "tied": True}
    with torch.device("meta"):
        model = build("gpt", (1024,), 50_257, **sizes)
        assert model(torch.zeros(2, 8, dtype=torch.int64)).shape == (2, 8, 50_257)
    assert count(model) == 124_439_808
    assert model.head.weight is model.embedding.weight


@pytest.mark.parametrize("name", ["gpt", "vit", "vit_tiny"])
def test_the_same_seed_builds_the_same_model(name: str) -> None:
    shape = (8,) if name == "gpt" else (3, 8, 8)
    args = chosen(name) | {"depth": 1}
    first, again, other = (build(shape=shape, classes=5, seed=s, **args) for s in (3, 3, 4))
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not torch.equal(first.head.weight, other.head.weight)


def test_every_layer_of_a_block_is_one_linear_layer() -> None:
    block = Block(12, 3)
    layers = [name for name, one in block.named_modules() if type(one) is nn.Linear]
    attention = [f"attention.{name}" for name in ("q", "k", "v", "out")]
    assert layers == [*attention, "mlp.fc1", "mlp.fc2"]
    assert sum(p.numel() for p in block.parameters() if p.dim() > 1) == 12 * 12 * 12


def test_a_later_token_changes_no_earlier_logits() -> None:
    model = build("gpt", (9,), 11, **SMALL).double().eval()
    tokens = torch.randint(11, (4, 9))
    changed = tokens.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 11
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :6], after[:, :6])
    assert (before[:, 6:] != after[:, 6:]).flatten(1).any(1).all()
    assert (before[:, 8] != after[:, 8]).any(), "the last token sees the sixth"


def test_a_patch_anywhere_changes_the_classes_of_its_image_only() -> None:
    model = build("vit", (3, 8, 8), 5, **SMALL).double().eval()
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    for row, column in ((0, 0), (7, 7)):
        changed = images.clone()
        changed[0, :, row, column] += 1
        assert (model(images)[0] != model(changed)[0]).all()
        assert torch.equal(model(images)[1], model(changed)[1])


# What they compute


def reference_block(
    state: dict[str, Tensor], x: Tensor, heads: int, eps: float, mask: Tensor
) -> Tensor:
    """Return a block's output for x (B, T, width), head by head, without fused kernels."""
    width = x.shape[-1]

    def linear(name: str, vectors: Tensor) -> Tensor:
        return vectors @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, vectors: Tensor) -> Tensor:
        spread = vectors - vectors.mean(-1, keepdim=True)
        spread = spread / (spread.square().mean(-1, keepdim=True) + eps).sqrt()
        return spread * state[f"{name}.weight"] + state[f"{name}.bias"]

    inner = norm("norm1", x)
    q, k, v = (linear(f"attention.{name}", inner) for name in "qkv")
    mixed = []
    for head in range(heads):
        own = slice(head * width // heads, (head + 1) * width // heads)
        scores = q[..., own] @ k[..., own].mT / sqrt(width // heads) + mask
        mixed.append(scores.softmax(-1) @ v[..., own])
    x = x + linear("attention.out", torch.cat(mixed, -1))
    hidden = linear("mlp.fc1", norm("norm2", x))
    hidden = hidden * (1 + torch.erf(hidden / sqrt(2))) / 2
    return x + linear("mlp.fc2", hidden)


def disturbed(model: nn.Module) -> nn.Module:
    """Return the model in fp64 with biases and norms that are not at 0 and 1."""
    torch.manual_seed(1)
    for parameter in model.double().parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def part(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors of one part of a model, by their names in it."""
    return {key[len(name) + 1 :]: one for key, one in state.items() if key.startswith(f"{name}.")}


@pytest.mark.parametrize("causal", [False, True])
def test_a_block_is_the_written_one_with_its_gradients(causal: bool) -> None:
    block = disturbed(Block(12, 3, causal=causal, eps=1e-5))
    x = torch.randn(2, 5, 12, dtype=torch.float64, requires_grad=True)
    unseen = torch.full((5, 5), -torch.inf, dtype=torch.float64).triu(1)
    mask = unseen if causal else torch.zeros_like(unseen)
    names, parameters = zip(*block.named_parameters(), strict=True)
    results = []
    for output in (block(x), reference_block(dict(block.named_parameters()), x, 3, 1e-5, mask)):
        weights = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view_as(output)
        slopes = torch.autograd.grad((output * weights).sum(), [x, *parameters])
        results.append([output.detach(), *slopes])
    for name, ours, theirs in zip(["output", "input", *names], *results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12, msg=name)


def test_vit_is_patches_class_token_positions_blocks_and_head() -> None:
    """Compare with the written network on images of unequal sides: 2 × 3 patches of 4 × 4."""
    model = disturbed(build("vit", (3, 8, 12), 5, **SMALL)).eval()
    images, state = torch.rand(2, 3, 8, 12, dtype=torch.float64), model.state_dict()
    tokens = [state["class_token"].expand(2, 12)]
    for row in (0, 4):
        for column in (0, 4, 8):
            patch = images[:, :, row : row + 4, column : column + 4].flatten(1)
            mapped = patch @ state["patches.weight"].flatten(1).T + state["patches.bias"]
            tokens.append(mapped)
    x = torch.stack(tokens, 1) + state["positions"]
    for block in ("blocks.0", "blocks.1"):
        x = reference_block(part(state, block), x, 3, 1e-6, x.new_zeros(()))
    x = F.layer_norm(x[:, 0], (12,), state["norm.weight"], state["norm.bias"], 1e-6)
    expected = x @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(model(images), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_gpt_is_embedding_positions_causal_blocks_and_head(tied: bool) -> None:
    model = disturbed(build("gpt", (6,), 7, context=9, tied=tied, **SMALL)).eval()
    tokens, state = torch.randint(7, (2, 6)), model.state_dict()
    x = state["embedding.weight"][tokens] + state["positions"][:6]
    mask = torch.full((6, 6), -torch.inf, dtype=torch.float64).triu(1)
    for block in ("blocks.0", "blocks.1"):
        x = reference_block(part(state, block), x, 3, 1e-5, mask)
    x = F.layer_norm(x, (12,), state["norm.weight"], state["norm.bias"])
    expected = x @ state["embedding.weight" if tied else "head.weight"].T
    torch.testing.assert_close(model(tokens), expected, rtol=1e-11, atol=1e-12)


# How they begin


def has_spread(tensor: Tensor, std: float) -> bool:
    """Return whether values look normal with a mean of 0, within five standard errors."""
    n = tensor.numel()
    is_centred = abs(tensor.mean().item()) < 5 * std / sqrt(n)
    is_wide = abs(tensor.std().item() / std - 1) < 5 / sqrt(2 * n)
    return is_centred and is_wide and tensor.abs().max().item() > 2.2 * std


def test_weights_begin_as_those_of_deit_and_gpt_2() -> None:
    vit = build("vit", (3, 16, 16), 50, depth=2, width=64)
    gpt = build("gpt", (32,), 50, depth=8, width=64)
    for model in (vit, gpt):
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                adds = model is gpt and name.endswith(("attention.out", "fc2"))
                assert has_spread(module.weight, 0.02 / 4 if adds else 0.02), name
            if isinstance(module, nn.Linear) and module.bias is not None:
                assert not module.bias.any(), name
        assert has_spread(model.positions, 0.02)
    assert vit.class_token.std().item() == pytest.approx(0.02, rel=0.4)  # of 64 values
    assert gpt.head.bias is None
    bound = 1 / sqrt(3 * 4 * 4)
    assert 0.99 * bound < vit.patches.weight.abs().max().item() <= bound, "torch's own"


# Dropout


def test_dropout_and_stochastic_depth_act_in_training_only() -> None:
    x = torch.randn(400, 2, 12)
    for options in ({"dropout": 0.25}, {"drop_path": 0.25}):
        torch.manual_seed(0)
        plain, block = Block(12, 3), Block(12, 3, **options)
        block.load_state_dict(plain.state_dict())
        assert torch.equal(block.eval()(x), plain(x))
        assert not torch.equal(block.train()(x), plain(x))


def test_stochastic_depth_leaves_out_the_branch_of_some_examples() -> None:
    """Let attention add 1 and the MLP nothing: an example gets 0 or 1 / 0.75 everywhere."""
    torch.manual_seed(0)
    block, x = Block(12, 3, drop_path=0.25), torch.zeros(400, 2, 12)
    for layer in (block.attention.out, block.mlp.fc2):
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, float(layer is block.attention.out))
    added = block(x).flatten(1)
    values, shares = added.unique(return_counts=True)
    torch.testing.assert_close(values, torch.tensor([0, 1 / 0.75]))
    assert shares[0].item() / added.numel() == pytest.approx(0.25, abs=0.1)
    assert (added.std(1) == 0).all(), "an example whole or not at all"


def test_stochastic_depth_rises_from_the_first_block_to_the_last() -> None:
    model = build("vit", (3, 8, 8), 5, depth=5, width=12, heads=3, drop_path=0.1)
    assert [block.drop_path for block in model.blocks] == pytest.approx(
        [0, 0.025, 0.05, 0.075, 0.1]
    )
    assert build("vit", (3, 8, 8), 5, depth=1, drop_path=0.1).blocks[0].drop_path == 0


@pytest.mark.parametrize("builder", ["vit", "gpt"])
def test_dropout_acts_on_the_sum_of_tokens_and_positions(builder: str) -> None:
    shape = (3, 8, 8) if builder == "vit" else (8,)
    model = build(builder, shape, 5, depth=1, width=12, heads=3, dropout=0.5)
    seen: list[Tensor] = []
    model.blocks.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    inputs = torch.rand(9, *shape) if builder == "vit" else torch.randint(5, (9, 8))
    model(inputs)
    model.eval()(inputs)
    assert [(one == 0).float().mean().item() for one in seen] == pytest.approx([0.5, 0], abs=0.1)


# What they refuse


@pytest.mark.parametrize(
    ("builder", "shape", "args", "message"),
    [
        ("vit", (3, 32, 32), {"patch": 5}, "patch is 5, expected a divisor of the images' sides, "),
        ("vit", (3, 32, 30), {"patch": 4}, "patch is 4, expected a divisor of the images' sides, "),
        ("vit", (3, 30, 32), {"patch": 4}, "patch is 4, expected a divisor of the images' sides, "),
        ("vit", (3, 32, 32), {"patch": 0}, "patch is 0, expected a divisor of the images' sides, "),
        ("vit", (3, 32, 32), {"depth": 0}, "depth is 0, expected at least 1"),
        ("vit", (3, 32, 32), {"heads": 0}, "heads is 0, expected at least 1"),
        (
            "vit",
            (3, 32, 32),
            {"heads": 3},
            "width is 128 and heads 3, expected a multiple of heads",
        ),
        ("vit", (3, 32, 32), {"dropout": 1.0}, "dropout is 1.0, expected at least 0 and less than"),
        (
            "vit",
            (3, 32, 32),
            {"drop_path": -0.1},
            "drop_path is -0.1, expected at least 0 and less",
        ),
        ("gpt", (32,), {"width": 0}, "width is 0, expected at least 1"),
        ("gpt", (32,), {"dropout": 2}, "dropout is 2, expected at least 0 and less than 1"),
        ("gpt", (32,), {"context": 31}, "context is 31 and a sequence of the data has 32 tokens, "),
        ("gpt", (32,), {"context": -1}, "context is -1 and a sequence of the data has 32 tokens, "),
        ("gpt", (3, 8, 8), {}, "the data are 3×8×8, expected sequences of tokens (data=text)"),
    ],
)
def test_sizes_that_make_no_transformer_are_refused(
    builder: str, shape: tuple[int, ...], args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        build(builder, shape, 10, **args)


def test_a_sequence_longer_than_the_context_is_refused() -> None:
    model = build("gpt", (8,), 10, context=9, **SMALL)
    assert model(torch.zeros(1, 9, dtype=torch.int64)).shape == (1, 9, 10)
    with pytest.raises(ValueError, match=r"^a sequence has 10 tokens, the model takes 9$"):
        model(torch.zeros(1, 10, dtype=torch.int64))


@torch.no_grad()
@pytest.mark.parametrize("builder", ["vit", "gpt"])
def test_torch_fx_traces_the_whole_model(builder: str) -> None:
    """Trace it, then call the traced model, with as many tokens, with fewer, and with too many."""
    shape = (3, 8, 8) if builder == "vit" else (8,)
    model = build(builder, shape, 10, **SMALL).eval()
    traced = fx.symbolic_trace(model)
    if builder == "vit":
        images = torch.randn(2, 3, 8, 8)
        assert torch.equal(traced(images), model(images))
        return
    for length in (8, 5):
        tokens = torch.randint(10, (2, length))
        assert torch.equal(traced(tokens), model(tokens))
    with pytest.raises(ValueError, match=r"^a sequence has 9 tokens, the model takes 8$"):
        traced(torch.zeros(1, 9, dtype=torch.int64))


@pytest.mark.parametrize("builder", ["vit", pytest.param("gpt", marks=pytest.mark.slow)])
def test_a_program_of_torch_export_takes_any_number_of_examples(builder: str) -> None:
    """Export for a batch of two and call for three: no size of a batch is written into it."""
    shape = (3, 8, 8) if builder == "vit" else (8,)
    model = build(builder, shape, 5, **SMALL).eval()
    inputs = torch.rand(3, *shape) if builder == "vit" else torch.randint(5, (3, 8))
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (inputs[:2],), dynamic_shapes=(batch,))
    torch.testing.assert_close(program.module()(inputs), model(inputs))
