"""From a run to an artifact in place, through the real converter, runtimes and command line, on a tiny corpus."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml

from convert.config import ConvertConfig, Gates
from convert.make import Result, make
from convert.report.page import lines
from convert.verification.calibrate import ENTER_RANGE, calibrate
from convert.verification.verify import interpreters, verify
from edge.errors import ArtifactError
from edge.features.mfcc import MfccSpec
from edge.model.artifact import read_artifact, write_artifact
from edge.model.embedding import Embedding
from edge.model.manifest import Manifest
from tests.support.artifacts import WINDOW
from tests.support.lab import SPEC, tiny_clips, tiny_config, tiny_job
from tests.support.patience import TRAINING_PATIENCE_S
from tests.support.runtimes import ROOT, python_of
from train.data.features import Cache
from train.fitting.runs import Run

# The tiny networks hear few clips and are rough: what is tested is that the gates gate, not where they stand.
EASY = Gates(agreement=0.6, accuracy_loss=0.3, recall_loss=1.0, size_bytes={})
# A front end that differs changes every probability a little, and a float32 artifact must not.
STRICT = Gates(agreement=0.99, accuracy_loss=0.3, recall_loss=1.0, probs_difference={"float32": 1e-3}, size_bytes={})


class Lab:
    """Trained runs of tiny networks, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.train = tiny_config(folder)
        self.cache = Cache(self.train.cache)
        self._clips = tiny_clips(folder, self.train)
        self._runs: dict[str, Run] = {}

    def run(self, name: str) -> Run:
        from train.fitting.fit import fit

        if name not in self._runs:
            job = tiny_job(name, self._clips, self.train, epochs=30, learning_rate=1e-2, normalization="running")
            self._runs[name] = fit(job, self._clips, self.train, SPEC, folder=self.folder / "runs" / name)
        return self._runs[name]


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


def settings(gates: Gates = EASY) -> ConvertConfig:
    python_of("tflite-runtime")
    return ConvertConfig(gates={"any": gates}, representative_clips=30)


@pytest.fixture(scope="module")
def made(lab) -> Result:
    """What became of the tiny CNN as a float32 window artifact: it passed its gates."""
    out = lab.folder / "artifacts" / "cnn.tflite"
    result = make(lab.run("cnn"), precision="float32", form="window", out=out, config=settings(STRICT), cache=lab.cache)
    assert result.path == str(out), result.verification.failures
    return result


@pytest.fixture(scope="module")
def window(made) -> Path:
    """That artifact's file."""
    return Path(made.path)


def test_a_window_artifact_is_the_run_s_network(lab, window):
    manifest = read_artifact(window).manifest
    record = lab.run("cnn").record
    assert (manifest.labels, manifest.features, manifest.normalization) == (
        record.labels, record.features, record.normalization,
    )  # fmt: skip
    assert manifest.provenance.metrics["keras_test_accuracy"] == pytest.approx(
        record.metrics["test"]["accuracy"], abs=1e-4
    )
    assert manifest.provenance.metrics["figures_of"] == (
        f"the last {record.window_frames} frames of each clip, silence at its ends included"
    )
    dense = record.settings["dense"]
    assert manifest.embedding == Embedding(source="graph", dimensions=dense)
    assert len(manifest.golden.embedding) == dense
    found = verify(lab.run("cnn"), window, settings(STRICT), lab.cache)
    assert not found.failures
    assert [device.runtime for device in found.devices] == ["ai-edge-litert", "tflite-runtime"]
    for device in found.devices:
        assert device.agreement == 1.0
        assert device.probs_difference < 1e-5
        assert device.accuracy == pytest.approx(record.metrics["test"]["accuracy"])


def test_an_int8_step_artifact_is_calibrated_and_verified(lab):
    out = lab.folder / "artifacts" / "gru.tflite"
    result = make(lab.run("gru"), precision="int8", form="step", out=out, config=settings(), cache=lab.cache)
    assert result.path == str(out), result.verification.failures
    manifest = read_artifact(out).manifest
    assert manifest.states == {"gru_1_1": [1, 8], "gru_2_1": [1, 8]}
    assert (manifest.form, manifest.step_frames, manifest.window_frames) == ("step", 1, None)
    assert manifest.embedding.source == "graph"
    assert manifest.golden.same_argmax
    assert manifest.golden.probs_tolerance == 2 / 256
    assert manifest.decision.enter == result.calibration.enter
    assert {device.golden_difference <= 2 / 256 for device in result.verification.devices} == {True}


