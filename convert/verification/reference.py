"""What the run's own Keras model says: the truth that an artifact is held against."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from edge.errors import InputError
from edge.features.mfcc import MfccSpec
from edge.model.embedding import MOMENTS, MOST_DIMENSIONS, Embedding
from edge.model.manifest import Form
from train.data.features import Cache, utterance_frames
from train.data.windows import speech_bounds, standardized, windowed
from train.fitting.runs import ROOMS, SCENES, Run
from train.networks import registry
from train.sizes import Networks

_ENDS_PER_SCENE = 4


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a run's split: raw frames per clip (or what a network of utterances is given of it), and truth as
    indices into the run's labels, int (n,)."""

    frames: list[np.ndarray]
    truth: np.ndarray
    corpora: list[str]


def side_of(run: Run, name: str, cache: Cache, spec: MfccSpec | None = None, *, limit: int | None = None) -> Side:
    """Return a side's clips as the sensor would hear them, by the run's front end or another `spec`.

    `limit` takes that many, evenly spread. Raises InputError for an empty side or a bad recording.
    """
    if is_speech(run):
        return _of_scenes(run)
    if is_utterance(run):
        return _of_rooms(run)
    spec = spec or run.record.features
    clips = run.clips(name)
    if not clips:
        raise InputError(
            f"{run.folder}: the {name} side has no clips to convert with: train again under a protocol that has one"
        )
    if limit and len(clips) > limit:
        clips = [clips[index] for index in np.linspace(0, len(clips) - 1, limit).astype(int)]
    frames = utterance_frames(clips, spec, cache)
    if run.record.recipe.trim:
        frames = [clip[slice(*speech_bounds(clip, spec))] for clip in frames]
    truth = np.array([run.record.labels.index(clip.label) for clip in clips])
    return Side(frames=frames, truth=truth, corpora=[clip.corpus for clip in clips])


def _of_scenes(run: Run) -> Side:
    """The speech gate's test side: scenes that end at blocks of which the truth is clear."""
    with np.load(run.folder / SCENES) as file:
        frames, speech, weight = file["frames"].astype(np.float32), file["speech"], file["weight"]
    rng, ends = np.random.default_rng(0), []
    for number, clear in enumerate(weight >= 1.0):
        ends += [(number, int(block)) for block in rng.choice(np.flatnonzero(clear), _ENDS_PER_SCENE)]
    block = frames.shape[1] // speech.shape[1]
    return Side(
        frames=[frames[number, : (end + 1) * block] for number, end in ends],
        truth=np.array([speech[number, end] for number, end in ends]),
        corpora=["scenes"] * len(ends),
    )


def _of_rooms(run: Run) -> Side:
    """The test side of a network of utterances: what it is given of each, in rooms that are known well."""
    with np.load(run.folder / ROOMS) as file:
        given, truth = file["test"], file["truth"]
    if not len(given):
        raise InputError(f"{run.folder}: the test side has no clips")
    return Side(frames=list(given), truth=truth, corpora=["rooms"] * len(given))


def representative_rooms(run: Run) -> np.ndarray:
    """Return what a network of utterances is given of some of its training side: float32 (n, functionals + 1)."""
    with np.load(run.folder / ROOMS) as file:
        return file["representative"]


def representative_scenes(run: Run) -> list[np.ndarray]:
    """Return standardized frames of some of the speech gate's training scenes."""
    with np.load(run.folder / SCENES) as file:
        return standardized(list(file["representative"].astype(np.float32)), run.record.normalization)


def is_speech(run: Run) -> bool:
    """Whether the run is the speech gate's, judged on scenes and not on clips."""
    return (run.folder / SCENES).exists()


def is_utterance(run: Run) -> bool:
    """Whether the run's network hears utterances against a room, and not frames."""
    return run.record.baseline is not None


def has_step(run: Run) -> bool:
    """Whether the run's network declares its streaming state."""
    return hasattr(registry.module(run.record.network), "step")


def has_window(run: Run) -> bool:
    """Whether the run's network answers once per window, and not all along."""
    return not is_utterance(run) and registry.step_frames(run.record.network) is None


def forms_of(run: Run) -> list[Form]:
    """Return the forms that a run's network has, the usual one first."""
    if is_utterance(run):
        return ["utterance"]
    return [*(["window"] if has_window(run) else []), *(["step"] if has_step(run) else [])]


def embedding_of(run: Run, form: str) -> Embedding | None:
    """Return what lessons are learned from in a form of a run's network: what it sums up anyway, else what its last
    layer sees; None where that is too much, or where it is the speech gate's, which nobody teaches."""
    if is_speech(run):
        return None
    if form == "utterance":
        return _embedding("functionals", len(run.record.functionals))
    if form == "step":
        frames = step_frames_of(run, 1)
        states = registry.module(run.record.network).step(run.model, frames=frames).states
        if MOMENTS in states:
            return _embedding("moments", states[MOMENTS][1] - 1)
    return _embedding("graph", run.model.layers[-1].input.shape[-1])


def _embedding(source: str, dimensions: int) -> Embedding | None:
    return Embedding(source=source, dimensions=dimensions) if dimensions <= MOST_DIMENSIONS else None


def step_frames_of(run: Run, wanted: int) -> int:
    """Return the frames per call of a run's step form: as wanted, where the network leaves the choice."""
    return registry.step_frames(run.record.network) or wanted


def logits(run: Run, frames: Sequence[np.ndarray], *, form: str, step_frames: int) -> np.ndarray:
    """Return Keras's logits per clip, float32 (n, labels), from raw frames.

    window: on the last frames, zeros in front. step: on the whole clip at once, without padding, but for the last
    frames that fill no step of `step_frames`.
    """
    record = run.record
    if form == "utterance":
        return run.model.predict(np.stack(frames), batch_size=4_096, verbose=0)
    utterances = standardized(frames, record.normalization)
    if form == "window":
        return run.model.predict(windowed(utterances, record.window_frames), batch_size=256, verbose=0)
    whole = whole_sequence_model(run)
    by_length = defaultdict(list)
    for index, utterance in enumerate(utterances):
        by_length[len(utterance) - len(utterance) % step_frames].append(index)
    found = np.zeros((len(frames), len(record.labels)), np.float32)
    for length, indices in by_length.items():
        if length:
            said = whole.predict_on_batch(np.stack([utterances[index][:length] for index in indices]))
            found[indices] = registry.final(said)
    return found


def whole_sequence_model(run: Run) -> Any:
    """Return the run's network for clips of any length, with the same weights."""
    record = run.record
    settings = msgspec.convert(record.settings, type(getattr(Networks(), record.network)))
    model = registry.module(record.network).build(
        settings, frames=None, coefficients=record.features.coefficients, labels=len(record.labels)
    )
    model.set_weights(run.model.get_weights())
    return model
