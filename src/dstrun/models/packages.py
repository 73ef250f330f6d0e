"""Networks of installed packages by name: `timm:NAME` and `torchvision:NAME`.

Number of classes, input channels and, where a network has a fixed one, image size follow from the
data. Weights are random unless `pretrained` is true; then they are fetched, and layers that have
another shape than the fetched ones, such as the classifier, stay random.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from torch import nn

# What an image classifier of torchvision needs, by the beginning of its name, beside classes.
OF_SIZE = {"vit_": "image_size", "maxvit": "input_size"}
WITHOUT_AUXILIARY = {"aux_logits": False, "init_weights": True}  # one output in training, too
PARTICULAR = {"googlenet": WITHOUT_AUXILIARY, "inception_v3": WITHOUT_AUXILIARY}


@dataclass(frozen=True)
class Package:
    """A package with networks: their names, and what builds one.

    names, build: import the package. `build` takes NAME in front of a builder's arguments. install:
    what pip installs. listed: the call in Python that lists names.
    """

    names: Callable[[], Collection[str]]
    build: Callable[..., nn.Module]
    install: str
    listed: str


def timm_names() -> Collection[str]:
    """Return the names of timm's networks, and those with the tag of their weights."""
    import timm

    return [*timm.list_models(), *timm.list_pretrained()]


def timm_model(
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    pretrained: bool = False,
    **arguments: Any,
) -> nn.Module:
    """Return a network of timm; `arguments` are those of timm.create_model."""
    import timm

    known = timm.get_pretrained_cfg(name, allow_unregistered=False)
    options: dict[str, Any] = {"num_classes": classes, "in_chans": shape[0]}
    if known is not None and known.fixed_input_size:
        options["img_size"] = tuple(shape[1:])
    return timm.create_model(name, pretrained=pretrained, **(options | arguments))


def torchvision_names() -> Collection[str]:
    """Return the names of torchvision's image classifiers."""
    from torchvision import models

    return models.list_models(module=models)


def torchvision_model(
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    pretrained: bool = False,
    **arguments: Any,
) -> nn.Module:
    """Return an image classifier of torchvision; `arguments` are those of its function.

    Where images are not RGB, its first convolution is a new one. pretrained: with the default
    weights. Raise ValueError where the model needs square images and these are not.
    """
    from torchvision import models

    options: dict[str, Any] = {"num_classes": classes, **PARTICULAR.get(name, {})}
    for start, option in OF_SIZE.items():
        if name.startswith(start):
            options[option] = _side(name, shape) if start == "vit_" else tuple(shape[1:])
    model = models.get_model(name, weights=None, **(options | arguments))
    if shape[0] != 3:
        _replace_first_convolution(model, shape[0])
    if pretrained:
        weights = models.get_model_weights(name)["DEFAULT"]
        _load_what_fits(model, weights.get_state_dict(progress=False, check_hash=True))
    return model


def _side(name: str, shape: tuple[int, int, int]) -> int:
    """Return the side of square images; raise ValueError for others."""
    _, height, width = shape
    if height != width:
        raise ValueError(f"images are {height}×{width}, {name} needs square ones")
    return height


def _replace_first_convolution(model: nn.Module, channels: int) -> None:
    """Give a model for RGB images a first convolution for images of so many channels."""
    for name, old in model.named_modules():
        if isinstance(old, nn.Conv2d):
            new = nn.Conv2d(
                channels,
                old.out_channels,
                old.kernel_size,  # type: ignore[arg-type]
                old.stride,  # type: ignore[arg-type]
                old.padding,  # type: ignore[arg-type]
                bias=old.bias is not None,
            )
            model.set_submodule(name, new)
            return


def _load_what_fits(model: nn.Module, weights: dict[str, Any]) -> None:
    """Load the weights that a model has in the same shape."""
    own = model.state_dict()
    fits = {key: one for key, one in weights.items() if key in own and one.shape == own[key].shape}
    model.load_state_dict(fits, strict=False)


PACKAGES = {
    "timm": Package(timm_names, timm_model, "'dstrun[timm]'", "timm.list_models()"),
    "torchvision": Package(
        torchvision_names,
        torchvision_model,
        "torchvision",
        "torchvision.models.list_models(module=torchvision.models)",
    ),
}
