"""Export of a text model whose head computes with the embedding's weight, which has a mask."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, load_model
from torch import Tensor, nn

import dstrun
from dstrun.export import benchmark, onnx
from dstrun.export.about import About
from dstrun.export.csr import CSRLinear
from dstrun.export.load import load, save
from dstrun.export.trained import Trained as TrainedNetwork
from dstrun.export.trained import compare_outputs, load_trained
from tests.helpers.commands import Command, Trained
from tests.helpers.runs import only_run

SIZES = {"depth": 1, "width": 8, "heads": 2}
TIED = About("gpt", {**SIZES, "tied": True}, (6,), 11, [0.0], [1.0])
FORMATS = {
    "plain.safetensors": [],
    "packed.safetensors": ["--format", "sparse"],
    "csr.safetensors": ["--format", "csr"],
    "program.pt2": [],
    "smaller.pt2": ["--shrink"],
    "model.onnx": [],
    "smaller.onnx": ["--shrink"],
}


@pytest.fixture
def run(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a gpt that keeps a tenth of its weights."""
    place = tmp_path_factory.mktemp("prose")
    lines = [f"The {7 * n % 13} sheep and the {5 * n % 11} goats went up.\n" for n in range(99)]
    (place / "a.txt").write_text("".join(lines))
    sizes = [f"model.args.{key}={value}" for key, value in SIZES.items()]
    options = ["schedule.epochs=2", "schedule.lr=0.01", "threads=1", "data.test_limit=20"]
    tied = ["model.args.tied=true", "reg.tied=share", "reg.include=[embedding]"]
    text = ["data=text", f"data.root={place}", "data.args.length=16", "reg.target_density=0.1"]
    trained("model=gpt", *text, *sizes, *options, *tied)
    return only_run()


def sparse_weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    weights = TIED.build().state_dict()
    for value in weights.values():
        if value.dim() > 1:  # in place: a weight of two names stays one
            value.mul_(torch.rand_like(value) < 0.2)
    return weights


@pytest.mark.parametrize("kind", ["dense", "packed", "csr"])
@torch.no_grad()
def test_a_weight_of_two_names_is_in_a_file_once_and_one_again(tmp_path: Path, kind: str) -> None:
    file, weights = tmp_path / "tied.safetensors", sparse_weights()
    save(file, TIED, weights, kind)
    assert not [name for name in load_file(file) if name.startswith("head")]
    expected = TIED.build().eval()
    expected.load_state_dict(weights)
    tokens = TIED.random(3)
    model = load(file)
    torch.testing.assert_close(model(tokens), expected(tokens), rtol=1e-6, atol=1e-6)
    if kind == "csr":  # which have no embedding
        assert isinstance(model.head, CSRLinear)
        return
    assert model.head.weight is model.embedding.weight
    assert model.about == TIED
    if kind == "dense":
        assert load_model(TIED.build(), file) == (set(), [])  # as others read it


def test_weights_that_are_equal_but_two_are_both_in_the_file(tmp_path: Path) -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    model["b"].load_state_dict(model["a"].state_dict())
    save(tmp_path / "x.safetensors", TIED, model.state_dict(), "dense")
    assert set(load_file(tmp_path / "x.safetensors")) == {
        "a.weight",
        "a.bias",
        "b.weight",
        "b.bias",
    }


def test_inputs_of_a_text_model_are_tokens() -> None:
    assert TIED.example(2).tolist() == [[0] * 6] * 2
    assert TIED.example().dtype == TIED.random(3).dtype == torch.int64
    assert torch.equal(TIED.random(3), TIED.random(3))
    assert set(TIED.random(99).flatten().tolist()) == set(range(11))
    assert About("lenet5", {}, (1, 2, 2), 3, [], []).example().tolist() == [[[[0.0, 0], [0, 0]]]]


def test_outputs_are_compared_for_every_byte() -> None:
    """Two sequences of two bytes, of which the last is predicted otherwise, and right.

    ln 2 for each byte of two equal logits, and log(1 + e⁻¹) nats for the other.
    """
    logits, labels = torch.zeros(2, 2, 2), torch.tensor([[0, 0], [0, 1]])

    def exported(batch: Tensor) -> Tensor:
        return batch + torch.tensor([0.0, 1.0]) * (torch.arange(4).view(2, 2, 1) == 3)

    model = nn.Identity()
    trained = TrainedNetwork(Path(), model, model, TIED, [], lambda: [(logits, labels)])
    found = compare_outputs(trained, exported)
    assert (found["sequences"], found["largest_difference"], found["top1_differs"]) == (2, 1, 1)
    bits = (3 + float(torch.tensor(-1.0).exp().log1p()) / float(torch.tensor(2.0).log())) / 4
    assert found["bits_per_byte"] == pytest.approx(bits)
    assert found["perplexity"] == pytest.approx(2**bits)


@torch.no_grad()
def test_a_shrunk_network_has_a_weight_of_two_names_once() -> None:
    """Of 32 hidden units 5 are dead, each with 8 weights, a bias, and 8 weights that read it."""
    model = TIED.build().eval()
    model.blocks[0].mlp.fc1.weight[:5] = 0
    smaller, tokens = dstrun.shrink(model, TIED.example()), TIED.random(3)
    count = sum(parameter.numel() for parameter in smaller.parameters())
    assert count == sum(parameter.numel() for parameter in model.parameters()) - 5 * 17
    torch.testing.assert_close(smaller(tokens), model(tokens), rtol=1e-5, atol=1e-6)


def test_a_run_of_a_text_model_is_exported(command: Command, run: Path) -> None:
    outcome = command("export", str(run), "--to", "a.safetensors", "--format", "csr")
    assert (outcome.code, outcome.err) == (0, "")
    assert "checked on 20 test sequences: largest difference" in outcome.out
    assert "no sparse kernel, computed dense: embedding\n" in outcome.out
    record, summary = (
        json.loads(Path("export.json").read_text())["a.safetensors"],
        json.loads((run / "summary.json").read_text()),
    )
    for key in ("parameters", "parameters_kept", "multiply_adds", "multiply_adds_kept"):
        assert record[key] == summary[key]
    assert record["bits_per_byte"] == pytest.approx(summary["test_bits_per_byte"], abs=1e-5)
    assert sum(layer["weights"] for layer in record["layers"]) == summary["weights"]


@pytest.mark.slow
def test_every_format_of_a_text_model(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load_trained(run)
    tokens = found.about.random(3)
    expected = found.masked(tokens).detach()
    for name, words in FORMATS.items():
        outcome = command("export", str(run), "--to", name, *words)
        assert (outcome.code, outcome.err) == (0, ""), name
        is_onnx = name.endswith(".onnx")
        network = onnx.load_network(Path(name).read_bytes()) if is_onnx else dstrun.load(name)
        with torch.no_grad():
            torch.testing.assert_close(network(tokens), expected, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(benchmark, "ROUNDS", 2)
    monkeypatch.setattr(benchmark, "SECONDS", 0.001)
    said = command("export", str(run), "--bench").out
    assert "sequences/s" in said
    for variant in ("dense", "shrunk", "CSR", "ONNX Runtime, shrunk", "bf16"):
        assert f"│ {variant} " in said
