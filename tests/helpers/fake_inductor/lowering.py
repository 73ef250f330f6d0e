"""One graph that Dynamo has captured → the code that Inductor writes for it on CUDA."""

import copy
import re
import types
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch._inductor.compile_fx as compile_fx
import torch._inductor.output_code as output_code
from torch import fx
from torch._guards import TracingContext, tracing
from torch._inductor import config
from torch._inductor.graph import GraphLowering
from torch._subclasses.fake_tensor import FakeTensorMode

from dstrun.methods import compiler
from tests.helpers.fake_inductor.runs import Steps

compile_for_device = compile_fx.compile_fx
CUDA = torch.device("cuda")
# nothing that measures or computes on the device, nothing from an earlier compilation
WITHOUT_DEVICE = {
    "fx_graph_cache": False,
    "compile_threads": 1,
    "joint_graph_constant_folding": False,
    "shape_padding": False,
}


@dataclass
class Replay:
    """One CUDA graph that would be recorded: its inputs, and those of no fixed address."""

    inputs: int
    mutated: int
    copied: int  # inputs that are copied in at each call
    mutated_copied: int


@dataclass
class Lowered:
    """The code for one graph: kernels a call, and how it would be replayed."""

    code: str = ""
    triton: int = 0  # launches of generated kernels
    library: dict[str, int] = field(default_factory=dict)  # calls of cuBLAS, cuDNN and ATen
    partitions: int = 0
    on_cpu: int = 0  # tensors that the code makes on the CPU
    replays: list[Replay] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # why it would not be replayed

    @property
    def kernels(self) -> int:
        """Launches of a call: generated kernels and calls of a library."""
        return self.triton + sum(self.library.values())

    @property
    def is_replayed(self) -> bool:
        """Whether a call is the replay of one CUDA graph and nothing else."""
        return len(self.replays) == 1 and self.partitions <= 1 and not self.skipped


@contextmanager
def lowered_for_cuda() -> Iterator[Steps]:
    """Lower every graph that is captured, with the project's options for CUDA."""
    options_for = compiler.options_for
    compiler.options_for = lambda _, **rest: options_for(CUDA, **rest)
    steps = Steps(lower)
    torch.compiler.reset()
    try:
        with steps.noted():
            yield steps
    finally:
        compiler.options_for = options_for


def lower(graph: fx.GraphModule, inputs: Sequence[Any], options: Mapping[str, Any]) -> Lowered:
    """Return the code of a captured graph on CUDA under the options of torch.compile.

    `inputs` are those it was captured with, on the CPU. Raises ValueError for a graph of which a
    backward pass would be a second one.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    on_cuda, fakes = _to_cuda(graph, inputs, mode)
    found: list[Lowered] = []
    with (
        tracing(TracingContext(mode)),
        config.patch({**WITHOUT_DEVICE, **options}),
        torch._functorch.config.patch({"enable_autograd_cache": False}),
        _kept_code(found),
    ):
        compile_for_device(on_cuda, fakes)
    (lowered,) = found
    return lowered


def _to_cuda(
    graph: fx.GraphModule, inputs: Sequence[Any], mode: FakeTensorMode
) -> tuple[fx.GraphModule, list[Any]]:
    """Return a copy of the graph with its devices changed to CUDA, and fake inputs for it."""
    copied = copy.deepcopy(graph)
    copied.meta = dict(graph.meta)
    copied._param_name_to_source = graph._param_name_to_source
    for ours, theirs in zip(copied.graph.nodes, graph.graph.nodes, strict=True):
        if hasattr(theirs, "_dynamo_source"):
            ours._dynamo_source = theirs._dynamo_source
    places = [node for node in copied.graph.nodes if node.op == "placeholder"]
    fakes = []
    with mode:
        for node, given in zip(places, inputs, strict=True):
            fake = given
            if isinstance(given, torch.Tensor):
                fake = torch.empty_strided(
                    given.shape,
                    given.stride(),
                    dtype=given.dtype,
                    device="cuda",
                    requires_grad=given.requires_grad,
                )
            node.meta["example_value"] = fake
            fakes.append(fake)
    for module in copied.modules():
        if isinstance(module, fx.GraphModule):
            for node in module.graph.nodes:
                node.args = fx.node.map_aggregate(node.args, _device_on_cuda)
                node.kwargs = fx.node.map_aggregate(node.kwargs, _device_on_cuda)
            module.recompile()
    return copied, fakes


def _device_on_cuda(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cpu":
        return torch.device("cuda:0")
    return "cuda" if isinstance(value, str) and value == "cpu" else value


@contextmanager
def _kept_code(found: list[Lowered]) -> Iterator[None]:
    """Keep the code of each graph, in place of loading it, and what it would be replayed with."""

    def keep(lowering: GraphLowering) -> Any:
        code: str = lowering.codegen()[0].value
        found.append(read(code))

        def apply(functions: Sequence[Any]) -> None:
            found[-1].replays = [_replay(function.keywords) for function in functions]

        runner = types.SimpleNamespace(recursively_apply_fns=apply, call=_call, partitions=[])
        return types.SimpleNamespace(call=_call, runner=runner, __file__="", _reload=None)

    def whole(compiled: Any, static_input_idxs: Sequence[int], **options: Any) -> Any:
        found[-1].replays = [_replay({"static_input_idxs": static_input_idxs, **options})]
        return compiled

    def skip(reason: str) -> None:
        found[-1].skipped.append(reason)

    changes = [(GraphLowering, "compile_to_module", keep), (compile_fx, "cudagraphify", whole)]
    for module in (compile_fx, output_code):
        changes.append((module, "log_cudagraph_skip_and_bump_counter", skip))
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, change in changes:
        setattr(owner, name, change)
    try:
        yield
    finally:
        for owner, name, own in before:
            setattr(owner, name, own)


def _call(arguments: Any) -> None:
    """Stand in for generated code, which nobody calls."""


def _replay(asked: Mapping[str, Any]) -> Replay:
    """Return what the recording of a CUDA graph is asked for."""
    static, mutated = set(asked["static_input_idxs"]), set(asked["mutated_input_idxs"])
    inputs = len(asked["placeholders"])
    return Replay(inputs, len(mutated), inputs - len(static), len(mutated - static))


def read(code: str) -> Lowered:
    """Count what the generated code calls, in its function `call` and the partitions of that."""
    begins = [code.find(word) for word in ("def partition_", "class Runner", "def call(")]
    calls = code[min((at for at in begins if at >= 0), default=0) :].partition("def get_args(")[0]
    library = Counter(re.findall(r"extern_kernels\.(\w+)\(", calls))
    library.update(re.findall(r"(torch\.ops\.[\w.]+)\(", calls))
    return Lowered(
        code,
        triton=len(re.findall(r"^\s+\w+\.run\(", calls, re.MULTILINE)),
        library=dict(library),
        partitions=len(re.findall(r"^\s*def partition_\d+", code, re.MULTILINE)),
        on_cpu=code.count("device='cpu'"),
    )