SKEWS = {
    "a mean of another corpus": lambda manifest: {
        "normalization": msgspec.structs.replace(
            manifest.normalization, mean=[value + 12 for value in manifest.normalization.mean]
        )
    },
    "labels in another order": lambda manifest: {"labels": manifest.labels[1:] + manifest.labels[:1]},
    "another hop": lambda manifest: {"features": msgspec.structs.replace(manifest.features, hop_samples=256)},
    "global instead of running": lambda manifest: {
        "normalization": msgspec.structs.replace(manifest.normalization, kind="global")
    },
    "another temperature": lambda manifest: {"temperature": manifest.temperature * 1.1},
}


@pytest.mark.parametrize("skew", SKEWS)
def test_a_skewed_conversion_fails_verification(lab, window, skew, tmp_path):
    artifact = read_artifact(window)
    manifest = msgspec.structs.replace(artifact.manifest, **SKEWS[skew](artifact.manifest))
    skewed = tmp_path / "skewed.tflite"
    # Its golden is recorded after the mistake, as a wrong conversion would: only the test side can tell.
    write_artifact(skewed, artifact.graph, _with_its_own_golden(artifact.graph, manifest))
    found = verify(lab.run("cnn"), skewed, settings(STRICT), lab.cache)
    assert len({failure.split(":")[0] for failure in found.failures}) == len(found.devices) == 2


def _with_its_own_golden(graph: bytes, manifest: Manifest) -> Manifest:
    from convert.verification.golden import with_golden

    return with_golden(graph, manifest, interpreters(settings()), timeout_s=TRAINING_PATIENCE_S)


def test_an_artifact_of_other_labels_is_refused(lab, window, tmp_path):
    artifact = read_artifact(window)
    other = tmp_path / "other.tflite"
    labels = ["bored", *artifact.manifest.labels[1:]]
    write_artifact(other, artifact.graph, msgspec.structs.replace(artifact.manifest, labels=labels))
    with pytest.raises(ArtifactError, match="labels are"):
        verify(lab.run("cnn"), other, settings(), lab.cache)


def test_a_failed_gate_leaves_the_old_artifact_and_prints_the_table(lab):
    out = lab.folder / "kept.tflite"
    out.write_bytes(WINDOW.read_bytes())
    gates = {"agreement": 1.0, "probs_difference": {"dynamic": 1e-9}}
    done = _convert(lab, lab.run("cnn").folder, "--precision", "dynamic", "--out", out, gates={"any": gates})
    assert done.returncode == 65
    assert "FAILED ai-edge-litert: largest probability difference" in done.stdout
    assert "FAILED tflite-runtime: largest probability difference" in done.stdout
    assert "not put in place" in done.stdout
    assert out.read_bytes() == WINDOW.read_bytes()


