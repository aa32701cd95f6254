"""What to train: a network by a recipe on a fold, from a seed."""

import math
import zlib
from collections.abc import Sequence

import msgspec
import numpy as np

from edge.errors import InputError
from edge.section import Section
from train.config import Recipe, TrainConfig
from train.data.clip import Clip
from train.data.features import slug
from train.data.split import Split

_TURNS = 10  # as often, at least, a training's steps renew the moving statistics of BatchNorm


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One training. `name` is that of its folder; `settings` are the sizes of its network."""

    name: str
    network: str
    recipe: Recipe
    settings: Section
    split: Split
    seed: int = 0


def job_of(
    network: str,
    recipe: str,
    split: Split,
    config: TrainConfig,
    *,
    seed: int = 0,
    epochs: int | None = None,
    name: str | None = None,
) -> Job:
    """Return a training by a recipe of the configuration. Raises ConfigError for an unknown recipe or network."""
    found, settings = config.recipe(recipe, network)
    if epochs is None:
        epochs = max(found.epochs, math.ceil(found.least_steps / steps_of(split, found)))
        if found.most_steps:
            epochs = max(1, min(epochs, found.most_steps // steps_of(split, found)))
    found = msgspec.structs.replace(found, epochs=epochs)
    settings = _settled(settings, steps_of(split, found) * epochs)
    if found.choose == "validation" and not split.validation:
        raise InputError(
            f"recipe {recipe}: chooses on the validation side, which {split.where} lacks: take another --recipe, or "
            "add recordings of other speakers"
        )
    made = f"{network}-{split.protocol}-{slug(split.fold)}-seed{seed}"
    return Job(name=name or made, network=network, recipe=found, settings=settings, split=split, seed=seed)


def _settled(settings: Section, steps: int) -> Section:
    """Return the sizes with a momentum of BatchNorm that so many steps settle: after fewer than it looks back at, the
    network that is used would still hold the statistics that it began with, and answer every clip alike."""
    if not hasattr(settings, "momentum"):
        return settings
    return msgspec.structs.replace(settings, momentum=min(settings.momentum, max(0.0, 1 - _TURNS / steps)))


def steps_of(split: Split, recipe: Recipe) -> int:
    """Return the optimizer's steps per epoch."""
    return steps(len(split.train), recipe)


def steps(clips: int, recipe: Recipe) -> int:
    """Return the optimizer's steps per epoch of so many clips to train on."""
    return math.ceil(clips / recipe.batch_size)


def too_short(clips: int, recipe: Recipe) -> str:
    """Return in words that a training on so many clips has fewer steps than its recipe wants; empty where it has them.

    Only where the epochs were asked for: else there are as many as it takes.
    """
    made = steps(clips, recipe) * recipe.epochs
    if made >= recipe.least_steps:
        return ""
    enough = math.ceil(recipe.least_steps / steps(clips, recipe))
    return (
        f"too short a training: {made} steps ({recipe.epochs} epochs of {steps(clips, recipe)}), where the recipe "
        f"wants {recipe.least_steps}: leave --epochs out, or ask for {enough}"
    )


def share_of(split: Split, clips: Sequence[Clip], share: float) -> Split:
    """Return the split with a share of its training side, the same share of every label, nested in larger ones."""
    rng = np.random.default_rng(zlib.crc32(split.fold.encode()))
    kept: list[int] = []
    for label in sorted({clips[index].label for index in split.train}):
        mine = [index for index in split.train if clips[index].label == label]
        kept += [mine[place] for place in rng.permutation(len(mine))[: max(1, round(share * len(mine)))]]
    return msgspec.structs.replace(split, train=sorted(kept))
