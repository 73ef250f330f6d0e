"""Shrunk and sparse forms of transformers, and of every type of layer that can have masks."""

import copy
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig

from dstrun.export import onnx
from dstrun.export.about import About
from dstrun.export.csr import CSRLinear, sparse_left_dense, to_csr
from dstrun.export.shrink import CannotShrinkError, shrink
from dstrun.methods.masked_layers import masked_layers, plain, sparsify
from dstrun.models import BUILDERS
from dstrun.models.transformer import MLP
from tests.helpers.layers import LAYERS

SIZES = {"depth": 2, "width": 16, "heads": 2}


def convnext() -> nn.Module:
    blocks = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)]
    return torchvision.models.ConvNeXt(blocks, layer_scale=1.0, num_classes=5)


class Encoder(nn.Module):
    """torch's own encoder, of sequences of vectors."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


# name: (network, shape of its input)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "vit": (lambda: BUILDERS["vit"]((3, 8, 8), 5, **SIZES), (3, 8, 8)),
    "gpt": (lambda: BUILDERS["gpt"]((6,), 7, **SIZES), (6,)),
    "gpt, tied": (lambda: BUILDERS["gpt"]((6,), 7, **SIZES, tied=True), (6,)),
    "mlp": (lambda: BUILDERS["mlp"]((1, 4, 4), 5, widths=(32, 32)), (1, 4, 4)),
    "torchvision's vit": (
        lambda: torchvision.models.VisionTransformer(8, 4, 2, 2, 16, 32, num_classes=5),
        (3, 8, 8),
    ),
    "swin": (
        lambda: torchvision.models.SwinTransformer([4, 4], 8, [1, 1], [2, 2], [2, 2], 2, 0, 0, 0),
        (3, 16, 16),
    ),
    "convnext": (convnext, (3, 32, 32)),
    "mobilenet_v2": (lambda: BUILDERS["mobilenet_v2"]((3, 32, 32), 5), (3, 32, 32)),
    "encoder": (Encoder, (6, 16)),
}


def sparse(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network of which about a third of the rows are zero, and three inputs."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model = make().eval()
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=(0.2 * module.weight[0].numel()) ** -0.5)
            module.weight.data *= torch.rand_like(module.weight) < 0.3
            module.weight.data[torch.rand(len(module.weight)) < 0.3] = 0
            if module.bias is not None:
                nn.init.normal_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.3)
    return model, torch.randint(7, (3, *shape)) if len(shape) == 1 else torch.randn(3, *shape)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


SLOW = {"mobilenet_v2": pytest.mark.slow}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW.get(name, ())) for name in NETWORKS]
)
@torch.no_grad()
def test_outputs_of_shrunk_networks_are_those_of_the_whole(name: str) -> None:
    """Torch's encoder, whose layers are one operation, keeps everything."""
    model, inputs = sparse(name)
    smaller, expected = shrink(model, inputs[:1]), model(inputs)
    torch.testing.assert_close(smaller(inputs), expected, rtol=1e-5, atol=2e-6 * expected.max())
    assert parameters(smaller) < parameters(model) or name == "encoder"
    assert expected.std(0).max() > 1e-3, "the outputs are constant"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit", "gpt, tied"])
@torch.no_grad()
def test_programs_and_onnx_files_of_shrunk_networks_take_any_number(name: str) -> None:
    model, inputs = sparse(name)
    about = About("", {}, tuple(inputs.shape[1:]), 7, [], [])
    smaller, expected = shrink(model, inputs[:1]), model(inputs)
    networks = [
        onnx.export_program(smaller, about).module(),
        onnx.load_network(onnx.export_bytes(smaller, about)),
    ]
    near = {"rtol": 1e-4, "atol": 1e-5 * float(expected.abs().max())}
    for network in networks:
        for batch in (inputs, inputs[:1]):
            torch.testing.assert_close(network(batch), expected[: len(batch)], **near)


