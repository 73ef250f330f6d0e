"""`dstrun export` and `dstrun.load`: every format compared with the masked model."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import dstrun
from dstrun.export import benchmark, load
from dstrun.export.csr import CSRLinear
from dstrun.export.export import export
from dstrun.export.size import measure_size
from dstrun.export.trained import Trained as TrainedNetwork
from dstrun.methods.mask_stats import measure
from dstrun.models import BUILDERS
from dstrun.models.lenet import LeNet300100
from dstrun.runs import checkpoint
from dstrun.system.errors import InputError
from tests.helpers.commands import Command, Trained
from tests.helpers.runs import only_run

SPARSE = [
    "schedule.epochs=3",
    "data.train_limit=400",
    "data.test_limit=100",
    "reg.target_density=0.02",
    "threads=1",
    "schedule.lr=0.05",
]
FORMATS = {
    "plain.safetensors": [],
    "packed.safetensors": ["--format", "sparse"],
    "csr.safetensors": ["--format", "csr"],
    "program.pt2": [],
    "smaller.pt2": ["--shrink"],
    "smaller.onnx": ["--shrink"],
}


@pytest.fixture
def run(trained: Trained) -> Path:
    """Return the folder of a LeNet-300-100 that keeps 2 % of its weights."""
    trained(*SPARSE)
    return only_run()


def masked_outputs(run: Path, images: torch.Tensor) -> torch.Tensor:
    """Return the outputs of the training code's own masked layers."""
    model = LeNet300100((1, 28, 28), 10)
    dstrun.sparsify(model)
    model.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["model"])
    with torch.no_grad():
        return model.eval()(images)


FRESH = """
import sys, torch
images = torch.load("images.pt")
torch.export.load("program.pt2").module()(images)
assert "dstrun" not in sys.modules
import dstrun
outputs = {name: dstrun.load(name)(images) for name in sys.argv[1:]}
loaded = {name.split(".")[1] for name in sys.modules if name.startswith("dstrun.")}
assert loaded & {"training", "data", "sweep", "compare", "cli"} == set(), loaded
torch.save({name: value.detach() for name, value in outputs.items()}, "outputs.pt")
"""


@pytest.mark.slow
def test_every_format(command: Command, run: Path) -> None:
    images = torch.rand(7, 1, 28, 28)
    expected = masked_outputs(run, images)
    for name, words in FORMATS.items():
        outcome = command("export", str(run), "--to", name, *words)
        assert (outcome.code, outcome.err) == (0, ""), name
        assert "checked on 100 test images: largest difference" in outcome.out
        hints = {
            "program.pt2": "stored as zeros: --shrink leaves out dead parts; --format sparse (",
            "plain.safetensors": "stored as zeros: --format sparse (.safetensors) stores only the",
        }
        assert hints.get(name, "bytes") in outcome.out
        assert ("as zeros" in outcome.out) is (name in hints)
        if not name.endswith(".onnx"):
            with torch.no_grad():
                torch.testing.assert_close(
                    dstrun.load(name)(images), expected, rtol=1e-4, atol=1e-5
                )
    record = json.loads(Path("export.json").read_text())
    assert set(record) == set(FORMATS)
    for name, facts in record.items():
        assert (facts["images"], facts["top1_differs"]) == (100, 0)
        assert facts["largest_difference"] < 1e-4
        assert facts["bytes"] == Path(name).stat().st_size
    facts = record["packed.safetensors"]
    assert facts["bytes"] < 0.04 * facts["bytes_dense"]
    assert (facts["parameters"], facts["multiply_adds"]) == (266_610, 266_200)
    assert facts["multiply_adds_kept"] == sum(layer["kept"] for layer in facts["layers"]) == 5324
    assert record["smaller.onnx"]["opset"] == 20
    assert record["smaller.onnx"]["parameters_shrunk"] < 266_610
    assert {file.name for file in Path().iterdir()} == {*FORMATS, "export.json", "outputs"}
    calls = [
        node for node in torch.export.load("program.pt2").graph.nodes if node.op == "call_function"
    ]
    assert {call.target.namespace for call in calls} == {"aten"}, "nothing of dstrun"


@pytest.mark.slow
def test_every_format_in_a_fresh_process(command: Command, run: Path) -> None:
    """Load every file, and the run folder, without training code; a .pt2 file without dstrun."""
    images = torch.rand(7, 1, 28, 28)
    expected = masked_outputs(run, images)
    torch.save(images, "images.pt")
    names = [name for name in FORMATS if not name.endswith(".onnx")]
    for name in names:
        assert command("export", str(run), "--to", name, *FORMATS[name]).code == 0
    subprocess.run([sys.executable, "-c", FRESH, *names, str(run)], check=True)
    for name, outputs in torch.load("outputs.pt", weights_only=True).items():
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5, msg=name)


