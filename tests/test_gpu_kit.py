"""`make gpu` and `make gpukit`: what the parent plans, merges and shows, and a trial on the CPU."""

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import results

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def in_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def gpu(*words: str, environment: dict[str, str] | None = None) -> tuple[int, dict[str, Any], str]:
    """Run gpu.py on the CPU; return its exit code, results.json, and what it printed."""
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--tiny"]
    done = subprocess.run(
        [*command, "--out", "out", *words],
        capture_output=True,
        text=True,
        env=environment,
    )
    file = Path("out/results.json")
    found = json.loads(file.read_text()) if file.is_file() else {}
    return done.returncode, found, done.stdout + done.stderr


def test_the_parent_plans_and_collects_without_torch() -> None:
    script = "import gpu, sys; print([m for m in ('torch', 'numpy', 'dstrun') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=BENCHMARKS, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_what_matters_most_is_timed_first_and_every_variant_is_known() -> None:
    from gpu_plan import ALL, SPEED, parts

    assert [part.name for part in SPEED[:3]] == [
        "vgg16 64 bf16",
        "wrn_16_8 64 bf16",
        "resnet50 256 bf16",
    ]
    wanted = {
        f"{model} {batch}"
        for model in ("vgg16", "wrn_16_8", "lenet_300_100", "lstm_a")
        for batch in (64, 128, 512)
    } | {"resnet50 256"}
    assert {part.name.rpartition(" ")[0] for part in SPEED} == wanted
    names = [part.name for part in parts(tiny=False)]
    assert len(names) == len(set(names))
    source = (BENCHMARKS / "common.py").read_text()
    assert all(f'"{variant}":' in source for variant in ALL)
    jobs = (BENCHMARKS / "gpu_part.py").read_text()
    assert all(f'"{part.job}":' in jobs for part in parts(tiny=False))


def test_parts_are_chosen_by_kind_or_by_a_word_of_their_names() -> None:
    from gpu_plan import chosen, parts

    assert {part.kind for part in chosen(["checks"], tiny=False)} == {"checks"}
    assert [part.name for part in chosen(["resume, m", "facts"], tiny=False)] == [
        "facts",
        "resume, mask",
    ]
    assert len(chosen([], tiny=True)) == len(parts(tiny=True)) + 1
    code, found, said = gpu("--parts", "vgg61")
    assert (code, found) == (2, {})
    assert said.startswith("gpu.py: --parts: got 'vgg61', expected facts, checks, speed")
    assert said.count("\n") == 1


def test_what_a_phase_leaves_is_divided_among_those_to_come() -> None:
    from gpu_plan import WEIGHTS, until

    assert until("runs", ["facts", "runs"], now=100, end=470) == 470
    half = WEIGHTS["speed"] / (WEIGHTS["speed"] + WEIGHTS["runs"])
    assert until("speed", ["facts", "checks", "speed", "runs"], 70, 470) == 70 + 400 * half


class Timed:
    """A process that takes no time: it is ready when told so."""

    def __init__(self, part: Any) -> None:
        self.part, self.alive, self.is_hurried = part, True, False
        self.said: list[str] = []
        self.heard: list[str] = []

    def hears(self, word: str) -> bool:
        return word in self.said

    def tell(self, word: str) -> None:
        self.heard.append(word)

    def end(self) -> None:
        self.alive = False


def test_networks_are_timed_in_the_plans_order_and_checks_are_not_begun_late() -> None:
    from gpu_collect import Results
    from gpu_plan import CHECKS, SPEED
    from gpu_queue import Queue

    started: list[Timed] = []

    def start(part: Any) -> Timed:
        started.append(Timed(part))
        return started[-1]

    queue = Queue(start, [*SPEED[:3], *CHECKS[:2]], 3)
    queue.move_on()
    assert [process.part for process in started] == list(SPEED[:3])
    assert queue.next_ready() is queue.next_ready() is None
    assert [process.heard for process in started] == [["hurry"]] * 3  # once each
    for process in (started[2], started[0]):
        process.said.append("ready")
        queue.move_on()
    assert [process.part.kind for process in started[3:]] == ["checks", "checks"]
    assert queue.next_ready() is started[0]
    assert queue.next_ready() is started[2]
    kept = Results(Path("out"), {})
    queue.end_checks(kept)
    assert not any(process.alive for process in started[3:])
    assert queue.has("speed")
    assert not queue.has("checks")


