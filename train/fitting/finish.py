"""The end of a training: its network, its clips and, last of all, its record, which makes the run a finished one."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import msgspec

from edge.features.mfcc import MfccSpec
from edge.files import write_atomically
from train.config import Augmentation
from train.data.clip import Clip
from train.fitting import checkpoint, runs
from train.fitting.device import device
from train.fitting.job import Job


def finished(
    job: Job,
    clips: Sequence[Clip],
    model: keras.Model,
    progress: checkpoint.Progress,
    *,
    folder: Path,
    labels: Sequence[str],
    spec: MfccSpec,
    figures: dict[str, Any],
    augmentation: Augmentation | None = None,
    **front_end: Any,
) -> runs.Run:
    """Write the run's files and return it. `augmentation` counts where the recipe augments; `front_end` is what else
    the record says of how its inputs are made."""
    _write_model(folder, model)
    runs.write_split(folder, clips, job.split)
    record = runs.RunRecord(
        name=job.name,
        network=job.network,
        settings=msgspec.to_builtins(job.settings),
        recipe=job.recipe,
        labels=list(labels),
        features=spec,
        protocol=job.split.protocol,
        fold=job.split.fold,
        split_seed=job.split.seed,
        seed=job.seed,
        corpora=runs.corpora_of([clips[index] for index in job.split.train]),
        commit=runs.commit(),
        created=runs.now(),
        versions=runs.versions(),
        epochs=progress.epochs,
        chosen_epoch=progress.best_epoch or progress.epochs,
        curves=progress.curves,
        seconds=round(progress.seconds, 1),
        cpu_seconds=round(progress.cpu_seconds, 1),
        metrics=figures,
        device=device(),
        augmentation=augmentation if job.recipe.augment else None,
        **front_end,
    )
    runs.write_record(folder, record)
    return runs.Run(folder, record)


def _write_model(folder: Path, model: keras.Model) -> None:
    """Write the network into its run's folder, without optimizer and loss."""
    bare = type(model).from_config(model.get_config())
    bare.set_weights(model.get_weights())
    with tempfile.NamedTemporaryFile(suffix=".keras") as file:
        bare.save(file.name)
        write_atomically(folder / runs.MODEL, Path(file.name).read_bytes())
