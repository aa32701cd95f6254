"""The training of the speech gate: `python -m train speech`. Scenes and a recipe become a run folder, resumable."""

import io
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from edge.errors import ConfigError, InputError
from edge.features.mfcc import MfccSpec, dct_matrix
from edge.features.normalize import Normalization
from edge.files import write_atomically
from edge.hearing.gate import SPEECH_LABELS
from train.augmentation.augment import sounds_in
from train.augmentation.scenes import Scenes, scenes
from train.augmentation.sounds import judging
from train.config import Recipe, TrainConfig
from train.data.clip import Clip
from train.data.features import Cache, key_of
from train.data.side_by_side import cores
from train.data.windows import normalization_of, standardized
from train.fitting import checkpoint, runs
from train.fitting.finish import finished
from train.fitting.fit import network_for
from train.fitting.job import Job
from train.fitting.objective import compiled
from train.fitting.progress import Tell, resumed

_REPRESENTATIVE = 100
_SEEDS_APART = 1_000  # of the sides' scenes
_MEASURED = 1_000  # scenes of which the normalization is measured
_AT_ONCE = 250  # scenes
_GAIN_DB = (-10.0, 10.0)
_COLOUR_DB, _COLOUR_KNOTS = 4.0, 6
_FIRST_BLOCKS = (0, 0, 8, 16, 24)
_NOT_DONE_HERE = (  # of a recipe
    "least_steps", "most_steps", "contrast", "trim", "balance", "voices", "votes", "augment", "choose", "window_frames",
    "precision", "pretraining",
)  # fmt: skip


def require_usable(recipe: Recipe) -> None:
    """Raise ConfigError where the recipe asks for what this training does not do: it would silently be left out."""
    for name in _NOT_DONE_HERE:
        if getattr(recipe, name) != getattr(Recipe(), name):
            raise ConfigError(f"train.recipes.speech.{name}: the speech gate's training has none; leave it out")


def recordings(folders: Sequence[str], without: Sequence[str], cache: str) -> list[Path]:
    """Return the sounds to train with: none kept for judging (train/augmentation/sounds.py), and no class
    (folder) `without`. `cache` as of `sounds_in`.

    Raises InputError for a class that is not there, or where nothing is left.
    """
    files = [path for folder in folders for path in sounds_in(folder, cache).files]
    classes = {path.parent.name for path in files}
    where = ", ".join(folders)
    if unknown := sorted(set(without) - classes):
        raise InputError(f"--without {unknown[0]}: no such folder in {where} (there are {', '.join(sorted(classes))})")
    kept = [path for path in files if path.parent.name not in without and not judging(path)]
    if folders and not kept:
        raise InputError(f"{where}: nothing is left of it (--without, and what is kept for judging)")
    return kept


def rooms_in(folder: str | None, kept: Sequence[str], cache: str) -> list[Path]:
    """Return the impulse responses to train with, those `kept` for judging left out. Raises InputError."""
    return [path for path in sounds_in(folder, cache).files if path.stem not in kept] if folder else []