@pytest.mark.parametrize(
    ("seconds", "sharing", "count"),
    [
        (200, {1: 1.0, 2: 1.0}, 1),  # 160 epochs of 2 s do not end: the checkpoint is kept
        (400, {1: 1.0, 2: 1.5, 4: 2.0}, 1),  # two together take 480 s and the start
        (600, {1: 1.0, 2: 1.5, 4: 3.5}, 2),  # four together do not end
        (2000, {1: 1.0, 2: 1.9, 4: 3.8}, 1),  # two together bring 5 % more work done
        (2000, {1: 1.0, 2: 1.2, 4: 1.8}, 2),  # of three seeds four are too many
        (2000, {}, 1),
    ],
)
def test_seeds_are_trained_side_by_side_where_they_end_and_pay(
    seconds: float, sharing: dict[int, float], count: int
) -> None:
    from gpu_plan import seeds_at_once

    assert seeds_at_once(seconds, epoch=2.0, epochs=160, sharing=sharing, most=3) == count


def test_figures_are_written_whole_as_they_come() -> None:
    from gpu_collect import Results

    kept = Results(Path("out"), {"device": "cuda"})
    kept.take("reference", "checks", {"ok": {"fp32": True}, "differences": {"a": 1e-7}})
    kept.take("reference", "checks", {"ok": {"bf16": False}, "state": "wrong"})
    found = json.loads(Path("out/results.json").read_text())
    assert found["parts"] == {
        "reference": {
            "kind": "checks",
            "ok": {"fp32": True, "bf16": False},
            "differences": {"a": 1e-7},
            "state": "wrong",
        }
    }
    line = "| reference | wrong | 1 of 2 | 1e-07 | wrong: bf16 |"
    assert line in Path("out/results.md").read_text().splitlines()