class Untraceable(nn.Module):
    """A model that torch.fx cannot trace, as it asks for values."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x) if x.sum() < 1e9 else x

    def call(self, x: Tensor) -> Tensor:
        return self.part(x)


def dead_mlp() -> MLP:
    """Return four hidden units: a live one, one of bias 2 without weights, two that none reads."""
    mlp = MLP(1)
    mlp.fc1.weight.data = torch.tensor([[1.0], [0.0], [1.0], [1.0]])
    mlp.fc1.bias.data = torch.tensor([0.5, 2.0, 3.0, 4.0])
    mlp.fc2.weight.data, mlp.fc2.bias.data = torch.tensor([[5.0, 3, 0, 0]]), torch.tensor([1.0])
    return mlp


@torch.no_grad()
def test_dead_hidden_units_of_a_block_become_a_bias_or_nothing() -> None:
    """Of tokens: fc2's bias is 1 + 3 · GELU(2)."""
    model, tokens = Untraceable(part=dead_mlp()), torch.randn(1, 3, 1)
    smaller = shrink(model, tokens)
    assert [one.tolist() for one in smaller.parameters()] == [
        [[1.0]],
        [0.5],
        [[5.0]],
        [pytest.approx(1 + 3 * float(nn.functional.gelu(torch.tensor(2.0))))],
    ]
    torch.testing.assert_close(smaller(tokens), model(tokens))
    assert parameters(shrink(Named(part=dead_mlp()), tokens)) == 4
    assert type(model.part) is MLP, "the model itself stays"


@torch.no_grad()
def test_depthwise_filters_go_with_their_channels() -> None:
    """Of five channels the depthwise convolution, which pads with zeros, keeps the first two.

    1 lives; 2 is 1 everywhere, but not at a border after it; 3 is 0, and becomes its bias 7; 4 has
    no filter, and becomes its bias 8; 5 is not read.
    """
    first, each = nn.Conv2d(1, 5, 1), nn.Conv2d(5, 5, 3, padding=1, groups=5)
    last = nn.Conv2d(5, 1, 1)
    first.weight.data = torch.tensor([1.0, 0, 0, 1, 1]).view(5, 1, 1, 1)
    first.bias.data = torch.tensor([0.5, 1, 0, 0, 0])
    each.weight.data[3] = 0
    each.bias.data = torch.tensor([5.0, 6, 7, 8, 9])
    last.weight.data = torch.tensor([1.0, 1, 10, 100, 0]).view(1, 5, 1, 1)
    last.bias.data = torch.tensor([1.0])
    model, images = nn.Sequential(first, each, last), torch.randn(2, 1, 4, 5)
    smaller = shrink(model, images[:1])
    assert [tuple(one.shape)[:2] for one in smaller.parameters()] == [
        *((2, 1), (2,)),
        *((2, 1), (2,)),
        *((1, 2), (1,)),
    ]
    assert list(smaller.parameters())[-1].item() == 1 + 70 + 800
    torch.testing.assert_close(smaller(images), model(images), rtol=1e-5, atol=1e-4)
    each.padding = (0, 0)  # then the second is the sum of its filter, and its bias
    smaller = shrink(model, images[:1])
    assert len(next(smaller.parameters())) == 1
    torch.testing.assert_close(smaller(images), model(images), rtol=1e-5, atol=1e-4)


class Twice(Untraceable):
    def call(self, x: Tensor) -> Tensor:
        return self.part(self.part(x))


class Weighted(Untraceable):
    def call(self, x: Tensor) -> Tensor:
        return self.part(x) + self.part.fc1.weight.sum()


class Named(Untraceable):
    def call(self, x: Tensor) -> Tensor:
        return self.part(tokens=x)


class Scaled(MLP):
    def forward(self, tokens: Tensor, scale: float = 1.0) -> Tensor:
        return scale * super().forward(tokens)


class Further(Untraceable):
    def call(self, x: Tensor) -> Tensor:
        return self.part(x, 2.0)


def further() -> nn.Module:
    part = dead_mlp()
    part.__class__ = Scaled
    return Further(part=part)


def hooked() -> nn.Module:
    model = Untraceable(part=dead_mlp())
    model.part.register_forward_hook(lambda *_: None)
    return model


ODD: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "called twice": (lambda: Twice(part=dead_mlp()), "cannot trace this model"),
    "of two arguments": (further, "cannot trace this model"),
    "with a hook": (hooked, "cannot trace this model"),
    "of two names": (
        lambda: (lambda part: Untraceable(part=part, again=part))(dead_mlp()),
        "cannot trace this model",
    ),
    "read past": (lambda: Weighted(part=dead_mlp()), "computes other outputs"),
    "nothing to remove": (lambda: Untraceable(part=MLP(2)), "cannot trace this model"),
}


