"""A model on anyone's data: a Keras run or an artifact as the sensor runs it, one table of clips, one JSON object."""

from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge.errors import ArtifactError, InputError
from edge.features.mfcc import MfccSpec
from edge.features.normalize import Normalization
from edge.model import artifact
from edge.model.graph import Model
from train.config import TrainConfig
from train.data import table as tables
from train.data.clip import Clip, LeftOut, left_out, reasons
from train.data.features import Cache, clip_frames
from train.data.index import scan_to_judge, table_of
from train.data.twins import said
from train.data.windows import heard_of, speech_bounds, standardized, windowed
from train.fitting import metrics
from train.fitting.runs import MODEL, load_run
from train.networks import registry
from train.study.listener import listener

Reading = Literal["mean", "last"]
_READINGS = {"last": "the answer at its end", "mean": "the mean of its answers, block by block"}


class Answering:
    """A model that answers utterances, whatever made it.

    answer: (raw frames (n, coefficients), reading) -> log-probabilities, float (labels,). window_frames: how much of
    a clip it hears at its end; None: all of it. trained_on: `sound_of` the clips that trained it, None where that is
    not known. temperature: by which its logits were divided when it was calibrated; None for a run, which is not.
    """

    def __init__(
        self,
        labels: Sequence[str],
        features: MfccSpec,
        answer: Callable[[np.ndarray, Reading], np.ndarray],
        name: str,
        *,
        window_frames: int | None,
        trained_on: Set[str] | None = None,
        temperature: float | None = None,
    ) -> None:
        self.labels, self.features, self.answer, self.name = list(labels), features, answer, name
        self.window_frames, self.trained_on, self.temperature = window_frames, trained_on, temperature

    @property
    def sureness(self) -> str:
        """In words what its probabilities are, which a calibration error is of: a run's differs from its artifact's."""
        if self.temperature is None:
            return "not calibrated (`convert` does that)"
        if self.temperature == 1.0:
            return "not calibrated (temperature 1)"
        return f"calibrated (temperature {self.temperature:.3g})"


def open_model(path: str | Path) -> Answering:
    """Return what answers in `path`: a run folder, its `model.keras`, or a `.tflite` artifact.

    Raises ArtifactError or InputError.
    """
    path = Path(path)
    if path.suffix == ".tflite":
        found, model = artifact.load(path)
        manifest = found.manifest
        if manifest.form == "utterance":
            raise ArtifactError(
                f"{path}: hears utterances against a room's baseline: clips that stand alone have none "
                "(`roomtone classify` plays it recordings)"
            )
        answer = _of_artifact(model, manifest.features)
        return Answering(
            manifest.labels, manifest.features, answer, manifest.model_id, window_frames=manifest.window_frames,
            temperature=manifest.temperature,
        )  # fmt: skip
    if path.name == MODEL:
        path = path.parent
    if not path.exists():
        raise InputError(f"{path}: no such model (a run folder, its {MODEL}, or a .tflite artifact)")
    run = load_run(path)
    record = run.record
    answer = _of_keras(run.model, record.normalization, record.features, record.window_frames)
    trained_on = {sound_of(clip) for clip in run.clips("train")}
    return Answering(
        record.labels, record.features, answer, record.name,
        window_frames=record.window_frames, trained_on=trained_on,
    )  # fmt: skip