def test_a_second_call_keeps_the_figures_of_parts_that_it_does_not_run() -> None:
    from gpu_collect import Results

    card, trial = {"device": "cuda", "tiny": False}, {"device": "cpu", "tiny": True}
    first = Results(Path("first"), card, Path("work"))
    for part in ("facts", "reference"):
        first.take(part, "checks", {"ok": {"a": True}, "state": "ok"})
        first.log(part, f"{part} said\nthis")
    second = Results(Path("out"), card, Path("work"))
    second.take("reference", "checks", {"ok": {"b": False}, "state": "wrong"})
    second.log("reference", "that")
    found = json.loads(Path("out/results.json").read_text())["parts"]
    assert found["facts"] == {"kind": "checks", "ok": {"a": True}, "state": "ok"}
    assert found["reference"] == {"kind": "checks", "ok": {"b": False}, "state": "wrong"}
    assert second.taken == {"reference"}
    said = Path("out/log.txt").read_text()
    assert said == "=== facts\nfacts said\nthis\n=== reference\nthat"
    Results(Path("out"), trial).take("facts", "facts", {"cores": 2})
    assert list(json.loads(Path("out/results.json").read_text())["parts"]) == ["facts"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", "-5"), "gpu.py: --budget: got -5, expected a number of seconds > 0\n"),
        (("--out", "file"), "gpu.py: --out: got 'file', expected a folder: Not a directory\n"),
        pytest.param(
            ("--device", "cuda"),
            "gpu.py: --device: got 'cuda', expected auto or a device of this machine: cpu; ",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_option_that_cannot_be_used_is_told_in_a_line(words: tuple[str, ...], said: str) -> None:
    Path("file").write_text("")
    code, found, heard = gpu(*words)
    assert (code, found) == (2, {})
    assert heard.startswith(said)
    assert heard.count("\n") == 1


def test_a_kit_without_its_images_leaves_an_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_kit

    Path("build/gpu").mkdir(parents=True)
    Path("build/gpu/kept").write_text("")
    monkeypatch.setattr("sys.argv", ["gpu_kit.py", "--data", "nowhere"])
    with pytest.raises(SystemExit, match="2"):
        gpu_kit.main()
    assert [path.name for path in Path("build").rglob("*")] == ["gpu", "kept"]


STEP, DENSE = "DST, compile=step", "dense, compile=step"
MEASURED = {
    "parts": {
        "facts": {
            "kind": "facts",
            "device_name": "A card",
            "cores": 16,
            "matmul_tflops": {"bf16": 600.0},
        },
        "vgg16 64 bf16": {
            "kind": "speed",
            "step": {
                DENSE: {"ms": 1.0, "tflops": 60.0},
                STEP: {"ms": 1.05, "tflops": 57.0, "ratio": 1.05, "to": DENSE},
            },
            "epoch_s": {STEP: 1.234},
            "profile": {STEP: {"launches": 4.0, "kernels": 150.0, "busy_ms": 0.9}},
        },
        "share 1": {"kind": "share", "ms": {"1": 1.0, "2": 1.25}},
        "share 2": {"kind": "share", "ms": {"2": 1.6}},
        "runs: VGG-16 dense": {"kind": "runs", "state": "not begun: no time left"},
    }
}


def test_tables_of_a_measurement_show_goals_shares_of_the_card_and_what_is_missing() -> None:
    from gpu_table import TABLES

    goals = TABLES["goals"](MEASURED).splitlines()
    assert goals[2] == "| DST / dense, VGG-16, bf16, compiled, batch 64 | ≤ 1.06 | 1.05 |"
    assert goals[3].endswith("| ≤ 1.06 | not measured yet |")
    assert goals[5].endswith("| ≤ 2.5 | 1.23 |")
    speed = TABLES["speed"](MEASURED).splitlines()
    assert speed[
        -1
    ] == f"| vgg16 64 bf16 | {STEP} | 1.05 | 1.05 | 57 | 9.5% | 4 | 150 | 0.9 | 1.23 |" + (
        "  |  |  |"
    )
    assert TABLES["sharing"](MEASURED).splitlines()[-1] == "| 2 | 1.6 | 1.43 |"
    assert "| VGG-16 dense |  | not begun: no time left |" in TABLES["runs"](MEASURED)
    assert TABLES["checks"](MEASURED) == "Not measured yet."


def test_the_documents_tables_are_those_of_the_measurement_where_there_is_one() -> None:
    Path("results.json").write_text(json.dumps(MEASURED))
    assert "| 1.05 |" in results.gpu_tables(Path("results.json"))["gpu_goals"]()
    assert "| 1.05 |" not in results.gpu_tables(Path("other.json"))["gpu_goals"]()
    page = (Path(__file__).parents[1] / "docs" / "performance.md").read_text()
    assert all(f"<!-- $ {name} -->" in page for name in results.gpu_tables())


def test_real_runs_take_the_fastest_way_that_was_measured() -> None:
    from gpu_plan import ROWS
    from gpu_runs import measured, name_of

    found = measured(MEASURED["parts"], ROWS[0], tiny=False)
    assert found == {
        "epoch": 1.234,
        "sharing": {1: 1.0, 2: 1.6},
        "words": [
            "schedule.compile=step",
            "schedule.precision=bf16",
            "schedule.channels_last=true",
        ],
    }
    without = measured({}, ROWS[3], tiny=False)
    assert (without["epoch"], without["words"][0]) == (ROWS[3].guess, "schedule.compile=step")
    assert [name_of(row) for row in ROWS[:3]] == [
        "vgg16-cifar10-a",
        "vgg16-cifar10-d",
        "vgg16-cifar10-dense-",
    ]


def test_rows_are_trained_once_each_before_further_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for `dstrun` by a command that leaves finished runs, one seed a call."""
    import gpu_runs
    from gpu_collect import Results
    from gpu_plan import Row

    rows = tuple(
        Row(name, "rows", (f"model={name}", "data=digits", "reg=dense"), "", 1.0) for name in "ab"
    )
    monkeypatch.setattr(gpu_runs, "ROWS", rows)
    monkeypatch.setattr(gpu_runs, "CIFAR10", [])
    Path("bin").mkdir()
    Path("bin/python").write_text(
        "#!/bin/sh\n"
        'for word in "$@"; do case $word in\n'
        "model=*) m=${word#*=};; seed=*) s=${word#*=};; esac; done\n"
        'run=outputs/rows/$m-digits-dense-s$s-0; mkdir -p $run; echo "$m $s" >> calls\n'
        "echo epoch,test_accuracy,density,seconds > $run/metrics.csv\n"
        "echo 1,0.9,1.0,2.0 >> $run/metrics.csv\n"
        """echo '{"state": "finished"}' > $run/status.json\n"""
    )
    Path("bin/python").chmod(0o755)
    monkeypatch.setattr(gpu_runs.sys, "executable", str(Path("bin/python").resolve()))
    Path("work").mkdir()
    kept = Results(Path("out"), {})
    spec = {"work": "work", "data": ".", "tiny": False, "device": "cpu", "seeds": [0, 1]}
    gpu_runs.Runs(kept, spec, dict(os.environ)).train(time.monotonic() + 600)
    assert Path("work/calls").read_text().splitlines() == ["a 0", "b 0", "a 1", "b 1"]
    assert {name: part["state"] for name, part in kept.parts.items()} == {
        "runs: a": "ok",
        "runs: b": "ok",
    }
    assert "| a | `a-digits-dense-s1-0` | finished | 1 | 90.00% | 100.00% | 2 |" in (
        Path("out/results.md").read_text()
    )
    with tarfile.open("out/rows.tar.gz") as archive:
        assert len(archive.getnames()) == 8


@pytest.mark.slow
def test_a_batch_of_cifar10_comes_back_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_images

    images = np.arange(gpu_images.SIZE, dtype=np.uint32).astype(np.uint8).reshape(10_000, 3_072)
    content = b"labels" + gpu_images.PIXELS + images.tobytes() + b"names of files"
    monkeypatch.setattr(
        gpu_images,
        "MD5",
        {name: gpu_images.hashlib.md5(content).hexdigest() for name in ("a", "b", "c")},
    )
    place = Path("root/cifar-10-batches-py")
    place.mkdir(parents=True)
    for name in gpu_images.MD5:
        (place / name).write_bytes(content)
    gpu_images.pack_all(Path("root"), [Path("first"), Path("second")])
    assert sorted(file.name for file in Path("first").iterdir()) == ["a.gz", "a.webp"]
    assert gpu_images.unpack_all(Path("first"), Path("there")) == ["b", "c"]
    assert gpu_images.unpack_all(Path("second"), Path("there")) == []
    assert all(
        (Path("there/cifar-10-batches-py") / name).read_bytes() == content
        for name in gpu_images.MD5
    )
    with pytest.raises(ValueError, match="a has the MD5"):
        gpu_images.checked("a", content + b"!")


def test_what_is_carried_starts_where_it_is_laid_out() -> None:
    import gpu_kit

    for folder in ("kit", "images"):
        Path(folder).mkdir()
    gpu_kit.lay_out(Path("kit"), Path("images"))
    assert sorted(file.name for file in Path("images").iterdir()) == ["gpu_images.py", "run.sh"]
    done = subprocess.run([sys.executable, "-c", "import gpu"], cwd="kit", capture_output=True)
    assert done.returncode == 0
    assert subprocess.run(["bash", "-n", "kit/run.sh"]).returncode == 0


@pytest.mark.slow
def test_what_time_cuts_off_is_told_and_costs_itself_alone() -> None:
    parts = ("reference", "agreement of masks", "agreement of options", "agreement in bf16")
    code, found, _ = gpu("--parts", "reference", "agreement", "--budget", "4", "--jobs", "1")
    assert set(found["parts"]) == set(parts)
    states = [found["parts"][name]["state"] for name in parts]
    assert code == 0
    first = states.index("cut: its time was up")  # the second one on a fast machine
    assert states[:first] == ["ok"] * first
    assert states[first + 1 :] == ["not begun: no time left"] * (3 - first)


@pytest.mark.slow
def test_real_runs_that_time_cuts_off_go_on_in_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import gpu_runs
    from gpu_collect import Results
    from gpu_plan import Row

    words = ("model=lenet_300_100", "data=digits", "schedule.epochs=20000")
    row = Row("long", "long", words, "", 1.0, 20_000)
    monkeypatch.setattr(gpu_runs, "TINY_ROWS", (row,))
    spec = {"work": str(Path("work").resolve()), "data": None, "tiny": True}
    spec |= {"device": "cpu", "seeds": [0]}
    Path("work").mkdir()
    about = {"device": "cpu", "tiny": True}
    earlier = about | {"parts": {"share 1": {"kind": "share"}}}
    Path("work/results.json").write_text(json.dumps(earlier))
    done = []
    for call in range(2):
        kept = Results(Path(f"out{call}"), about, Path("work"))
        gpu_runs.Runs(kept, spec, dict(os.environ)).train(time.monotonic() + 25 + 25)
        part = kept.parts["runs: long"]
        assert part["state"] == "cut: its time was up"
        (run,) = part["runs"].values()
        assert run["state"] == "interrupted"
        done.append(run["epochs"])
    assert done[1] > done[0] > 1
    log = next(Path("work/outputs/long").glob("*/train.log")).read_text()
    assert "resum" in log
    with tarfile.open("out1/long.tar.gz") as archive:
        assert not [name for name in archive.getnames() if name.endswith(".pt")]


@pytest.mark.slow
def test_a_trial_on_the_cpu_reports_every_part_without_wandb_plotly_and_dash() -> None:
    """Run all parts as on a machine that lacks what only reports and copies of runs need."""
    from gpu_plan import parts

    Path("lacking").mkdir()
    for name in ("wandb", "plotly", "dash", "dash_ag_grid"):
        Path("lacking", f"{name}.py").write_text("raise ImportError('not on this machine')\n")
    path = os.pathsep.join(filter(None, [str(Path("lacking").resolve()), os.getenv("PYTHONPATH")]))
    words = ["--budget", "1500", "--seeds", "0", "1"]  # 2 minutes on two free cores
    code, found, said = gpu(*words, environment=os.environ | {"PYTHONPATH": path})
    assert code == 0, said
    wanted = {part.name for part in parts(tiny=True)} | {"runs: LeNet-300-100 on digits"}
    states = {name: part.get("state") for name, part in found["parts"].items()}
    expected = dict.fromkeys(wanted, "ok") | {"out of memory": "skipped"}
    assert states == expected, Path("out/log.txt").read_text()
    assert found["parts"]["two processes, second"]["ok"]["off, same bits"]
    runs = found["parts"]["runs: LeNet-300-100 on digits"]["runs"]
    assert [run["epochs"] for run in runs.values()] == [2, 2]
    with tarfile.open("out/tiny.tar.gz") as archive:
        names = {Path(name).name for name in archive.getnames()}
        archive.extractall("taken", filter="data")
    assert names == {
        "config.yaml",
        "layers.csv",
        "metrics.csv",
        "status.json",
        "summary.json",
        "train.log",
    }
    assert len(list(Path("taken/tiny").iterdir())) == 2
