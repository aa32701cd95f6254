"""What a verb of `python -m train` works on, from its words: settings, clips, folds, trainings."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edge.errors import InputError
from edge.features.mfcc import MfccSpec
from edge.files import output
from edge.section import load_section
from train.augmentation.augment import sounds_in
from train.config import TrainConfig
from train.data import index
from train.data.clip import Clip, reasons
from train.data.features import Cache, usable
from train.data.split import Split, unheard_labels
from train.fitting.job import Job, job_of
from train.fitting.progress import Tell, bar
from train.study import protocols


def settings_of(options: argparse.Namespace) -> tuple[TrainConfig, MfccSpec]:
    """Return what config.yaml says, with the noise that was named instead of its own. Raises ConfigError."""
    config = load_section(options.config, "train", TrainConfig)
    if getattr(options, "noise", None):
        augmentation = msgspec.structs.replace(config.augmentation, noise=options.noise)
        config = msgspec.structs.replace(config, augmentation=augmentation)
    return config, load_section(options.config, "features", MfccSpec)


def place_of(options: argparse.Namespace, name: str | None = None) -> Path:
    """Return the folder that a verb writes: --out, and in it --name or else `name`, where there is one.

    Asked before the work that is to end there. Raises PlaceError where nothing can be written.
    """
    out = output(options.out, "--out")
    name = getattr(options, "name", None) or name
    return output(out / name, "--name") if name else out


def loaded(
    options: argparse.Namespace,
) -> tuple[TrainConfig, MfccSpec, list[Clip], list[np.ndarray], list[Split]]:
    """Return settings, readable clips with their frames, and the protocol's folds."""
    config, spec = settings_of(options)
    recipe_of(options, config)
    with bar("listening") as tell:
        found = index.scan(options.data, config, tell)
    # What is lacking is said before features take minutes.
    if config.augmentation.noise is not None:
        warn(f"noise {line}" for line in reasons(sounds_in(config.augmentation.noise, config.cache).left_out))
    protocols.splits(options.protocol, found.clips, config)
    warn(found.remarks(config))
    with bar("features") as tell:
        clips, frames, unusable = usable(found.clips, spec, Cache(config.cache), tell)
    warn(reasons(unusable))
    folds = protocols.splits(options.protocol, clips, config)
    for fold in folds:
        if lacking := unheard_labels(fold, clips):
            warn([f"{fold.where}: no clip to train on is {' or '.join(lacking)}, though others are"])
    return config, spec, clips, frames, folds


def recipe_of(options: argparse.Namespace, config: TrainConfig) -> str:
    """Return the recipe's name: as asked for, else that of the protocol's name, else `study`. Raises ConfigError."""
    name = options.recipe or (options.protocol if options.protocol in config.recipes else "study")
    config.recipe(name, getattr(options, "network", None) or config.compare.networks[0])
    return name


def job_for(options: argparse.Namespace, split: Split, config: TrainConfig, *, name: str | None) -> Job:
    """Return the training of the network, the seed and the epochs that were asked for, on a split."""
    recipe = recipe_of(options, config)
    return job_of(options.network, recipe, split, config, seed=options.seed, epochs=options.epochs, name=name)


def fold_of(folds: Sequence[Split], options: argparse.Namespace) -> Split:
    """Return the fold that was asked for. Raises InputError where there is none of that number."""
    if options.fold not in range(len(folds)):
        there = f"there are {len(folds)}: 0 to {len(folds) - 1}" if len(folds) > 1 else "there is one: 0"
        raise InputError(f"protocol {options.protocol}: no fold {options.fold} ({there})")
    return folds[options.fold]


def epochs(tell: Tell):
    """Return what shows a training its epochs and figures on a progress bar."""
    def report(epoch: int, epochs: int, figures: dict[str, float]) -> None:
        tell(epoch, epochs, " ".join(f"{name} {value:.4f}" for name, value in figures.items()))

    return report


def warn(lines: Iterable[str]) -> None:
    """Say on standard error what whoever trains has to know."""
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)