def test_plain_weights_are_those_of_the_plain_model_and_really_zero(
    command: Command, run: Path
) -> None:
    command("export", str(run), "--to", "plain.safetensors")
    weights = load_file("plain.safetensors")
    plain = LeNet300100((1, 28, 28), 10)
    plain.load_state_dict(weights, strict=True)
    images = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(plain(images), masked_outputs(run, images))
    assert sum(int((weights[f"fc{n}.weight"] != 0).sum()) for n in (1, 2, 3)) == 5324


def test_a_dense_run_and_its_kernels(command: Command, trained: Trained) -> None:
    trained(*SPARSE, "reg=dense")
    outcome = command("export", str(only_run()), "--to", "a.pt2", "--shrink")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert outcome.err.startswith("dstrun: shrink: nothing can be removed from this network, in ")
    assert not Path("a.pt2").exists()
    assert not Path("export.json").exists()
    model = dstrun.load(only_run())
    assert (model.about.shape, model.about.mean) == ((1, 28, 28), [0.0])  # type: ignore[union-attr]
    assert isinstance(dstrun.load(only_run(), kernels="csr").fc1, nn.Linear), "nothing is sparse"
    (only_run() / "config.yaml").write_text("no: config")
    with pytest.raises(ValueError, match="there is no such option"):
        dstrun.load(only_run())
    with pytest.raises(ValueError, match="kernels is 'gpu', expected dense or csr"):
        dstrun.load(only_run(), kernels="gpu")


