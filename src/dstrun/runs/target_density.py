"""Options that a target density changes: as a run uses them, and as they were asked for.

config.yaml has the values in use. Names, hashes and tables go by the values asked for, with those
that only follow from the target at their defaults, so configs of the same run have one hash.
"""

from dataclasses import replace

from dstrun.config.options import Config
from dstrun.config.sparsity_options import RegConfig
from dstrun.methods.dst.with_target import with_target

CHANGED = ("floor", "guard", "freeze")


def as_used(config: Config) -> Config:
    """Return the config with the floor, guard and freeze that a target density leads to."""
    return replace(config, reg=_used(config.reg)) if config.reg.is_steered else config


def _used(reg: RegConfig) -> RegConfig:
    floor, guard, freeze = with_target(reg.target_density, reg.floor, reg.guard, reg.freeze)
    return replace(reg, floor=floor, guard=guard, freeze=freeze)


def as_asked(config: Config) -> Config:
    """Return the config with values at their defaults where these would be used as well."""
    if not config.reg.is_steered:
        return config
    used = _used(config.reg)
    default = _used(RegConfig(target_density=config.reg.target_density))
    changes = {}
    for name in CHANGED:
        value = getattr(used, name)
        is_default = value == getattr(default, name)
        changes[name] = getattr(RegConfig(), name) if is_default else value
    return replace(config, reg=replace(config.reg, **changes))


def released(config: Config, before: Config) -> Config:
    """Return a run's config, of which some options were changed, with another target's values.

    Floor, guard and freeze that only followed from the target `before` go back to their defaults.
    """
    asked, changes = as_asked(before).reg, {}
    for name in CHANGED:
        if getattr(config.reg, name) == getattr(before.reg, name):
            changes[name] = getattr(asked, name)
    return replace(config, reg=replace(config.reg, **changes))
