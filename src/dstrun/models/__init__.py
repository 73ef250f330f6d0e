"""Networks: plain torch modules, initialised when built, without masks and config.

A builder takes the shape of an example, (channels, height, width) of an image or (length,) of a
text, the number of classes and the model's own arguments (`model.args`), and raises ValueError for
arguments that it cannot use. `BUILDERS` maps the names that `model.builder` may have to them; other
packages add theirs through the entry-point group `dstrun.models`. `PACKAGES` has packages whose own
networks are named such as `timm:resnet18`.
"""

from collections.abc import Callable

from torch import nn

from dstrun.models.cifar_resnet import CIFARResNet
from dstrun.models.gpt import GPT
from dstrun.models.lenet import LeNet5, LeNet300100
from dstrun.models.lstm import LSTMClassifier
from dstrun.models.mlp import MLP
from dstrun.models.mobilenet import mobilenet_v2
from dstrun.models.packages import PACKAGES as PACKAGES
from dstrun.models.resnet import resnet18, resnet50
from dstrun.models.vgg import VGG
from dstrun.models.vit import ViT
from dstrun.models.wide_resnet import WideResNet

Builder = Callable[..., nn.Module]

BUILDERS: dict[str, Builder] = {
    "lenet_300_100": LeNet300100,
    "lenet5": LeNet5,
    "lstm": LSTMClassifier,
    "vgg": VGG,
    "wide_resnet": WideResNet,
    "resnet50": resnet50,
    "resnet18": resnet18,
    "cifar_resnet": CIFARResNet,
    "mobilenet_v2": mobilenet_v2,
    "mlp": MLP,
    "vit": ViT,
    "gpt": GPT,
}

# of BUILDERS: those whose networks take sequences of bytes, int64 (B, L), in place of images
OF_SEQUENCES = ("gpt",)


def is_ours(builder: Builder) -> bool:
    """Return whether the text of a builder's ValueError is a sentence for the user."""
    of_packages = [package.build for package in PACKAGES.values()]
    return builder in BUILDERS.values() or builder in of_packages
