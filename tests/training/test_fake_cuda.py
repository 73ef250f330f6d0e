"""Training on fake CUDA tensors, in a process that has stand-ins for the CUDA driver."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.fake_cuda import libraries

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    bool(libraries.missing()), reason=f"fake CUDA needs {libraries.missing()}"
)

BACKWARD = """
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from tests.helpers.fake_cuda.libraries import make_devices

make_devices()
with FakeTensorMode():
    weight = torch.zeros(4, 3, 3, 3, device="cuda", requires_grad=True)
    torch.nn.functional.conv2d(torch.zeros(2, 3, 8, 8, device="cuda"), weight).sum().backward()
    print(weight.grad.device)
"""


def test_a_backward_pass_runs_on_fake_cuda_tensors_without_a_gpu() -> None:
    command = [sys.executable, "-c", BACKWARD]
    environment = os.environ | libraries.environment()
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.stdout == "cuda:0\n", ran.stderr
