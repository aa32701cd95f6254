"""A graph as one call: MFCC frames in, probabilities out, in the window and the step form; the utterance form has a
file of its own (edge/model/utterance.py).

Normalization and state live here, so that the caller only says when an utterance begins.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from edge.errors import ArtifactError
from edge.features.normalize import Normalizer
from edge.model import runtime
from edge.model.embedding import MOMENTS, of_moments
from edge.model.manifest import Manifest
from edge.model.utterance import UtteranceModel


class Model(Protocol):
    """What the pipeline sees of a graph that hears frames.

    embedding: of the utterance up to the last answer, float32 (dimensions,); None before the first one, and always
    where the manifest declares none.
    """

    @property
    def embedding(self) -> np.ndarray | None: ...

    def reset(self) -> None:
        """Begin a new utterance."""

    def process(self, frames: np.ndarray) -> np.ndarray | None:
        """Take consecutive MFCC frames (n, coefficients); return float32 (labels,) after the last of them, summing
        to 1, or None where fewer than the graph needs have come since the last call."""


def load_model(graph: bytes, manifest: Manifest) -> Model | UtteranceModel:
    """Return a model over verified bytes. Raises ArtifactError if graph and manifest do not fit together."""
    try:
        interpreter = runtime.interpreter(graph)
        signatures = interpreter.get_signature_list()
        if len(signatures) != 1:
            raise ArtifactError(f"graph: expected one signature, found {len(signatures)}")
        runner = interpreter.get_signature_runner(next(iter(signatures)))
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"graph: {runtime.NAME} cannot load it ({str(error).splitlines()[0]})") from error
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    said = {"probs": (1, len(manifest.labels))}
    if manifest.embedding and manifest.embedding.source == "graph":
        said["embedding"] = (1, manifest.embedding.dimensions)
    if manifest.form == "utterance":
        _expect("input", inputs, {"utterance": (1, len(manifest.functionals) + 1)})
        _expect("output", outputs, said)
        wires = (interpreter, manifest, inputs["utterance"]["index"], outputs["probs"]["index"])
        try:
            return UtteranceModel(*wires, _reader(interpreter, manifest, outputs))
        except ValueError as error:
            raise ArtifactError(f"manifest: features: {error}") from error
    frames = manifest.window_frames or manifest.step_frames
    states = {name: tuple(shape) for name, shape in manifest.states.items()}
    _expect("input", inputs, {"mfcc": (1, frames, manifest.features.coefficients), **states})
    _expect("output", outputs, {**said, **{f"{name}_out": shape for name, shape in states.items()}})
    wires = (
        interpreter, Normalizer(manifest.normalization), inputs["mfcc"]["index"], outputs["probs"]["index"],
        _reader(interpreter, manifest, outputs),
    )  # fmt: skip
    if manifest.form == "window":
        return WindowModel(*wires, shape=(1, frames, manifest.features.coefficients))
    carried = {inputs[name]["index"]: outputs[f"{name}_out"]["index"] for name in states}
    return StepModel(*wires, step_frames=frames, carried=carried)


def _reader(interpreter, manifest: Manifest, outputs: dict) -> Callable[[], np.ndarray] | None:
    """Return what reads the embedding off the graph after an answer; None where it does not come from there."""
    if manifest.embedding is None or manifest.embedding.source == "functionals":
        return None
    if manifest.embedding.source == "moments":
        index = outputs[f"{MOMENTS}_out"]["index"]
        return lambda: of_moments(interpreter.get_tensor(index)[0])
    index = outputs["embedding"]["index"]
    return lambda: interpreter.get_tensor(index)[0]


class _FrameModel:
    """What both forms have in common: standardized frames go in, and the last answer and its embedding come out."""

    def __init__(
        self, interpreter, normalizer: Normalizer, mfcc: int, probs: int, embed: Callable[[], np.ndarray] | None
    ) -> None:
        self._interpreter, self._normalizer, self._mfcc, self._probs = interpreter, normalizer, mfcc, probs
        self._embed = embed
        self._answered = False

    @property
    def embedding(self) -> np.ndarray | None:
        return self._embed() if self._embed and self._answered else None

    def reset(self) -> None:
        self._normalizer.reset()
        self._answered = False

    def _answer(self) -> np.ndarray:
        self._answered = True
        return self._interpreter.get_tensor(self._probs)[0]


class WindowModel(_FrameModel):
    """Maps the last frames of the utterance to probabilities; a shorter utterance has zeros in front."""

    def __init__(self, *wires, shape: tuple[int, int, int]) -> None:
        super().__init__(*wires)
        self._window = np.zeros(shape, np.float32)

    def reset(self) -> None:
        super().reset()
        self._window[:] = 0.0

    def process(self, frames: np.ndarray) -> np.ndarray | None:
        if not len(frames):
            return None
        frames = self._normalizer.process(frames)[-self._window.shape[1] :]
        window = self._window
        window[:, : -len(frames)] = window[:, len(frames) :]
        window[:, -len(frames) :] = frames
        self._interpreter.set_tensor(self._mfcc, window)
        self._interpreter.invoke()
        return self._answer()


class StepModel(_FrameModel):
    """Maps a few new frames and the carried state to probabilities and the next state."""

    def __init__(self, *wires, step_frames: int, carried: dict[int, int]) -> None:
        super().__init__(*wires)
        self._step_frames, self._carried = step_frames, carried
        self.reset()

    def reset(self) -> None:
        super().reset()
        for into in self._carried:
            self._interpreter.set_tensor(into, np.zeros_like(self._interpreter.get_tensor(into)))
        self._pending: np.ndarray | None = None

    def process(self, frames: np.ndarray) -> np.ndarray | None:
        frames = self._normalizer.process(frames)
        if self._pending is not None:
            frames = np.concatenate([self._pending, frames])
        whole = len(frames) - len(frames) % self._step_frames
        for start in range(0, whole, self._step_frames):
            self._step(frames[None, start : start + self._step_frames])
        self._pending = frames[whole:] if whole < len(frames) else None
        return self._answer() if whole else None

    def _step(self, frames: np.ndarray) -> None:
        interpreter = self._interpreter
        interpreter.set_tensor(self._mfcc, frames)
        interpreter.invoke()
        for into, out in self._carried.items():
            interpreter.set_tensor(into, interpreter.get_tensor(out))


def _expect(what: str, details: dict, shapes: dict[str, tuple[int, ...]]) -> None:
    if set(details) != set(shapes):
        raise ArtifactError(f"graph: {what}s are {sorted(details)}, the manifest says {sorted(shapes)}")
    for name, shape in shapes.items():
        if tuple(details[name]["shape"]) != shape or details[name]["dtype"] != np.float32:
            found = f"{details[name]['dtype'].__name__}{details[name]['shape'].tolist()}"
            raise ArtifactError(f"graph: {what} {name} is {found}, the manifest says float32{list(shape)}")
