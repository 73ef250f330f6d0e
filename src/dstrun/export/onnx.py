"""A network as an ONNX file, and an ONNX file as a network, by torch's exporter and ONNX Runtime.
Knows torch alone."""

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.util import find_spec

import torch
from torch import Tensor, nn

OPSET = 20
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def missing() -> list[str]:
    """The packages that are not installed."""
    return [package for package in PACKAGES if find_spec(package) is None]


def program(model: nn.Module, shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    """The model for images of that (C, H, W), any number of them at a time. torch's errors where it
    cannot be."""
    example = torch.zeros(2, *shape)  # a batch of one would be taken for a constant
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), torch.no_grad(), redirect_stderr(io.StringIO()):
        warnings.simplefilter(
            "ignore"
        )  # torch's, of its own parts; and it prints the graph that it fails on
        return torch.export.export(model, (example,), dynamic_shapes=({0: batch},))


def serialised(model: nn.Module, shape: tuple[int, ...]) -> bytes:
    """A file: images (batch, C, H, W) → logits (batch, classes); torch's errors for what ONNX
    cannot express."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            program(model, shape),
            (),
            input_names=["images"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    return made.model_proto.SerializeToString()


def network(file: bytes, threads: int = 0) -> Callable[[Tensor], Tensor]:
    """A file's network on the CPU; 0 threads: as many as ONNX Runtime finds right."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
