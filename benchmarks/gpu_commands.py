"""The command itself on the device: run, eval, export, a sweep of four on one card, full memory."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpu_child import Child

BASE = ["model=lenet_300_100", "data=digits", "schedule.epochs=2", "wandb.mode=disabled"]
# on a card of which torch may use 400 MiB
FULL = """import sys, torch
torch.cuda.set_per_process_memory_fraction({share}, 0)
sys.argv = ["dstrun", *{words}]
from dstrun.cli.main import main
main()
"""


def call(child: Child, name: str, *command: str, place: Path, code: int = 0) -> str:
    """Run a command and say whether it ended as expected; return what it printed."""
    begun = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, *command], cwd=place, capture_output=True, text=True, timeout=150
        )
        said, ended = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired as error:
        said, ended = str(error), -1
    good = ended == code and "Traceback" not in said
    child.say(ok={name: good}, seconds={name: round(time.perf_counter() - begun, 1)})
    if not good:
        child.say(printed={name: said[-600:]})
    return said


def commands(child: Child) -> None:
    """Train, evaluate on both devices, resume what the CPU began, export."""
    place = Path(tempfile.mkdtemp(dir=child.work))
    dstrun = ("-m", "dstrun")
    words = [*BASE, "seed=0", "group=g", "outputs=o"]
    call(child, "run", *dstrun, *words, f"device={child.device}", place=place)
    run = str(next(place.glob("o/g/*"), place).relative_to(place))
    call(child, "eval", *dstrun, "eval", run, f"device={child.device}", place=place)
    call(child, "eval on the CPU", *dstrun, "eval", run, "device=cpu", place=place)
    for compile in ("mask", "step"):  # which compares a compiled step with an uncompiled one
        words = [*BASE, f"schedule.compile={compile}", "outputs=o", f"device={child.device}"]
        words += [] if compile == "mask" else ["model=lenet5", "schedule.precision=bf16"]
        said = call(child, f"run with {compile}", *dstrun, *words, place=place)
        child.say(ok={f"{compile} compared": "uncompiled step within" in said})
    call(child, "export", *dstrun, "export", run, "--to", "x.safetensors", place=place)
    if not child.tiny:
        words = [*BASE, "seed=1", "group=g", "outputs=o", "device=cpu"]
        call(child, "run on the CPU", *dstrun, *words, place=place)
        run = str(next(place.glob("o/g/*-s1-*"), place).relative_to(place))
        call(child, "eval of it", *dstrun, "eval", run, f"device={child.device}", place=place)


def sweep(child: Child) -> None:
    """Train four runs at once on one card."""
    place, seeds = Path(tempfile.mkdtemp(dir=child.work)), "1,2" if child.tiny else "1,2,3,4"
    count = len(seeds.split(","))
    words = [*BASE, f"seed={seeds}", f"n_jobs={count}", "group=s", "outputs=o"]
    call(child, "sweep", "-m", "dstrun", "-m", *words, f"device={child.device}", place=place)
    found = [json.loads(file.read_text()) for file in place.glob("o/s/*/status.json")]
    states = [status["state"] for status in found]
    child.say(devices=[status.get("device") for status in found])
    child.say(ok={"all finished": states == ["finished"] * count})


def memory(child: Child) -> None:
    """Run into a full card: one line that says so and what to do, exit code 1."""
    if not child.is_cuda:
        child.say(skipped="needs a card")
        return
    import torch

    place = Path(tempfile.mkdtemp(dir=child.work))
    whole = torch.cuda.get_device_properties(child.device).total_memory
    words = ["model=wrn_16_8", "data=digits", "schedule.batch_size=1024", "wandb.mode=disabled"]
    words += [f"device={child.device}", "outputs=o", "seed=0", "schedule.epochs=1"]
    (place / "full.py").write_text(FULL.format(share=400 * 2**20 / whole, words=words))
    said = call(child, "out of memory", "full.py", place=place, code=1)
    lines = [line for line in said.splitlines() if "out of memory" in line]
    child.say(ok={"one line": len(lines) == 1}, printed={"out of memory": "\n".join(lines)[:600]})
