"""The options of torch.compile, and what of the methods the compiler has to be able to trace."""

from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import config

from dstrun.methods import compiler
from dstrun.methods.compiler import compile_for, compiled, options_for
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.methods.weight_mask import compute_dtype
from dstrun.system.machine import set_deterministic
from dstrun.training.compiled_step import CompiledUpdate
from tests.helpers.fake_inductor.runs import Steps

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def deterministic() -> Iterator[None]:
    set_deterministic(True)
    yield
    set_deterministic(False)


def test_a_cpu_gets_no_options(deterministic: None) -> None:
    assert options_for(CPU) == options_for(CPU, is_replayed=True) == {}


def test_a_gpu_replays_what_may_be_replayed_and_combines_the_kernels_of_the_rest() -> None:
    step, masks = options_for(CUDA, is_replayed=True), options_for(CUDA, combines=True)
    assert (step["triton.cudagraphs"], masks["triton.cudagraphs"]) == (True, False)
    assert (step["combo_kernels"], masks["combo_kernels"]) == (False, True)
    assert not step["deterministic"]
    for orders_loops in (True, False):
        found = options_for(CUDA, orders_loops=orders_loops)
        assert found["loop_ordering_after_fusion"] == orders_loops
        assert not found["combo_kernels"]


def test_masks_of_all_layers_are_few_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch, "compile", lambda function, **words: asked.append(words["options"]))
    compiled(torch.sin, CUDA)
    assert [options["combo_kernels"] for options in asked] == [True]


def test_nothing_is_chosen_by_time_in_the_deterministic_mode(deterministic: None) -> None:
    for is_replayed in (True, False):
        options = options_for(CUDA, is_replayed=is_replayed, combines=True)
        assert options["deterministic"]
        assert not options["combo_kernels"]


def test_this_torch_knows_every_option() -> None:
    compile_for(torch.neg, CUDA, is_replayed=True)
    with pytest.raises(RuntimeError, match="Unexpected optimization option"):
        torch.compile(torch.neg, options={"no_such_option": True})


@pytest.mark.parametrize(
    ("granularity", "accumulate", "expected"),
    [
        ("neuron", 1, {"is_replayed": True, "orders_loops": True}),
        ("neuron", 2, {"is_replayed": False, "orders_loops": True}),
        ("weight", 1, {"is_replayed": True, "orders_loops": False}),
    ],
)
def test_what_a_step_asks_for(
    monkeypatch: pytest.MonkeyPatch, granularity: str, accumulate: int, expected: dict[str, bool]
) -> None:
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr(compiler, "options_for", lambda _, **words: asked.append(words) or {})
    model, method = nn.Linear(3, 2), DynamicSparseTraining(0.1, granularity)
    method.prepare(model)
    CompiledUpdate(
        model, method, torch.optim.SGD(model.parameters()), batch_size=4, accumulate=accumulate
    )
    assert asked == [expected] * len(asked) != []


def test_code_is_compiled_again_for_the_deterministic_mode() -> None:
    usual = compiled(torch.neg, CUDA)
    assert compiled(torch.neg, CUDA) is usual
    set_deterministic(True)
    try:
        assert compiled(torch.neg, CUDA) is not usual
    finally:
        set_deterministic(False)


def test_the_deterministic_mode_reaches_a_backward_pass_in_another_thread(
    monkeypatch: pytest.MonkeyPatch, deterministic: None
) -> None:
    """Autograd has a thread for each GPU; torch 2.14 keeps the compiler's settings by thread."""

    def capture(graph: Any, inputs: Any, options: Any) -> bool:
        with config.patch(options):
            return config.deterministic

    monkeypatch.setattr(compiler, "options_for", lambda _, **rest: options_for(CUDA, **rest))
    torch.compiler.reset()
    steps = Steps(capture)
    model, method = nn.Linear(3, 2), DynamicSparseTraining(0.1, compile="mask")
    method.prepare(model, past=[])
    with steps.noted():
        loss = method.regularised(model(torch.ones(1, 3)).sum())
        backward = Thread(target=loss.backward)
        backward.start()
        backward.join()
    assert method.added_parameters()[0].grad is not None
    assert steps.captured == [[True, True]]


def test_the_precision_of_a_mask_can_be_traced() -> None:
    def masked(weight: Tensor) -> Tensor:
        return weight.to(compute_dtype(weight))

    traced = torch.compile(masked, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert traced(torch.ones(2)).dtype == torch.bfloat16


def test_the_penalty_can_be_traced() -> None:
    model, method = nn.Linear(3, 2), DynamicSparseTraining(0.1)
    method.prepare(model, past=[])
    traced = torch.compile(method.regularised, backend="eager", fullgraph=True)
    assert traced(torch.zeros(())).item() == pytest.approx(0.1 * 2)  # of two thresholds at 0
