"""ONNX files: writing by torch's exporter, running by ONNX Runtime."""

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from dstrun.export.about import About

OPSET = 20
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def missing_packages() -> list[str]:
    """Return the packages for ONNX that are not installed."""
    return [package for package in PACKAGES if find_spec(package) is None]


def export_program(model: nn.Module, about: About) -> torch.export.ExportedProgram:
    """Return the model as a program for any number of images, or of sequences of one length.

    Raise torch's errors for a model that cannot be exported.
    """
    example = about.example(2)  # a batch of one would become a constant
    batch = torch.export.Dim("batch", min=1)
    # torch warns of its own parts, and prints the graph on which it fails.
    with warnings.catch_warnings(), torch.no_grad(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return torch.export.export(model, (example,), dynamic_shapes=({0: batch},))


def export_bytes(model: nn.Module, about: About) -> bytes:
    """Return the content of an ONNX file: images (batch, C, H, W) → logits (batch, classes), or
    tokens (batch, length) → logits (batch, length, classes).

    Raise torch's errors for what ONNX cannot express.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            export_program(model, about),
            (),
            input_names=[about.input_name],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    return made.model_proto.SerializeToString()


def load_network(content: bytes, threads: int = 0) -> Callable[[Tensor], Tensor]:
    """Return the network of an ONNX file on the CPU; `threads`: 0 for ONNX Runtime's choice."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (own,) = session.get_inputs()
    return lambda inputs: torch.from_numpy(session.run(None, {own.name: inputs.numpy()})[0])
