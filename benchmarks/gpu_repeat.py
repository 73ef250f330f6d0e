"""Bit for bit with deterministic=true: a run that is resumed, and the same run in two processes."""

import hashlib
import tempfile
from pathlib import Path

import torch
from gpu_child import SHAPE, Child, finish, largest_difference, network, small_network
from gpu_child import small_trainer as trainer

from dstrun.runs import checkpoint

CASES = {
    "plain": [],
    "target": ["reg.target_density=0.4"],
    "bf16": ["schedule.precision=bf16", "schedule.channels_last=true"],
}


def resume(child: Child) -> None:
    """Train through, with a checkpoint amid an epoch, and go on from its file in a new model."""
    compilation = child.spec["compile"]
    build, shape = small_network, SHAPE
    if compilation == "off" and not child.tiny:  # convolutions of many shapes
        shape = (3, 32, 32)
        build = network("vgg", shape, depth=11)
    for name, words in child.some(CASES).items():
        with child.case(name):
            words = [*words, "deterministic=true", f"schedule.compile={compilation}"]
            whole = trainer(child.device, words, build, shape=shape)
            folder = Path(tempfile.mkdtemp(dir=child.work))
            for record in whole.records(lambda progress: progress.step == 6):
                if record.kind == "pause":
                    checkpoint.save(folder, whole.state_dict())
            ended = {key: value.cpu() for key, value in whole.model.state_dict().items()}
            state = checkpoint.load_newest(folder)
            resumed = finish(trainer(child.device, words, build, shape=shape, state=state), True)
            same = all(torch.equal(resumed[key], ended[key]) for key in ended)
            child.say(differences={name: largest_difference(resumed, ended)}, ok={name: same})


def repeat(child: Child) -> None:
    """Say a digest of the weights after training; the parent compares two processes' digests."""
    for compilation in child.some({"off": 0, "mask": 0, "step": 0}):
        with child.case(compilation):
            words = ["deterministic=true", f"schedule.compile={compilation}"]
            digest = hashlib.sha256()
            for value in finish(trainer(child.device, words)).values():
                digest.update(value.numpy().tobytes())
            child.say(digests={compilation: digest.hexdigest()[:16]})