def test_the_command_puts_it_in_place_with_a_report(lab):
    out = Path(f"{lab.run('cnn').folder}.tflite")  # beside the run, where --out says nothing else
    gates = {"agreement": 0.5, "accuracy_loss": 0.5, "recall_loss": 1.0}
    report = lab.folder / "report.json"  # of the recipe on other voices
    given = calibrate(np.arange(100) % 3, np.eye(3)[np.arange(100) // 2 % 3], abstain_precision=0.7)
    given = msgspec.structs.replace(given, enter=0.42, temperature=1.5)
    report.write_bytes(msgspec.json.encode({"labels": lab.run("cnn").record.labels, "calibration": given}))
    done = _convert(
        lab,
        lab.run("cnn").folder,
        "--precision",
        "float16",
        "--calibration",
        report,
        gates={"any": gates},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = read_artifact(out).manifest
    assert (manifest.precision, manifest.decision.enter, manifest.temperature) == ("float16", 0.42, 1.5)
    found = json.loads(out.with_suffix(".json").read_text())["results"][0]["verification"]
    assert found["file_bytes"] == out.stat().st_size
    assert f": {out.stat().st_size / 1e3:.1f} kB, " in done.stdout
    page = out.with_suffix(".html").read_text()
    assert "tflite-runtime" in page
    assert page.count("<svg") >= 1
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere", "--out", "x.tflite"], 66, "nowhere: no such folder"),
        ([], 78, "convert.set: empty"),
        (["nowhere"], 66, "nowhere: no such folder"),
        (["--out", "x.tflite"], 64, "--out FILE belongs to a RUN"),
        (["--calibration", "report.json"], 64, "--calibration FILE belongs to a RUN"),
        (["--precision", "int9", "x"], 64, "--precision: no int9 (there are float32, float16, dynamic, int8); did you"),
    ],
)
def test_a_mistake_is_one_line(lab, arguments, status, message):
    done = _convert(lab, *arguments)
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert message in line


@pytest.mark.parametrize("text", ["{}", "{", '{"calibration": 3}'])
def test_a_report_without_calibration_is_one_line(lab, text):
    report = lab.folder / "no-report.json"
    report.write_text(text)
    out = lab.folder / "no.tflite"
    done = _convert(lab, lab.run("cnn").folder, "--out", out, "--calibration", report)
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1
    assert str(report) in done.stderr
    assert not out.exists()


def test_a_report_that_is_not_there_is_one_line(lab):
    done = _convert(
        lab, lab.run("cnn").folder, "--out", lab.folder / "no.tflite", "--calibration", lab.folder / "nowhere.json"
    )
    assert done.returncode == 66
    assert done.stderr == f"error: {lab.folder / 'nowhere.json'}: cannot be read (No such file or directory)\n"


def test_a_precision_that_no_threshold_reaches_is_said(made):
    unsure = calibrate(np.arange(100) % 3, np.eye(3)[np.arange(100) // 2 % 3], abstain_precision=1.0)
    said = lines(msgspec.structs.replace(made, calibration=unsure))
    assert any("is as right as convert.abstain_precision asks" in line for line in said)


def test_too_few_clips_are_said_to_be(lab, made):
    run = lab.run("cnn")
    assert len(run.clips("validation")) == len(run.clips("test")) == 8
    said = "\n".join(lines(made))
    assert "TOO FEW test clips to tell how good it is: with 8 of them an accuracy is up to 35 points off" in said
    assert "NOT a threshold to rely on: 20 clips at least are needed to find one; it is the highest there is" in said
    assert read_artifact(Path(made.path)).manifest.decision.enter == ENTER_RANGE[1]
    many = calibrate(np.arange(100) % 3, np.eye(3)[np.arange(100) // 2 % 3], abstain_precision=0.3)
    assert "NOT a threshold" not in "\n".join(lines(msgspec.structs.replace(made, calibration=many)))


def test_the_calibration_of_another_kind_of_model_is_one_line(lab):
    given = calibrate(np.arange(100) % 2, np.eye(2)[np.arange(100) // 2 % 2], abstain_precision=0.7)
    report = lab.folder / "speech-report.json"
    report.write_bytes(msgspec.json.encode({"labels": ["other", "speech"], "calibration": given}))
    done = _convert(lab, lab.run("cnn").folder, "--out", lab.folder / "no.tflite", "--calibration", report)
    assert done.returncode == 78
    assert f"{report}: is of a model that says other, speech; " in done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()) == 1


def test_a_network_without_streaming_state_has_no_step_form(lab):
    done = _convert(lab, lab.run("cnn").folder, "--form", "step", "--out", lab.folder / "no.tflite")
    assert done.returncode == 65
    assert "cnn has the window form, not step (--form window)" in done.stderr


def _convert(lab: Lab, *arguments: object, **convert: object) -> subprocess.CompletedProcess[str]:
    config = lab.folder / "config.yaml"
    config.write_text(yaml.safe_dump({"train": {"cache": lab.train.cache}, "convert": convert}))
    return subprocess.run(
        [sys.executable, "-m", "convert", *map(str, arguments), "--config", str(config)],
        cwd=ROOT, capture_output=True, text=True, timeout=TRAINING_PATIENCE_S,
    )  # fmt: skip


def test_the_representative_set_is_of_the_training_side_only(lab, monkeypatch):
    from convert import make as module

    asked = []
    real = module.side_of
    monkeypatch.setattr(
        module, "side_of", lambda run, name, *rest, **more: asked.append(name) or real(run, name, *rest, **more)
    )
    windows = module._representative(lab.run("cnn"), "window", settings(), lab.cache)[0]
    assert asked == ["train"]
    assert windows.shape == (60, 24, MfccSpec().coefficients)
    assert abs(float(windows[:, -5:].mean())) < 1  # standardized: raw C0 is around -200
    assert np.isfinite(windows).all()