def scenes_of(
    job: Job, clips: Sequence[Clip], noise: Sequence[Path], config: TrainConfig, spec: MfccSpec, tell: Tell,
    *, rooms: Sequence[Path] = (),
) -> dict[str, Scenes]:  # fmt: skip
    """Return the scenes of the training and the test side, with their own speakers."""
    counts = {"train": config.scenes.train, "test": config.scenes.test}
    return {
        side: scenes(
            count, [clips[index] for index in job.split.side(side)], noise, spec, Cache(config.cache),
            seed=job.seed + _SEEDS_APART * number, tell=tell, rooms=rooms, teacher=config.scenes.teacher,
            processes=cores(),
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
    normalization = normalization_of(list(train.frames[:_MEASURED]), recipe.normalization, spec)
    model = network_for(job, job.settings, normalization, spec, frames=train.frames.shape[1], labels=SPEECH_LABELS)
    model = compiled(model, recipe, steps=-(-len(train.frames) // recipe.batch_size))
    fingerprint = key_of(
        job.seed, recipe, job.settings, len(train.frames), normalization,
        [clips[index].sha256 for index in job.split.train], [path.name for path in noise],
    )  # fmt: skip
    progress = checkpoint.restore(folder, model, fingerprint)
    resumed(tell, progress.epochs, recipe.epochs)
    while progress.epochs < recipe.epochs:
        began = time.monotonic()
        rng = np.random.default_rng([job.seed, progress.epochs])
        batches = _Epoch(train, normalization, spec, recipe.batch_size, rng)
        history = model.fit(batches, epochs=1, shuffle=False, verbose=0).history
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
    logits = np.concatenate([
        model.predict_on_batch(_standardized(of.frames[first : first + _AT_ONCE], normalization))
        for first in range(0, len(of.frames), _AT_ONCE)
    ])  # fmt: skip
    clear = of.weight >= 1.0
    truth, score = of.speech[clear], (logits[..., 1] - logits[..., 0])[clear]
    return {
        "blocks": int(clear.sum()),
        "auc": round(float(roc_auc_score(truth, score)), 5),
        "average_precision": round(float(average_precision_score(truth, score)), 5),
        "missed": round(float((score[truth == 1] < 0).mean()), 5),
        "false": round(float((score[truth == 0] > 0).mean()), 5),
    }


class _Epoch(keras.utils.PyDataset):
    """The scenes in the order of an epoch: inputs, truth and weight of each batch.

    Each scene at a level and with a colour of its own; each batch from some block on, because the sensor's attention
    may begin amidst anything.
    """

    def __init__(self, of: Scenes, normalization: Normalization, spec: MfccSpec, batch_size: int, rng) -> None:
        super().__init__()
        self._of, self._normalization, self._batch_size = of, normalization, batch_size
        self._order = rng.permutation(len(of.frames))
        colour_db = rng.uniform(-_COLOUR_DB, _COLOUR_DB, (len(of.frames), _COLOUR_KNOTS))
        gain_db = rng.uniform(*_GAIN_DB, (len(of.frames), 1)) + colour_db @ _between_knots(spec.mels)
        self._offsets = (gain_db @ dct_matrix(spec.coefficients, spec.mels).T).astype(np.float32)
        self._first = rng.choice(_FIRST_BLOCKS, len(self))

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        those = self._order[number * self._batch_size : (number + 1) * self._batch_size]
        frames = self._of.frames[those].astype(np.float32) + self._offsets[those][:, None]
        truth, weight = self._of.speech[those], self._of.weight[those]
        if first := int(self._first[number]):  # what came before moves to the end, where it counts nothing
            frames = np.roll(frames, -first * (frames.shape[1] // truth.shape[1]), axis=1)
            truth, weight = np.roll(truth, -first, axis=1), np.roll(weight, -first, axis=1)
            weight[:, -first:] = 0.0
        return _standardized(frames, self._normalization), truth, weight


def _between_knots(bands: int) -> np.ndarray:
    """Return what makes a colour at a few knots one of so many bands: (_COLOUR_KNOTS, bands)."""
    places = np.linspace(0, _COLOUR_KNOTS - 1, bands)
    return np.stack([np.interp(places, np.arange(_COLOUR_KNOTS), knot) for knot in np.eye(_COLOUR_KNOTS)])


def _standardized(frames: np.ndarray, normalization: Normalization) -> np.ndarray:
    return np.stack(standardized(list(frames.astype(np.float32)), normalization))


def _write_scenes(folder: Path, train: Scenes, test: Scenes) -> None:
    box = io.BytesIO()
    np.savez_compressed(
        box, representative=train.frames[:_REPRESENTATIVE].astype(np.float16),
        frames=test.frames.astype(np.float16), speech=test.speech.astype(np.int8), weight=test.weight,
    )  # fmt: skip
    write_atomically(folder / runs.SCENES, box.getvalue())