def test_stopped_halfway(command: Command, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGTERM, as a cluster does: the old file stays, and no temporary file is left."""
    Path("a.pt2").write_text("old")
    monkeypatch.setattr(load, "load", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert command("export", str(run), "--to", "a.pt2", "--force").code == 128 + signal.SIGTERM
    assert Path("a.pt2").read_text() == "old"
    assert not list(Path().glob(".export-*"))
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def quick_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "ROUNDS", 2)
    monkeypatch.setattr(benchmark, "SECONDS", 0.001)
    monkeypatch.setattr("dstrun.export.export.usable_cores", lambda: 1)


@pytest.mark.slow
def test_an_onnx_file_of_the_whole_network_is_not_recommended(command: Command, run: Path) -> None:
    outcome = command("export", str(run), "--to", "model.onnx")
    assert (outcome.code, outcome.err) == (0, "")
    assert "stored as zeros: --shrink leaves out dead parts; --format sparse" in outcome.out
    assert json.loads(Path("export.json").read_text())["model.onnx"]["opset"] == 20


@pytest.mark.slow  # writing ONNX files takes most of it
def test_the_bench(command: Command, run: Path, quick_bench: None) -> None:
    outcome = command("export", str(run), "--to", "a.pt2", "--bench")
    assert outcome.code == 0
    timed = json.loads(Path("export.json").read_text())["a.pt2"]["bench"]
    assert [row["network"] for row in timed[:7]] == [
        "dense",
        "shrunk",
        "CSR",
        "CSR, shrunk",
        "ONNX Runtime",
        "ONNX Runtime, shrunk",
        "bf16",
    ]
    assert {(row["threads"], row["batch"]) for row in timed} == {(1, 1), (1, 64)}
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in timed)


def test_a_network_that_cannot_be_shrunk(
    command: Command, monkeypatch: pytest.MonkeyPatch, quick_bench: None
) -> None:
    """Export an LSTM: the benchmark leaves the shrunk network out."""
    monkeypatch.setattr(
        "dstrun.export.onnx.missing_packages", lambda: ["onnxruntime"]
    )  # 28 steps take it half a minute
    command(
        "model=lstm_a",
        "model.args.hidden=8",
        "schedule.epochs=1",
        "data.train_limit=200",
        "data.test_limit=50",
    )
    run = str(only_run())
    assert command("export", run, "--to", "lstm.safetensors", "--bench").code == 0
    timed = json.loads(Path("export.json").read_text())["lstm.safetensors"]["bench"]
    assert {row["network"] for row in timed} == {"dense", "CSR", "bf16"}
    assert "bf16" in command("export", run, "--bench").out
    outcome = command("export", run, "--to", "smaller.pt2", "--shrink")
    assert outcome.code == 2
    assert outcome.err.startswith("dstrun: shrink: torch.fx cannot trace this model")
    outcome = command("export", run, "--to", "lstm.onnx")
    assert (
        outcome.err
        == "dstrun: to: .onnx needs onnxruntime; install with: pip install 'dstrun[onnx]'\n"
    )
    assert {file.name for file in Path().iterdir()} == {
        "lstm.safetensors",
        "export.json",
        "outputs",
    }


BAD = {
    "--to model.tar": "to: got model.tar, expected a name that ends in .safetensors, .pt2, .onnx\n",
    "--to a/m.onx": (
        "to: got a/m.onx, expected a name that ends in .safetensors, .pt2, .onnx; "
        "did you mean a/m.onnx?"
    ),
    "--to m.pt": (
        "to: got m.pt, expected a name that ends in .safetensors, .pt2, .onnx; did you mean m.pt2?"
    ),
    "--to model.onnx --format sparse": (
        "to: got model.onnx for the format sparse, expected a name that ends in .safe"
    ),
    "--to a.safetensors --shrink": (
        "shrink: expected a .pt2 or .onnx file, since the other formats need the original model"
    ),
    "--to nowhere/a.pt2": "to: got nowhere/a.pt2, but nowhere is not a writable folder",
    "--to there.pt2": "to: there.pt2 exists already (--force replaces it)",
    "": "export: expected --to PATH or --bench; `dstrun export --help` lists the arguments",
    "--to a.pt2 --tolerance -1": (
        "export: argument --tolerance: got -1.0, expected a number ≥ 0; `dstrun export"
    ),
    "--to a.pt2 data.rot=x": (
        "data.rot=x: export leaves a run as it was trained; only the place of its data can"
    ),
    "--to a.pt2 model=lenet5": "model=lenet5: export leaves a run as it was trained",
    "--to outputs --force": (
        "to: got outputs, a folder, expected the name of a file: outputs/model.onnx"
    ),
    "--to folder.pt2 --force": (
        "to: got folder.pt2, a folder, expected the name of a file: folder.pt2/model.onnx"
    ),
    "--bench --shrink": "export: expected --to PATH with --format, --shrink and --force",
}


def test_what_cannot_be_used_is_one_line_and_leaves_nothing(command: Command, run: Path) -> None:
    Path("there.pt2").write_text("mine")
    Path("folder.pt2").mkdir()
    for words, line in BAD.items():
        outcome = command("export", str(run), *words.split())
        assert outcome.code == 2, words
        assert outcome.err.startswith(f"dstrun: {line}"), words
        assert outcome.err.count("\n") == 1
    assert Path("there.pt2").read_text() == "mine"
    assert {file.name for file in Path().iterdir()} == {"there.pt2", "folder.pt2", "outputs"}
    assert command("export").err.startswith("dstrun: export: expected the folder of a run; ")
    assert command("export", "folder.pt2", "--to", "a.pt2").err == (
        "dstrun: folder.pt2: expected the folder of a run, with a config.yaml in it\n"
    )


@pytest.mark.parametrize("what", ["none", "damaged", "later", "another model"])
def test_checkpoints_that_are_of_no_use(command: Command, run: Path, what: str) -> None:
    path = run / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    if what == "none":
        path.unlink()
    elif what == "damaged":
        path.write_bytes(path.read_bytes()[:-100])
    elif what == "later":
        torch.save(state | {"format": 99}, path)
    else:
        checkpoint.save_last(run, {"model": LeNet300100((1, 8, 8), 10).state_dict()})
    line = {
        "none": "there is no checkpoint",
        "damaged": "cannot be read",
        "later": "of a later dstrun (format 99",
        "another model": "the checkpoint is of another model (",
    }
    outcome = command("export", str(run), "--to", "a.pt2")
    assert outcome.code == 2
    assert line[what] in outcome.err
    assert outcome.err.count("\n") == 1
    assert not Path("a.pt2").exists()
    with pytest.raises((ValueError, FileNotFoundError)):
        dstrun.load(run)


@pytest.mark.parametrize("name", ["a.onnx", "a.pt2"])
def test_a_model_that_cannot_be_expressed(
    command: Command, monkeypatch: pytest.MonkeyPatch, run: Path, name: str
) -> None:
    class Branching(LeNet300100):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images if images.sum().item() > 0 else -images)

    monkeypatch.setitem(BUILDERS, "lenet_300_100", Branching)
    Path(name).write_text("mine")
    outcome = command("export", str(run), "--to", name, "--force")
    assert outcome.code == 2
    assert "this model cannot be exported (" in outcome.err
    assert outcome.err.count("\n") == 1
    assert Path(name).read_text() == "mine"


STEPS = torch.arange(10.0)


@pytest.mark.parametrize(
    ("change", "tolerance", "line"),
    [
        (
            STEPS,
            "1e-4",
            "outputs differ from the masked model's by 9 (tolerance 0.0001), and the class of ",
        ),
        (
            STEPS,
            "10",
            "outputs differ from the masked model's by 9 (tolerance 10), and the class of ",
        ),
        (
            STEPS * 0 + 1,
            "0.5",
            "outputs differ from the masked model's by 1 (tolerance 0.5), "
            "and the class of 0 of 100 ",
        ),
        (STEPS / 0, "1e-4", "the network's outputs are not finite"),
    ],
    ids=["both", "classes", "outputs", "not finite"],
)
def test_what_does_not_equal_the_masked_model_is_not_written(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    run: Path,
    change: torch.Tensor,
    tolerance: str,
    line: str,
) -> None:
    """Change the last layer's bias in the file: outputs or classes differ."""
    save = load.save
    monkeypatch.setattr(
        load,
        "save",
        lambda path, about, weights, kind: save(
            path, about, {**weights, "fc3.bias": weights["fc3.bias"] + change}, kind
        ),
    )
    outcome = command("export", str(run), "--to", "a.safetensors", "--tolerance", tolerance)
    assert outcome.code == 2
    assert f"a.safetensors is not written: {line}" in outcome.err
    assert {file.name for file in Path().iterdir()} == {"outputs"}


def test_an_onnx_file_holds_what_the_exporter_made_and_its_record_says_of_what(
    command: Command, monkeypatch: pytest.MonkeyPatch, run: Path
) -> None:
    """Use an exporter that takes no time: its file is the number of the network it was given."""
    models: list[torch.nn.Module] = []
    monkeypatch.setattr("dstrun.export.onnx.missing_packages", list)
    monkeypatch.setattr(
        "dstrun.export.onnx.export_bytes",
        lambda model, shape: models.append(model) or b"%d" % len(models),
    )
    monkeypatch.setattr("dstrun.export.onnx.load_network", lambda content: models[int(content) - 1])
    for number, words in ((1, []), (2, ["--shrink"])):
        assert command("export", str(run), "--to", f"{number}.onnx", *words).code == 0
        assert Path(f"{number}.onnx").read_bytes() == b"%d" % number
    whole, smaller = json.loads(Path("export.json").read_text()).values()
    assert (whole["opset"], smaller["opset"]) == (20, 20)
    assert "parameters_shrunk" not in whole
    assert (
        smaller["parameters_shrunk"]
        == sum(parameter.numel() for parameter in models[1].parameters())
        < 266_610
    )


def test_a_file_that_is_none_of_ours_is_told_so(run: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, "other.safetensors")
    with pytest.raises(ValueError, match="does not describe its model"):
        dstrun.load("other.safetensors")
    Path("cut.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(ValueError, match=r"cut.safetensors cannot be read \("):
        dstrun.load("cut.safetensors")
    Path("cut.pt2").write_bytes(b"\0" * 20)
    with pytest.raises(ValueError, match=r"cut.pt2 cannot be read"):
        dstrun.load("cut.pt2")
    with pytest.raises(FileNotFoundError, match="there is no gone"):
        dstrun.load("gone.safetensors")
    with pytest.raises(FileNotFoundError, match=r"there is no gone.pt2"):
        dstrun.load("gone.pt2")
    with pytest.raises(ValueError, match=r"a.onnx is for ONNX Runtime"):
        dstrun.load("a.onnx")
    with pytest.raises(
        ValueError, match=r"kernels is 'csr', expected None, since a.pt2 has its own"
    ):
        dstrun.load("a.pt2", kernels="csr")


DAMAGE = [
    {"kind": None},
    {"kind": "foo"},
    {"shape": None},
    {"format": "1"},
    {"args": {"width": 3}},
    {"builder": "gone"},
    {"more": 1},
    {"format": 3},
    {"tied": {"fc3.weight": "gone"}},
    {"tied": 1},
]


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
def test_metadata_that_is_damaged_is_a_value_error(damage: dict) -> None:
    from safetensors.torch import save_file

    told = {
        "format": 1,
        "kind": "dense",
        "builder": "lenet_300_100",
        "args": {},
        "shape": [1, 28, 28],
        "classes": 10,
        "mean": [0.0],
        "std": [1.0],
    } | damage
    told = {key: value for key, value in told.items() if value is not None}
    save_file(
        LeNet300100((1, 28, 28), 10).state_dict(), "b.safetensors", {"dstrun": json.dumps(told)}
    )
    if damage == {"format": "1"}:
        dstrun.load("b.safetensors")
        return
    line = (
        r"of a later dstrun \(format 3, this one reads up to 2\)$"
        if "format" in damage
        else r"b.safetensors|weights"
    )
    with pytest.raises(ValueError, match=line):
        dstrun.load("b.safetensors")


def test_weights_that_are_tied_are_written_once(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tied(LeNet300100):
        def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
            super().__init__(shape, classes)
            self.again = self.fc3

    monkeypatch.setitem(BUILDERS, "lenet_300_100", Tied)
    assert command(*SPARSE, "reg.exclude=[fc3]", "group=tied").code == 0
    assert (
        command(
            "export", str(only_run("outputs/tied")), "--to", "a.safetensors", "--format", "sparse"
        ).code
        == 0
    )
    assert not [name for name in load_file("a.safetensors") if name.startswith("again")]
    model = dstrun.load("a.safetensors")
    assert model.again is model.fc3
    assert set(model.state_dict()) >= {"fc3.weight", "again.weight"}


def test_a_record_that_is_damaged_is_kept_aside(command: Command, run: Path) -> None:
    Path("export.json").write_text('{"a": 1,')
    assert command("export", str(run), "--to", "a.safetensors").code == 0
    assert Path("export.json.before").read_text() == '{"a": 1,'
    assert set(json.loads(Path("export.json").read_text())) == {"a.safetensors"}


def test_a_record_that_cannot_be_written_is_told_and_the_network_stays(
    command: Command, run: Path
) -> None:
    Path("export.json").mkdir()
    Path("export.json.before").mkdir()
    Path("export.json.before/mine").touch()
    outcome = command("export", str(run), "--to", "a.safetensors")
    assert outcome.code == 2
    assert outcome.err.startswith(
        "dstrun: to: a.safetensors is written, but export.json could not be ("
    )
    assert "fc1.weight" in load_file("a.safetensors")


def test_a_layer_that_is_never_called_multiplies_nothing() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.spare = nn.Linear(4, 3), nn.Linear(2, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.fc(images.flatten(1))

    model = Spare()
    masks = {
        name: torch.ones_like(getattr(model, name).weight, dtype=torch.bool)
        for name in ("fc", "spare")
    }
    layers = measure(masks, masks, {name: torch.zeros(1) for name in masks})
    about = load.About("spare", {}, (1, 2, 2), 3, [], [])
    record = measure_size(TrainedNetwork(Path(), model, model, about, layers, list))
    products = {
        layer["layer"]: (layer["multiply_adds"], layer["multiply_adds_kept"])
        for layer in record["layers"]
    }
    assert (products["fc"], products["spare"]) == ((12, 12), (0, 0))


def test_products_of_no_weights_have_a_row_without_a_share(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Export attention with weights in linear layers only.

    Scores, and their product with the values, are 2 · 28 · 28 · 4 multiply-adds.
    """

    class Attention(nn.Module):
        def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
            super().__init__()
            self.features, self.head = nn.Linear(shape[2], 4), nn.Linear(4, classes)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            rows = self.features(images[:, 0])
            return self.head(nn.functional.scaled_dot_product_attention(rows, rows, rows).mean(1))

    monkeypatch.setitem(BUILDERS, "attention", Attention)
    words = [
        "model.name=attention",
        "model.builder=attention",
        "data.train_limit=100",
        "schedule.epochs=1",
    ]
    assert command(*words).code == 0
    (run,) = Path("outputs/single").iterdir()
    exported = command("export", str(run), "--to", "net.safetensors")
    assert exported.code == 0, exported.err
    (row,) = [line for line in exported.out.splitlines() if "products without weights" in line]
    assert [cell.strip() for cell in row.split("│")[2:-1]] == ["0", "0", "", "6,272", "6,272"]


def test_a_run_is_exported_from_python_with_plain_arguments(run: Path) -> None:
    export(run, to=Path("a.safetensors"))
    assert json.loads(Path("export.json").read_text())["a.safetensors"]["tolerance"] == 1e-4
    with pytest.raises(InputError, match=r"a\.safetensors exists already"):
        export(run, to=Path("a.safetensors"))
    export(run, to=Path("a.safetensors"), format="csr", force=True)
    assert isinstance(dstrun.load("a.safetensors").fc1, CSRLinear)
