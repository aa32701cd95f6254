"""The training of the speech gate: `python -m train speech`. Scenes and a recipe become a run folder, resumable."""

import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from edge.errors import ConfigError, InputError
from edge.features.mfcc import MfccSpec
from edge.features.normalize import Normalization
from edge.hearing.gate import SPEECH_LABELS
from edge.model.artifact import write_atomically
from train.config import Recipe, TrainConfig
from train.data.augment import noise_files
from train.data.features import Cache, key_of
from train.data.index import Clip
from train.data.scenes import Scenes, scenes
from train.data.windows import normalization_of, standardized
from train.fitting import checkpoint, runs
from train.fitting.finish import finished
from train.fitting.fit import network_for
from train.fitting.job import Job
from train.fitting.objective import compiled
from train.fitting.progress import Tell

SCENES = "scenes.npz"  # some of both sides, for conversion: its ranges, and its verification
_REPRESENTATIVE = 100
_SEEDS_APART = 1_000  # of the sides' scenes
_GAIN_DB = (-10.0, 10.0)
_NOT_DONE_HERE = (  # of a recipe
    "least_steps", "contrast", "trim", "balance", "augment", "choose", "window_frames", "precision",
)  # fmt: skip


def require_usable(recipe: Recipe) -> None:
    """Raise ConfigError where the recipe asks for what this training does not do: it would silently be left out."""
    for name in _NOT_DONE_HERE:
        if getattr(recipe, name) != getattr(Recipe(), name):
            raise ConfigError(f"train.recipes.speech.{name}: the speech gate's training has none; leave it out")


def recordings(folder: str | None, without: Sequence[str]) -> list[Path]:
    """Return the noises to train with, the classes (folders) `without` left out.

    Raises InputError for a class that is not there, or where nothing is left.
    """
    files = noise_files(folder)
    classes = {path.parent.name for path in files}
    if unknown := sorted(set(without) - classes):
        raise InputError(f"--without {unknown[0]}: no such folder in {folder} (there are {', '.join(sorted(classes))})")
    kept = [path for path in files if path.parent.name not in without]
    if folder and not kept:
        raise InputError(f"{folder}: nothing is left of it (--without)")
    return kept


def scenes_of(
    job: Job, clips: Sequence[Clip], noise: Sequence[Path], config: TrainConfig, spec: MfccSpec, tell: Tell
) -> dict[str, Scenes]:
    """Return the scenes of the training and the test side, with their own speakers."""
    counts = {"train": config.scenes.train, "test": config.scenes.test}
    return {
        side: scenes(
            count, [clips[index] for index in job.split.side(side)], noise, spec, Cache(config.cache),
            seed=job.seed + _SEEDS_APART * number, tell=tell,
        )
        for number, (side, count) in enumerate(counts.items())
    }  # fmt: skip


def train_speech(
    job: Job, made: dict[str, Scenes], clips: Sequence[Clip], noise: Sequence[Path], spec: MfccSpec,
    *, folder: Path, tell: Tell,
) -> runs.Run:  # fmt: skip
    """Train on scenes from the last whole epoch on and return the finished run.

    Raises ConfigError where `folder` holds a training of other settings or data.
    """
    train, test, recipe = made["train"], made["test"], job.recipe
    normalization = normalization_of(list(train.frames), recipe.normalization, spec)
    model = network_for(job, job.settings, normalization, spec, frames=train.frames.shape[1], labels=SPEECH_LABELS)
    model = compiled(model, recipe, steps=-(-len(train.frames) // recipe.batch_size))
    fingerprint = key_of(
        job.seed, recipe, job.settings, len(train.frames), normalization,
        [clips[index].sha256 for index in job.split.train], [path.name for path in noise],
    )  # fmt: skip
    progress = checkpoint.restore(folder, model, fingerprint)
    while progress.epochs < recipe.epochs:
        began = time.monotonic()
        inputs, truth, weight = _epoch(train, normalization, spec, np.random.default_rng([job.seed, progress.epochs]))
        history = model.fit(
            inputs, truth, sample_weight=weight, batch_size=recipe.batch_size, epochs=1, shuffle=False, verbose=0
        ).history
        progress.seconds += time.monotonic() - began
        progress.curves.setdefault("loss", []).append(round(float(history["loss"][-1]), 7))
        progress.epochs += 1
        checkpoint.save(folder, model, progress)
        tell(progress.epochs, recipe.epochs, f"loss {progress.curves['loss'][-1]:.4f}")
    metrics = {side: measured(model, of, normalization) for side, of in made.items()}
    metrics["parameters"] = model.count_params()
    metrics["noise"] = sorted({path.parent.name for path in noise})
    _write_scenes(folder, train, test)
    return finished(
        job, clips, model, progress, folder=folder, labels=SPEECH_LABELS, spec=spec, normalization=normalization,
        window_frames=train.frames.shape[1], figures=metrics,
    )  # fmt: skip


def measured(model, of: Scenes, normalization: Normalization) -> dict[str, float]:
    """Return how well blocks are told apart, the unclear ones not counted."""
    logits = model.predict(np.stack(standardized(list(of.frames), normalization)), batch_size=256, verbose=0)
    clear = of.weight == 1.0
    truth, score = of.speech[clear], (logits[..., 1] - logits[..., 0])[clear]
    return {
        "blocks": int(clear.sum()),
        "auc": round(float(roc_auc_score(truth, score)), 5),
        "average_precision": round(float(average_precision_score(truth, score)), 5),
        "missed": round(float((score[truth == 1] < 0).mean()), 5),
        "false": round(float((score[truth == 0] > 0).mean()), 5),
    }


def _epoch(of: Scenes, normalization: Normalization, spec: MfccSpec, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the scenes in the order of an epoch, each at a level of its own."""
    order = rng.permutation(len(of.frames))
    frames = of.frames[order]
    frames[..., 0] += rng.uniform(*_GAIN_DB, (len(frames), 1)).astype(np.float32) * np.sqrt(np.float32(spec.mels))
    return np.stack(standardized(list(frames), normalization)), of.speech[order], of.weight[order]


def _write_scenes(folder: Path, train: Scenes, test: Scenes) -> None:
    box = io.BytesIO()
    np.savez_compressed(
        box, representative=train.frames[:_REPRESENTATIVE].astype(np.float16),
        frames=test.frames.astype(np.float16), speech=test.speech.astype(np.int8), weight=test.weight,
    )  # fmt: skip
    write_atomically(folder / SCENES, box.getvalue())
