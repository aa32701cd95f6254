"""What `roomtone model info` says of a model file."""

import msgspec

from edge.commands.model import info
from edge.model.artifact import read_artifact, write_artifact
from edge.model.manifest import Corpus
from tests.support.artifacts import WINDOW


def said(tmp_path, metrics: dict) -> dict[str, str]:
    """Return the lines about a model with these figures, by their first word."""
    artifact = read_artifact(WINDOW)
    corpora = [Corpus(name="TESS", licence="CC BY-NC-ND 4.0"), Corpus(name="mine", licence="unknown")]
    provenance = msgspec.structs.replace(artifact.manifest.provenance, corpora=corpora, metrics=metrics)
    write_artifact(
        tmp_path / "m.tflite", artifact.graph, msgspec.structs.replace(artifact.manifest, provenance=provenance)
    )
    return {line[:11].strip(): line[11:] for line in info(tmp_path / "m.tflite", as_json=False)}


def test_figures_stand_beside_what_guessing_gives(tmp_path):
    lines = said(tmp_path, {
        "test_clips": 17, "test_accuracy": 0.1765, "test_uar": 0.15, "test_recall": {"happy": 0.3, "sad": 0.0},
        "majority_label": "sad", "majority_accuracy": 0.5294,
        "verified_in": ["ai-edge-litert 2.3.0", "tflite-runtime 2.14.0"],
    })  # fmt: skip
    assert lines["measured"] == (
        "test clips 17; test accuracy 0.1765 (always sad: 0.5294); test UAR 0.15 (guessing: 0.5); "
        "verified in ai-edge-litert 2.3.0, tflite-runtime 2.14.0"
    )
    assert lines["trained on"].startswith("TESS (licence CC BY-NC-ND 4.0), mine (licence unknown); protocol ")


def test_figures_of_models_made_before_are_said_as_they_are(tmp_path):
    assert said(tmp_path, {"test_accuracy": 0.5, "loss": 1.5})["measured"] == "test accuracy 0.5; loss 1.5"
    assert "measured" not in said(tmp_path, {})
