"""What a verb of `python -m train` works on, from its words: settings, clips, folds, trainings."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from edge.errors import ConfigError, InputError
from edge.features.mfcc import MfccSpec
from edge.files import output
from edge.section import load_section
from train.augmentation.augment import sounds_in
from train.config import TrainConfig
from train.data import index
from train.data.clip import Clip, reasons
from train.data.features import Cache, slug, usable
from train.data.split import Split, unheard_labels
from train.fitting.checkpoint import epochs_done
from train.fitting.job import Job, job_of, too_short
from train.fitting.progress import Tell, bar, resumed
from train.networks import registry
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


def called(data: Sequence[str]) -> str:
    """Return a name for what is made of these folders and tables: theirs."""
    return slug("-".join(os.path.basename(os.path.abspath(one)).removesuffix(".csv") for one in data)) or "data"


def loaded(
    options: argparse.Namespace, *, validated: bool = False
) -> tuple[TrainConfig, MfccSpec, list[Clip], list[np.ndarray], list[Split]]:
    """Return settings, readable clips with their frames, and the protocol's folds, or the one that was asked for.

    Raises InputError where there are none, or (`validated`) nobody validates: as far as can be, before features are
    made.
    """
    config, spec = settings_of(options)
    recipe_of(options, config)
    with bar("listening") as tell:
        found = index.scan(options.data, config, tell)
    # What is lacking is said before features take minutes.
    if config.augmentation.noise is not None:
        warn(f"noise {line}" for line in reasons(sounds_in(config.augmentation.noise, config.cache).left_out))
    folds = _asked(options, found.clips, config, validated=validated)
    warn(found.remarks(config))
    warn(_unvalidated(folds))
    with bar("features") as tell:
        clips, frames, unusable = usable(found.clips, spec, Cache(config.cache), tell)
    warn(reasons(unusable))
    folds = _asked(options, clips, config, validated=validated)
    for fold in folds:
        if lacking := unheard_labels(fold, clips):
            warn([f"{fold.where}: no clip to train on is {' or '.join(lacking)}, though others are"])
    return config, spec, clips, frames, folds


def _asked(
    options: argparse.Namespace, clips: Sequence[Clip], config: TrainConfig, *, validated: bool
) -> list[Split]:
    """Return the folds to train on. Raises InputError where there are no such, or the recipe cannot be had on one."""
    folds = protocols.splits(options.protocol, clips, config)
    if getattr(options, "fold", None) is not None:
        folds = [fold_of(folds, options)]
    elif hasattr(options, "fold") and options.name and len(folds) > 1:
        raise InputError(f"--name: protocol {options.protocol} has {len(folds)} folds here; give a --fold too")
    for split in folds:
        for network in networks_of(options, config):
            job_of(network, recipe_of(options, config), split, config, epochs=options.epochs)
        if validated and not split.validation:
            raise InputError(f"{split.where}: has no validation side to judge trials by")
    return folds


def _unvalidated(folds: Sequence[Split]) -> Iterator[str]:
    """Yield in a line that nobody validates where somebody should."""
    if lacking := [fold for fold in folds if not fold.validation and fold.protocol in protocols.VALIDATED]:
        where = lacking[0].where + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
        yield (
            f"{where}: fewer than three speakers train, so none validates: there is no validation curve, and `convert` "
            "cannot calibrate what comes of it: add recordings of others"
        )


def recipe_of(options: argparse.Namespace, config: TrainConfig) -> str:
    """Return the recipe's name: as asked for, else that of the protocol's name, else `study`.

    Raises ConfigError where there is none, or where it cannot be that of every network that is to be trained.
    """
    name = options.recipe or (options.protocol if options.protocol in config.recipes else "study")
    for network in networks_of(options, config):
        config.recipe(name, network)
    return name


def networks_of(options: argparse.Namespace, config: TrainConfig) -> Sequence[str]:
    """Return the networks to train: those asked for, else the configuration's. Raises ConfigError."""
    if hasattr(options, "network"):
        return [options.network]
    if options.networks:
        return options.networks
    for network in config.compare.networks:
        if network not in registry.NAMES:
            raise ConfigError(f"train.compare.networks: no network {network!r} (there are {', '.join(registry.NAMES)})")
    return config.compare.networks


def job_for(options: argparse.Namespace, split: Split, config: TrainConfig, *, name: str | None) -> Job:
    """Return the training of the network, the seed and the epochs that were asked for, on a split."""
    recipe = recipe_of(options, config)
    return job_of(options.network, recipe, split, config, seed=options.seed, epochs=options.epochs, name=name)


def short(jobs: Iterable[Job]) -> Iterator[str]:
    """Yield in a line that trainings are shorter than their recipes want: of those alike, the first."""
    told = set()
    for job in jobs:
        said = too_short(len(job.split.train), job.recipe)
        if said and job.recipe not in told:
            told.add(job.recipe)
            yield f"{job.name}: {said}"


@contextmanager
def resumable(*folders: Path) -> Iterator[None]:
    """Let Ctrl-C amid trainings in these folders say how far they are, and what goes on from there."""
    try:
        yield
    except KeyboardInterrupt:
        done = sum(map(epochs_done, folders))
        after = f"after {done} {'epoch' if done == 1 else 'epochs'}; the same command goes on from there"
        before = "before an epoch was over; the same command begins it again, what was prepared is kept"
        raise KeyboardInterrupt(f"stopped {after if done else before}") from None


def fold_of(folds: Sequence[Split], options: argparse.Namespace) -> Split:
    """Return the fold that was asked for. Raises InputError where there is none of that number."""
    if options.fold not in range(len(folds)):
        there = f"there are {len(folds)}: 0 to {len(folds) - 1}" if len(folds) > 1 else "there is one: 0"
        raise InputError(f"protocol {options.protocol}: no fold {options.fold} ({there})")
    return folds[options.fold]


def epochs(tell: Tell):
    """Return what shows a training its epochs and figures on a progress bar."""
    def report(epoch: int, epochs: int, figures: dict[str, float]) -> None:
        if not figures:
            return resumed(tell, epoch, epochs)
        tell(epoch, epochs, " ".join(f"{name} {value:.4f}" for name, value in figures.items()))

    return report


def warn(lines: Iterable[str]) -> None:
    """Say on standard error what whoever trains has to know."""
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)