@pytest.mark.parametrize("name", ODD)
def test_modules_that_cannot_be_replaced_are_refused_in_a_line(name: str) -> None:
    make, line = ODD[name]
    model = make()
    width = model.part.fc1.in_features
    with pytest.raises(CannotShrinkError, match=line) as caught:
        shrink(model, torch.zeros(1, 3, width))
    assert "\n" not in str(caught.value)


def test_models_that_return_no_tensor_are_refused_in_a_line() -> None:
    class Pair(nn.Linear):
        def forward(self, input: Tensor) -> Any:
            return super().forward(input), None

    with pytest.raises(CannotShrinkError, match=r"^the model returns a tuple, expected a tensor$"):
        shrink(Pair(2, 2), torch.zeros(1, 2))


@torch.no_grad()
def test_a_parameter_that_is_read_directly_stays_one() -> None:
    model, images = sparse("torchvision's vit")
    smaller = shrink(model, images[:1])
    shapes = [tuple(one.shape) for one in smaller.parameters()]
    assert tuple(model.class_token.shape) in shapes
    assert tuple(model.encoder.pos_embedding.shape) in shapes


def first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else first(output[0])


class Model(nn.Module):
    """A model of one layer, called with further arguments of its own."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.further = LAYERS[name][0](), inputs_of(name)[1:]

    def forward(self, x: Tensor) -> Tensor:
        output = self.layer(x, *self.further)
        return output if isinstance(output, Tensor) else output[0]


def inputs_of(name: str) -> list[Tensor]:
    return [one.float() if one.is_floating_point() else one for one in LAYERS[name][1]]


def masked(name: str) -> tuple[nn.Module, Tensor]:
    """Return a model of one layer that keeps half of its weights, and its input."""
    model = Model(name).eval()
    sparsify(model, include=["*"])
    for one in masked_layers(model).values():
        one.mask.threshold.data.fill_(float(one.weight.abs().median()))
    return model, inputs_of(name)[0]


SPARSE = {"Linear": ["layer"], "TransformerDecoderLayer": ["layer.linear1", "layer.linear2"]}
PROJECTIONS = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN"
)


@PROJECTIONS
@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_sparse_and_shrunk_forms_of_every_layer_are_right_or_refused(name: str) -> None:
    model, inputs = masked(name)
    expected, dense = model(inputs), plain(model)
    torch.testing.assert_close(dense(inputs), expected, rtol=0, atol=1e-6)
    made = to_csr(copy.deepcopy(dense))
    torch.testing.assert_close(made(inputs), expected, rtol=0, atol=1e-6)
    found = [key for key, one in made.named_modules() if isinstance(one, CSRLinear)]
    assert found == SPARSE.get(name, [])
    left = set(masked_layers(model)) - set(found)
    assert set(sparse_left_dense(made)) == left
    with suppress(CannotShrinkError):  # layers that look at their inputs
        smaller = shrink(dense, inputs[:1])
        torch.testing.assert_close(smaller(inputs), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@PROJECTIONS
@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_programs_and_onnx_files_of_every_layer(name: str) -> None:
    """The exporter to ONNX makes a file of an LSTM with a projection that does not load."""
    import onnxruntime

    model, inputs = masked(name)
    expected = model(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(plain(model), (inputs,))
        made = torch.onnx.export(program, (), dynamo=True, verbose=False, opset_version=20)
    torch.testing.assert_close(program.module()(inputs), expected, rtol=0, atol=1e-6)
    content = made.model_proto.SerializeToString()
    providers = ["CPUExecutionProvider"]
    if name == "LSTM":
        with pytest.raises(Exception, match="ShapeInferenceError"):
            onnxruntime.InferenceSession(content, providers=providers)
        return
    session = onnxruntime.InferenceSession(content, providers=providers)
    (output,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), expected, rtol=0, atol=1e-5)


def test_layers_that_a_window_attention_reads_itself_stay_dense() -> None:
    model, images = sparse("swin")
    made = to_csr(copy.deepcopy(model))
    with torch.no_grad():
        torch.testing.assert_close(made(images), model(images), rtol=1e-4, atol=1e-5)
    dense = sparse_left_dense(made)
    assert [name for name in dense if name.endswith(("qkv", "proj"))]
    assert not [name for name in dense if "mlp.0" in name]
