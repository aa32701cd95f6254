"""Verification: an artifact on the whole test side, in each runtime, against the run's own Keras model."""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scipy.special import softmax

from convert.config import ConvertConfig, Gates
from convert.graph import child
from convert.graph.ops import Graph
from convert.verification.reference import has_window, is_speech, is_utterance, logits, side_of
from edge.errors import ArtifactError
from edge.model.artifact import read_artifact
from edge.model.manifest import Manifest
from edge.model.utterance import ANSWER_BLOCKS
from train.data.features import Cache
from train.data.windows import heard_of
from train.fitting.runs import Run


class OnDevice(msgspec.Struct, frozen=True, kw_only=True):
    """What one runtime made of the test side; differences are against Keras in the same form."""

    runtime: str
    version: str
    numpy: str
    agreement: float
    accuracy: float
    recall: dict[str, float]
    accuracy_change: float
    recall_change: dict[str, float]
    probs_difference: float
    confusion_shift: dict[str, int]
    golden_difference: float
    load_ms: float
    inference_us: float
    inference_p95_us: float
    us_per_audio_s: float


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact's figures; `failures` has a line for each gate it does not pass.

    window_accuracy is Keras's on the run's own windows, keras_accuracy the one in the artifact's form. heard: in words,
    what of each clip the artifact's figures are about; empty where it is no clips, or no frames of them.
    """

    run: str
    network: str
    protocol: str
    fold: str
    form: str
    precision: str
    model_id: str
    clips: int
    heard: str = ""  # reports made before have none
    window_accuracy: float
    keras_accuracy: float
    keras_recall: dict[str, float]
    devices: list[OnDevice]
    file_bytes: int
    weight_bytes: int
    multiply_adds: int
    multiply_adds_per_audio_s: int
    operators: dict[str, int]
    failures: list[str]


def verify(run: Run, path: Path, config: ConvertConfig, cache: Cache) -> Verification:
    """Return how the artifact in a file behaves on the run's test side.

    Its front end is the one its own manifest names, its labels are taken by name. Raises ArtifactError where a runtime
    refuses it or crashes.
    """
    artifact = read_artifact(path)
    manifest = artifact.manifest
    record = run.record
    graph = Graph(artifact.graph)
    truth_side = side_of(run, "test", cache)
    truth = truth_side.truth
    expected = softmax(
        logits(run, truth_side.frames, form=manifest.form, step_frames=manifest.step_frames or 1)
        / manifest.temperature,
        axis=1,
    )
    windows = expected
    if manifest.form != "window" and has_window(run):
        windows = logits(run, truth_side.frames, form="window", step_frames=1)
    heard = side_of(run, "test", cache, manifest.features).frames
    devices = [
        _compared(name, probs, figures, expected, truth, record.labels)
        for name, probs, figures in _answers(path, manifest, heard, record.labels, config)
    ]
    multiply_adds = graph.multiply_adds(loop_trips=record.window_frames or 1)
    usual = manifest.features.block_frames * (ANSWER_BLOCKS if manifest.form == "utterance" else 1)
    inferences_per_s = manifest.features.frames_per_s / (manifest.step_frames or usual)
    verification = Verification(
        run=record.name,
        network=record.network,
        protocol=record.protocol,
        fold=record.fold,
        form=manifest.form,
        precision=manifest.precision,
        model_id=manifest.model_id,
        clips=len(truth),
        heard="" if is_speech(run) or is_utterance(run) else heard_of(manifest.window_frames, trim=record.recipe.trim),
        window_accuracy=_accuracy(windows, truth),
        keras_accuracy=_accuracy(expected, truth),
        keras_recall=_recall(expected, truth, record.labels),
        devices=devices,
        file_bytes=path.stat().st_size,
        weight_bytes=graph.weight_bytes(),
        multiply_adds=multiply_adds,
        multiply_adds_per_audio_s=round(multiply_adds * inferences_per_s),
        operators={f"{name} v{version}": count for (name, version), count in sorted(graph.operators().items())},
        failures=[],
    )
    return msgspec.structs.replace(verification, failures=failures_of(verification, config.gates_for(record.protocol)))


def failures_of(verification: Verification, gates: Gates) -> list[str]:
    """Return a line for each gate that is not passed."""
    lines = []
    for device in verification.devices:

        def gate(what: str, value: float, limit: float, passed: bool, device: OnDevice = device) -> None:
            if not passed:
                lines.append(f"{device.runtime}: {what} {value:.4g}, the gate is {limit:.4g}")

        gate("agreement with Keras", device.agreement, gates.agreement, device.agreement >= gates.agreement)
        lost = max(verification.keras_accuracy, verification.window_accuracy) - device.accuracy
        gate("accuracy lost", lost, gates.accuracy_loss, lost <= gates.accuracy_loss + 1e-9)
        label, change = min(device.recall_change.items(), key=lambda item: item[1])
        gate(f"recall of {label} lost", -change, gates.recall_loss, -change <= gates.recall_loss + 1e-9)
        limit = gates.probs_difference.get(verification.precision, 1.0)
        # A NaN is a failure too.
        gate("largest probability difference", device.probs_difference, limit, device.probs_difference <= limit)
    limit = gates.size_bytes.get(verification.precision)
    if limit is not None and verification.file_bytes > limit:
        lines.append(f"file: {verification.file_bytes / 1e3:.1f} kB, the gate is {limit / 1e3:.1f} kB")
    return lines


def _answers(
    path: Path, manifest: Manifest, frames: Sequence[np.ndarray], labels: Sequence[str], config: ConvertConfig
) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
    """Yield (runtime, probabilities in the order of `labels`, figures) for each runtime."""
    if set(manifest.labels) != set(labels):
        raise ArtifactError(f"{path}: labels are {manifest.labels}, the run has {list(labels)}")
    order = [manifest.labels.index(label) for label in labels]
    with tempfile.TemporaryDirectory(prefix="roomtone-verify-") as name:
        folder = Path(name)
        np.savez(folder / "frames.npz", *frames)
        for python in interpreters(config):
            out = folder / "out.npz"
            child.run_module(
                "convert.verification.device", [str(path), str(folder / "frames.npz"), str(out)],
                what=f"{path}: verification in {python}", timeout_s=config.timeout_s, python=python,
            )  # fmt: skip
            with np.load(out) as file:
                figures = json.loads(str(file["figures"]))
                yield figures.pop("runtime"), file["probs"][:, order], figures
            out.unlink()


def interpreters(config: ConvertConfig) -> list[str]:
    """Return the Pythons to verify in: this one, and the one with the second runtime where it is set up."""
    second = config.second_runtime and child.ROOT / config.second_runtime
    return [sys.executable, *([str(second)] if second and second.exists() else [])]


def _compared(
    runtime: str, probs: np.ndarray, figures: dict, expected: np.ndarray, truth: np.ndarray, labels: Sequence[str]
) -> OnDevice:
    said, keras_said = probs.argmax(axis=1), expected.argmax(axis=1)
    shift = Counter(
        f"{labels[before]} -> {labels[after]}"
        for before, after in zip(keras_said, said, strict=True)
        if before != after
    )
    recall, keras_recall = _recall(probs, truth, labels), _recall(expected, truth, labels)
    return OnDevice(
        runtime=runtime,
        agreement=float((said == keras_said).mean()),
        accuracy=_accuracy(probs, truth),
        recall=recall,
        accuracy_change=_accuracy(probs, truth) - _accuracy(expected, truth),
        recall_change={label: recall[label] - keras_recall[label] for label in recall},
        probs_difference=float(np.abs(probs - expected).max()),
        confusion_shift=dict(shift.most_common()),
        **figures,
    )


def _accuracy(probs: np.ndarray, truth: np.ndarray) -> float:
    return float((probs.argmax(axis=1) == truth).mean())


def _recall(probs: np.ndarray, truth: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    said = probs.argmax(axis=1)
    return {labels[index]: float((said[truth == index] == index).mean()) for index in np.unique(truth)}
