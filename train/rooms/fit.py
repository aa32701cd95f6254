"""The training of a network of utterances: `python -m train rooms`. Lessons become a run folder, resumable."""

import io
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from edge.features.baseline import Prior
from edge.features.functionals import names
from edge.features.mfcc import MfccSpec
from edge.files import write_atomically
from train.data.clip import Clip
from train.data.features import key_of
from train.fitting import checkpoint, metrics, runs
from train.fitting.finish import finished
from train.fitting.job import Job, steps_of
from train.fitting.objective import optimizer_of
from train.fitting.progress import Tell, resumed
from train.networks import utterance
from train.rooms.heard_before import JUDGED, judged, judged_rooms
from train.rooms.lessons import CLOSED, against, lessons
from train.rooms.pretrain import pretrain
from train.rooms.prior import prior_of
from train.rooms.utterances import Utterances

_REPRESENTATIVE = 500
_BEFORE = 2**31  # an epoch that no training has, for what is drawn before the first


def train_rooms(
    job: Job, clips: Sequence[Clip], heard: Utterances, labels: Sequence[str], spec: MfccSpec, *, folder: Path,
    tell: Tell,
) -> runs.Run:  # fmt: skip
    """Train from the last whole epoch on and return the finished run.

    Raises ConfigError where `folder` holds a training of other settings or data.
    """
    recipe, training = job.recipe, job.split.train
    prior = prior_of(clips, training, [heard.whole(np.arange(len(clips)), place) for place in range(heard.places)])
    keras.utils.set_random_seed(job.seed)
    model = utterance.build(job.settings, inputs=len(prior.mean) + 1, labels=len(labels))
    model.compile(optimizer_of(model, recipe, steps=steps_of(job.split, recipe)), loss=_loss(recipe.label_smoothing))
    fingerprint = key_of(
        job.seed, recipe, job.settings, prior, heard.places, [clips[index].sha256 for index in training]
    )
    progress = checkpoint.restore(folder, model, fingerprint)
    resumed(tell, progress.epochs, recipe.epochs)
    if not progress.epochs:
        rng = np.random.default_rng([job.seed, _BEFORE])
        pretrain(
            model, lambda: lessons(clips, heard, training, prior, labels, rng).inputs, epochs=recipe.pretraining,
            batch_size=recipe.batch_size, rng=rng, tell=tell,
        )  # fmt: skip
    while progress.epochs < recipe.epochs:
        began = time.monotonic()
        rng = np.random.default_rng([job.seed, progress.epochs])
        checkpoint.reseed(model, job.seed, progress.epochs)
        taught = lessons(clips, heard, training, prior, labels, rng)
        history = model.fit(
            taught.inputs, taught.truth, sample_weight=taught.weight, batch_size=recipe.batch_size, verbose=0
        ).history
        progress.seconds += time.monotonic() - began
        progress.curves.setdefault("loss", []).append(round(float(history["loss"][-1]), 7))
        progress.epochs += 1
        checkpoint.save(folder, model, progress)
        tell(progress.epochs, recipe.epochs, f"loss {progress.curves['loss'][-1]:.4f}")
    one = utterance.together(model, job.settings)
    figures = {"parameters": one.count_params()}
    inputs, truth = test_of(job, clips, heard, prior, labels)
    if len(inputs):
        figures["test"] = metrics.measures(truth, one.predict(inputs, batch_size=4_096, verbose=0), labels)
    taught = lessons(clips, heard, training, prior, labels, np.random.default_rng([job.seed, recipe.epochs]))
    box = io.BytesIO()
    some = np.linspace(0, len(taught.inputs) - 1, min(_REPRESENTATIVE, len(taught.inputs))).astype(int)
    np.savez_compressed(box, representative=taught.inputs[some], test=inputs, truth=truth)
    write_atomically(folder / runs.ROOMS, box.getvalue())
    return finished(
        job, clips, one, progress, folder=folder, labels=labels, spec=spec, figures=figures,
        functionals=names(spec), baseline=prior,
    )  # fmt: skip


def test_of(
    job: Job, clips: Sequence[Clip], heard: Utterances, prior: Prior, labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the network is given of the test side, each voice in a room that knows it well, and the truth."""
    inputs, truth = [], []
    for corpus in sorted({clips[index].corpus for index in job.split.test}):
        mine = [index for index in job.split.test if clips[index].corpus == corpus]
        among = judged_rooms(clips, mine, JUDGED)
        inputs.append(against(among, heard, prior))
        truth += [list(labels).index(clips[index].label) for index in judged(among)]
    return np.concatenate(inputs) if inputs else np.zeros((0, len(prior.mean) + 1), np.float32), np.array(truth, int)


def _loss(smoothing: float):
    """Return cross-entropy over the labels that a clip's corpus has, the mean over the networks side by side."""

    def loss(truth, logits):
        is_open = ops.not_equal(truth, CLOSED)
        share = smoothing / ops.sum(ops.cast(is_open, logits.dtype), axis=-1, keepdims=True)
        wanted = ops.where(is_open, (1 - smoothing) * truth + share, 0.0)[:, None]
        known = ops.log_softmax(ops.where(is_open[:, None], logits, -1e9), axis=-1)
        return -ops.mean(ops.sum(wanted * ops.where(is_open[:, None], known, 0.0), axis=-1), axis=-1)

    return loss
