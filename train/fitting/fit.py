"""One training: a network, a recipe and a fold become a run folder. Stopped at any moment, it goes on."""

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
from tensorboard.summary import Writer

from edge.features.mfcc import MfccSpec
from edge.features.normalize import Normalization
from edge.files import write_atomically
from edge.section import Section
from train.config import Recipe, TrainConfig
from train.data.clip import Clip
from train.data.features import Cache, Shipped
from train.fitting import checkpoint, metrics, runs
from train.fitting.batches import Batches
from train.fitting.costs import multiply_adds
from train.fitting.device import gpus
from train.fitting.finish import finished
from train.fitting.job import Job, steps_of
from train.fitting.objective import compiled
from train.fitting.prepare import Prepared
from train.networks import registry

PREDICT_BATCH = 256
UNROLL_FROM_STEPS = 1_000


Report = Callable[[int, int, dict[str, float]], None]


def fit(
    job: Job,
    clips: Sequence[Clip],
    config: TrainConfig,
    spec: MfccSpec,
    *,
    folder: Path,
    cache: Cache | Shipped | None = None,
    report: Report | None = None,
) -> runs.Run:
    """Train from the last whole epoch on (or from none) and return the finished run.

    report: (epochs done, epochs, figures of the last one) after each epoch, and before the first where earlier calls
    did some, without figures. Raises ConfigError where `folder` holds a training of other settings or data, and for a
    network whose costs nobody counts.
    """
    recipe, counted = job.recipe, time.process_time()
    data = Prepared(
        clips, job.split, recipe, config, spec, cache or Cache(config.cache), seed=job.seed, network=job.network
    )
    model = network_for(
        job, job.settings, data.normalization, spec,
        frames=data.window_frames, labels=config.labels, precision=recipe.precision,
    )  # fmt: skip
    costs = {"parameters": model.count_params(), "multiply_adds": multiply_adds(model)}
    steps = steps_of(job.split, recipe)
    trained = compiled(model, recipe, steps=steps)
    unroll(model, _pays_to_unroll(job.network, steps * recipe.epochs))
    progress = checkpoint.restore(folder, trained, _fingerprint(job, data, clips))
    if report and progress.epochs:
        report(progress.epochs, recipe.epochs, {})
    validation = data.windows("validation"), data.truth("validation")
    while progress.epochs < recipe.epochs:
        began = time.monotonic()
        figures = train_epoch(trained, data, recipe, progress.epochs, job.seed)
        if len(validation[1]):
            figures |= _validated(model, *validation, config.labels)
        progress.seconds += time.monotonic() - began
        progress.cpu_seconds, counted = progress.cpu_seconds + time.process_time() - counted, time.process_time()
        figures = {name: round(value, 7) for name, value in figures.items()}
        for name, value in figures.items():
            progress.curves.setdefault(name, []).append(value)
        progress.epochs += 1
        if recipe.choose == "validation" and figures["val_uar"] >= max(progress.curves["val_uar"]):
            progress.best_epoch = progress.epochs
            checkpoint.save_best(folder, model)
        checkpoint.save(folder, trained, progress)
        _log(folder, progress.epochs, figures)
        if report:
            report(progress.epochs, recipe.epochs, figures)
    unroll(model, False)
    if recipe.choose == "validation":
        checkpoint.load_best(folder, model)
    if recipe.precision != "float32":
        weights = model.get_weights()
        model = network_for(
            job, job.settings, data.normalization, spec, frames=data.window_frames, labels=config.labels
        )
        model.set_weights(weights)
    return _finish(job, data, clips, config, spec, model, progress, folder, costs)


def network_for(
    job: Job,
    settings: Section,
    normalization: Normalization,
    spec: MfccSpec,
    *,
    frames: int,
    labels: Sequence[str],
    precision: str = "float32",
) -> keras.Model:
    """Return a job's network at these sizes, its weights drawn from the job's seed."""
    module = registry.module(job.network)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = module.build(settings, frames=frames, coefficients=spec.coefficients, labels=len(labels))
    finally:
        keras.config.set_dtype_policy(before)
    initialize(model, job.seed)
    if hasattr(module, "adapt"):
        module.adapt(model, normalization)
    return model


