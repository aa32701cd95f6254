"""What `roomtone model info` says of a model file."""

import os
import subprocess
import sys

import msgspec
import pytest
import soundfile

from edge.commands.check import check
from edge.commands.doctor.examination import _model
from edge.commands.model import info
from edge.config import Decision, EdgeConfig
from edge.model.artifact import read_artifact, write_artifact
from edge.model.manifest import Corpus
from tests.support.artifacts import WINDOW
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT, chirp


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


def test_a_file_s_size_is_its_own_and_no_label_is_the_commonest_of_such_as_are_alike(tmp_path):
    lines = said(tmp_path, {"test_accuracy": 0.4, "majority_accuracy": 0.25})
    assert lines["measured"] == "test accuracy 0.4 (always the same label: 0.25)"
    assert f", {(tmp_path / 'm.tflite').stat().st_size / 1e3:.1f} kB, " in lines["file"]


def test_figures_of_models_made_before_are_said_as_they_are(tmp_path):
    assert said(tmp_path, {"test_accuracy": 0.5, "loss": 1.5})["measured"] == "test accuracy 0.5; loss 1.5"
    assert "measured" not in said(tmp_path, {})


@pytest.mark.parametrize(
    ("coverage", "names"), [(0.0, "nothing: from 0.5 on, 0.0%"), (0.04, "almost nothing: from 0.5 on, 4.0%")]
)
def test_a_model_that_names_hardly_anything_says_so(tmp_path, coverage, names):
    lines = said(tmp_path, {"calibration": {"coverage_at_enter": coverage}})
    rest = "of the clips that it was calibrated on get a label, all others `unknown`"
    assert lines["WARNING"] == f"names {names} {rest}"
    config = EdgeConfig(model=str(tmp_path / "m.tflite"), state_folder=None)
    asked = [str(line) for line in check(config, "c.yaml", live=False)]
    (told,) = (line for line in asked if "golden replay passed" in line)
    assert told.endswith(f"; WARNING: names {names} {rest}")
    found = str(_model(config))
    assert found.startswith("warn  model: ")
    assert f"; names {names} {rest}: train it longer, or on more clips; or run another" in found
    own = msgspec.structs.replace(config, decision=Decision(enter=0.4, exit=0.3))
    assert str(_model(own)).startswith("ok    model: ")
    assert not any("WARNING" in str(line) for line in check(own, "c.yaml", live=False))


@pytest.mark.parametrize("words", [["run", "--input"], ["classify", "--json"]])
def test_whoever_runs_a_model_that_names_nothing_is_told_so(tmp_path, words):
    said(tmp_path, {"calibration": {"coverage_at_enter": 0.0}})
    soundfile.write(tmp_path / "a.wav", chirp(seconds=1), 16_000)

    def told(decision: str) -> int:
        """Return how often it is said, with this in the configuration."""
        (tmp_path / "c.yaml").write_text(f"edge: {{model: m.tflite, state_folder: null{decision}}}")
        command = [sys.executable, "-m", "edge", "--config", "c.yaml", *words, "a.wav"]
        here = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        return done.stderr.count("names nothing: from 0.5 on, 0.0% of the clips")

    assert told("") == 1
    assert told(", decision: {enter: 0.4, exit: 0.3}") == 0


@pytest.mark.parametrize("metrics", [{}, {"calibration": None}, {"calibration": {"coverage_at_enter": 0.1}}])
def test_a_model_that_names_enough_or_of_which_nothing_is_known_is_not_warned_of(tmp_path, metrics):
    assert "WARNING" not in said(tmp_path, metrics)
