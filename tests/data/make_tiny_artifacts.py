"""Makes tiny-*.tflite, artifacts of a few kilobytes with random weights: `python -m tests.data.make_tiny_artifacts`.

They are committed, because the tests of `edge` run where TensorFlow is not installed.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from convert.graph import export
from convert.graph.slim import slim
from convert.verification.golden import TOLERANCE, with_golden
from edge.features.mfcc import MfccSpec
from edge.features.normalize import Normalization
from edge.model.artifact import write_artifact
from edge.model.golden import Golden
from edge.model.manifest import Manifest, Provenance
from train.networks import registry
from train.sizes import Cnn, Recurrent

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
WINDOW_FRAMES, STEP_FRAMES, COEFFICIENTS = 40, 4, 40
HERE = Path(__file__).parent
PYTHONS = [sys.executable]


def network(name: str) -> keras.Model:
    """Return a network with random weights, whose answers are far from even."""
    keras.utils.set_random_seed(7)
    settings = Cnn(filters=[4, 8], dense=8) if name == "cnn" else Recurrent(units=[8], dense=8)
    model = registry.module(name).build(settings, frames=WINDOW_FRAMES, coefficients=COEFFICIENTS, labels=len(LABELS))
    last = model.layers[-1]
    last.set_weights([weight * 3 for weight in last.get_weights()])
    return model


def make(name: str, form: str, precision: str, normalization: str, path: Path) -> None:
    """Write one artifact."""
    model = network(name)
    rng = np.random.default_rng(3)
    if form == "step":
        step = registry.module(name).step(model, frames=STEP_FRAMES)
        endpoint = export.step_endpoint(model, step, frames=STEP_FRAMES)
        utterances = [rng.standard_normal((60, COEFFICIENTS)).astype(np.float32) for _ in range(8)]
        samples = export.step_samples(*endpoint, utterances)
    else:
        endpoint = export.window_endpoint(model, frames=WINDOW_FRAMES)
        samples = export.window_samples(rng.standard_normal((40, WINDOW_FRAMES, COEFFICIENTS)).astype(np.float32))
    graph = slim(export.converted(model, *endpoint, precision=precision, samples=samples))
    mean = [-200.0, 60.0] + [0.0] * (COEFFICIENTS - 2)
    std = [60.0, 30.0] + [10.0] * (COEFFICIENTS - 2)
    manifest = Manifest(
        name="tiny",
        version="1",
        architecture=name,
        form=form,
        precision=precision,
        labels=LABELS,
        features=MfccSpec(),
        normalization=Normalization(kind=normalization, mean=mean, std=std),
        window_frames=WINDOW_FRAMES if form == "window" else None,
        step_frames=STEP_FRAMES if form == "step" else None,
        states={state: list(shape) for state, shape in step.states.items()} if form == "step" else {},
        golden=Golden(features=[], probs=[], probs_tolerance=TOLERANCE[precision]),
        provenance=Provenance(corpora=[], protocol="none", seed=7, commit="", created="2026-11-22T00:00:00Z"),
    )
    write_artifact(path, graph, with_golden(graph, manifest, PYTHONS, timeout_s=300))


def main() -> None:
    make("cnn", "window", "float32", "running", HERE / "tiny-window.tflite")
    make("lstm", "step", "float32", "global", HERE / "tiny-step.tflite")
    make("gru", "step", "int8", "running", HERE / "tiny-step-int8.tflite")


if __name__ == "__main__":
    main()