def initialize(model: keras.Model, seed: int) -> None:
    """Draw the kernels again, from their own initializers and from `seed` alone.

    Keras seeds initializers from the standard library's global generator, which a dask worker's other threads use too.
    """
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        owner = getattr(layer, "cell", layer)
        for kernel, kind in (("kernel", "kernel_initializer"), ("recurrent_kernel", "recurrent_initializer")):
            initializer = getattr(owner, kind, None)
            if initializer is None or "seed" not in initializer.get_config():
                continue
            drawn = type(initializer).from_config(initializer.get_config() | {"seed": int(rng.integers(2**31))})
            weight = getattr(owner, kernel)
            weight.assign(drawn(weight.shape, dtype=weight.dtype))


def unroll(model: keras.Model, on: bool) -> None:
    """Let the recurrent layers run as a loop over frames or as one long graph: the same function at another cost."""
    for layer in model.layers:
        if hasattr(layer, "unroll"):
            layer.unroll = on


def _pays_to_unroll(network: str, steps: int) -> bool:
    """Whether a training of so many steps gains more from the long graph than making it takes.

    Measured on busy cores, one thread, milliseconds per step of 32 clips: GRU 322 as a loop, 183 unrolled; SimpleRNN
    70 and 38; LSTM 106 and 108. Making the graph takes up to a minute. A GPU has its own kernels for the loop.
    """
    return network in ("gru", "rnn") and steps >= UNROLL_FROM_STEPS and not gpus()


def logits_of(model: keras.Model, windows: np.ndarray) -> np.ndarray:
    """Return float32 (n, labels) in inference mode."""
    said = model.predict(windows, batch_size=PREDICT_BATCH, verbose=0)
    return registry.final(said[0] if isinstance(said, list) else said)  # the contrast's head is beside them


def train_epoch(model: keras.Model, data: Prepared, recipe: Recipe, number: int, seed: int) -> dict[str, float]:
    """Train one epoch; randomness (order, augmentation, dropout) depends on seed and epoch alone."""
    batches = Batches(data, number, recipe.batch_size, contrast=bool(recipe.contrast))
    checkpoint.reseed(model, seed, number)
    history = model.fit(batches, epochs=1, shuffle=False, verbose=0).history
    # Of two outputs, Keras names the figures of each.
    return {name.removeprefix("logits_"): float(values[-1]) for name, values in history.items()}


def _validated(model: keras.Model, windows: np.ndarray, truth: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    found = metrics.measures(truth, logits_of(model, windows), labels)
    return {f"val_{name}": found[name] for name in ("cross_entropy", "accuracy", "uar")}


def _log(folder: Path, epoch: int, figures: dict[str, float]) -> None:
    """Add an epoch to the run's TensorBoard log; opened and closed each time, so that a kill costs nothing."""
    board = Writer(str(folder / "tensorboard"))
    for name, value in figures.items():
        board.add_scalar(name, value, epoch)
    board.close()


def _fingerprint(job: Job, data: Prepared, clips: Sequence[Clip]) -> str:
    content = [job.network, job.seed, job.recipe, job.settings, data.normalization]
    content += [[clips[index].sha256 for index in job.split.side(side)] for side in ("train", "validation", "test")]
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def _finish(
    job: Job,
    data: Prepared,
    clips: Sequence[Clip],
    config: TrainConfig,
    spec: MfccSpec,
    model: keras.Model,
    progress: checkpoint.Progress,
    folder: Path,
    costs: dict[str, int],
) -> runs.Run:
    """Measure the network and return its finished run."""
    figures: dict[str, Any] = dict(costs)
    logits = {
        side: np.concatenate([logits_of(model, windows) for windows in data.parts(side)])
        for side in ("train", "validation", "test") if job.split.side(side)
    }  # fmt: skip
    for side, values in logits.items():
        figures[side] = metrics.measures(data.truth(side), values, config.labels)
    if "validation" in logits:
        warmth = metrics.temperature(data.truth("validation"), logits["validation"])
        figures["temperature"] = warmth
        figures["test_calibrated"] = {
            name: metrics.measures(data.truth("test"), logits["test"] / warmth, config.labels)[name]
            for name in ("cross_entropy", "ece")
        }
    box = io.BytesIO()
    np.savez_compressed(box, **{f"{side}_logits": values for side, values in logits.items()})
    write_atomically(folder / runs.LOGITS, box.getvalue())
    return finished(
        job, clips, model, progress, folder=folder, labels=config.labels, spec=spec, normalization=data.normalization,
        window_frames=data.window_frames, figures=figures, augmentation=config.augmentation,
    )  # fmt: skip