def evaluate(
    model: Answering,
    data: Sequence[str | Path],
    config: TrainConfig,
    *,
    reading: Reading = "last",
    side: str | None = None,
) -> dict[str, Any]:
    """Return the figures of a model on folders and CSVs of clips as one JSON-able object.

    reading: `last` is the answer at an utterance's end, which a run's record gives too; `mean` is over its answers
    block by block, as the sensor's summary does. side: only rows of this side, where the data is a run's split.csv.
    Clips of labels the model lacks and unreadable ones are counted and named, and not in the figures; a sound that
    stands there twice counts once (`twins`). `listener` is a single person beside the model, where the table has
    votes. `remarks` says it in lines.
    """
    found = scan_to_judge(data, config, model.labels, side=side)
    lacking: dict[str, list[str]] = {}
    unreadable = list(found.left_out)
    truth, rows, speakers, heard = [], [], [], []
    cache = Cache(config.cache)
    for clip in found.clips:
        if clip.label not in model.labels:
            lacking.setdefault(clip.label, []).append(clip.path)
            continue
        try:
            rows.append(model.answer(_utterance(clip, model.features, cache), reading))
        except InputError as error:
            unreadable.append(left_out(clip.path, error))
            continue
        truth.append(model.labels.index(clip.label))
        speakers.append(f"{clip.corpus}/{clip.speaker}")
        heard.append(clip)
    if not rows:
        raise InputError(f"{', '.join(map(str, data))}: {_nothing(lacking, unreadable, model.labels)}")
    answers = np.array(rows)
    figures = metrics.measures(np.array(truth), answers, model.labels)
    per_class = figures.pop("per_class")
    return {
        "model": model.name,
        "reading": reading,
        "sureness": model.sureness,
        "figures_of": f"{heard_of(model.window_frames, trim=True)}; {_READINGS[reading]}",
        "labels": model.labels,
        **figures,
        **metrics.intervals(np.array(truth), answers.argmax(axis=1), np.array(speakers)),
        "recall": {label: values["recall"] if values["n"] else None for label, values in per_class.items()},
        "counts": {label: values["n"] for label, values in per_class.items()},
        "listener": listener(heard, model.labels, np.array(truth), answers.argmax(axis=1)),
        "lacking": {label: {"n": len(paths), "clips": paths} for label, paths in sorted(lacking.items())},
        "unreadable": [str(one) for one in unreadable],
        "twins": found.twins,
        "remarks": [
            *reasons(unreadable),
            *([said(found.twins)] if found.twins else []),
            *_heard_before(model, heard, data, side),
        ],
    }


def sound_of(clip: Clip) -> str:
    """Return what two files of the same sound have in common."""
    return clip.sound_sha256 or clip.sha256


def _heard_before(
    model: Answering, heard: Sequence[Clip], data: Sequence[str | Path], side: str | None
) -> Iterator[str]:
    """Yield in a line that clips trained the model, as its run says, or else as the tables' sides have it."""
    if side == "train":
        return
    sides = {path: its for table in map(table_of, data) if table for path, its in tables.sides(table).items()}
    if model.trained_on is not None:
        count, what = sum(sound_of(clip) in model.trained_on for clip in heard), "trained it: its figures say"
    else:
        count = sum(sides.get(clip.path) == "train" for clip in heard) if side is None else 0
        what = "stand on the table's training side: if they trained it, its figures say"
    if count:
        instead = "; --side test" if side is None and "test" in sides.values() else ""
        yield f"{count} of these {len(heard)} clips {what} nothing of a voice that it never heard{instead}"


def _nothing(lacking: dict[str, list[str]], unreadable: Sequence[LeftOut], labels: Sequence[str]) -> str:
    """Return why no clip is left: of what other labels they are, and what cannot be read of them."""
    why = []
    if lacking:
        theirs = ", ".join(f"{label} ({len(paths)})" for label, paths in sorted(lacking.items()))
        why.append(f"no clip that can be read has a label of the model ({', '.join(labels)}): they are {theirs}; "
                   "train.words says which label a word means")  # fmt: skip
    return "; ".join(why + reasons(unreadable))


def _utterance(clip: Clip, spec: MfccSpec, cache: Cache) -> np.ndarray:
    frames = clip_frames(clip, spec, cache)
    return frames[slice(*speech_bounds(frames, spec))]


def _blocks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, max(1, count - count % size), size):
        yield slice(start, start + size)


def _combined(probs: Sequence[np.ndarray], reading: Reading) -> np.ndarray:
    together = np.mean(probs, axis=0) if reading == "mean" else probs[-1]
    return np.log(np.maximum(together, 1e-12))


def _of_artifact(model: Model, spec: MfccSpec) -> Callable[[np.ndarray, Reading], np.ndarray]:
    def answer(frames: np.ndarray, reading: Reading) -> np.ndarray:
        model.reset()
        answers = [model.process(frames[block]) for block in _blocks(len(frames), spec.block_frames)]
        probs = [answer for answer in answers if answer is not None]
        if not probs:
            raise InputError("shorter than one step of the model")
        return _combined(probs, reading)

    return answer


def _of_keras(
    model: Any, normalization: Normalization, spec: MfccSpec, window_frames: int
) -> Callable[[np.ndarray, Reading], np.ndarray]:
    def answer(frames: np.ndarray, reading: Reading) -> np.ndarray:
        whole = standardized([frames], normalization)[0]
        ends = [block.stop for block in _blocks(len(frames), spec.block_frames)]
        seen = [whole[:end] for end in (ends if reading == "mean" else ends[-1:])]
        logits = registry.final(np.asarray(model.predict_on_batch(windowed(seen, window_frames)), np.float64))
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        return _combined(scores / scores.sum(axis=1, keepdims=True), reading)

    return answer
