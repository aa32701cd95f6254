"""The report on unheard voices: its figures by hand, and the whole way from trainings to artifacts on a tiny corpus."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from convert import unheard
from convert.config import ConvertConfig
from convert.report.figures import CONDITIONS, Answers, report
from convert.verification.calibrate import calibrate
from tests.support.lab import run_train, write_config
from tests.support.tiny_corpus import write_corpus
from train.config import LABELS
from train.data import table
from train.data.clip import Clip
from train.fitting import runs


def answers(fold, speakers: list[str], truth: list[int], said: list[int], *, corpus: str, seed: int = 0) -> Answers:
    """Every answer has a probability of .7, by Keras and in every condition."""
    probs = np.full((len(truth), len(LABELS)), 0.3 / (len(LABELS) - 1))
    probs[np.arange(len(said)), said] = 0.7
    return Answers(
        fold=fold, seed=seed, labels=list(LABELS), enter=0.5, file_bytes=10, truth=np.array(truth),
        corpora=np.array([corpus] * len(truth)), speakers=np.array(speakers), keras=probs,
        probs=dict.fromkeys(CONDITIONS, probs),
    )  # fmt: skip


def test_figures_by_hand():
    found = report([
        answers("RAVDESS:01+02", ["01", "02", "02"], [0, 0, 5], [0, 1, 5], corpus="RAVDESS"),
        answers("RAVDESS:03", ["03", "03"], [0, 5], [5, 5], corpus="RAVDESS"),
        answers("RAVDESS:04", ["04"], [5], [5], corpus="RAVDESS"),
        answers("TESS:YAF->OAF", ["OAF"] * 2, [0, 5], [0, 5], corpus="TESS"),
        answers("TESS:YAF->OAF", ["OAF"] * 2, [0, 5], [0, 0], corpus="TESS", seed=1),
        answers("unseen:TESS", ["OAF"], [3], [2], corpus="TESS"),
    ])  # fmt: skip
    assert found["pooled"] == ["RAVDESS"]
    together = found["corpora"]["RAVDESS"]
    assert together["uar"]["clean"] == pytest.approx((1 / 3 + 1) / 2)
    assert together["accuracy"] == pytest.approx(4 / 6)
    assert together["uar_by_sex"]["men"] == pytest.approx((1 / 2 + 1) / 2)  # actors 01 and 03
    assert together["ece_equal_mass"] == pytest.approx(2 / 6 * 0.7 + 4 / 6 * 0.3)  # a bin for each answer
    assert together["said"] == {"coverage": 1.0, "accuracy": pytest.approx(4 / 6)}
    there = found["folds"]["TESS:YAF->OAF"]
    assert there["seeds"] == 2
    assert there["uar"]["clean"] == {"mean": 0.75, "spread": pytest.approx(0.5 / 2**0.5), "values": [1.0, 0.5]}
    assert there["said"] == {"coverage": 1.0, "accuracy": 0.75}
    assert "unseen" not in found["corpora"]


def test_a_fold_is_calibrated_by_the_others_of_a_corpus_with_many_voices(tmp_path):
    found = [
        finished(tmp_path, fold, sure)
        for fold, sure in (
            ("A:1", 2.0),
            ("A:2", 3.0),
            ("A:3", 9.0),
            ("B:1->2", 99.0),
            ("B:2->1", 99.0),
            ("unseen:A", 99.0),
        )
    ]
    config = ConvertConfig()
    *calibrations, unseen = (unheard._calibration(run, found, config) for run in [*found[:3], found[3], None, found[5]])
    for of, made in zip(([1, 2], [0, 2], [0, 1], [0, 1, 2], [0, 1, 2]), calibrations, strict=True):
        truth = np.tile(np.arange(30) % len(LABELS), len(of))
        logits = np.concatenate([found[one].logits("test") for one in of])
        assert made == calibrate(truth, logits, abstain_precision=config.abstain_precision)
    assert len({made.temperature for made in calibrations}) == 4
    assert unseen is None


def finished(folder: Path, fold: str, sure: float) -> runs.Run:
    """A run whose network was right about two of three of its 30 test clips, with logits of this size."""
    there = folder / fold.replace(":", "-")
    there.mkdir()
    truth = np.arange(30) % len(LABELS)
    logits = sure * np.eye(len(LABELS))[np.where(np.arange(30) % 3, truth, (truth + 1) % len(LABELS))]
    np.savez(there / runs.LOGITS, test_logits=logits.astype(np.float32))
    clips = [
        Clip(path=f"{fold}/{place}", corpus=fold[0], speaker="", label=LABELS[of]) for place, of in enumerate(truth)
    ]
    table.write(there / runs.SPLIT, clips, side=["test"] * len(clips))
    return runs.Run(folder=there, record=Record(fold=fold, seed=0, labels=list(LABELS)))


class Record(msgspec.Struct):
    """What of a run's record counts here."""

    fold: str
    seed: int
    labels: list[str]


def test_a_folder_without_runs_is_one_line(tmp_path, capsys):
    assert unheard.main([str(tmp_path), "--noise", str(tmp_path), "--out", str(tmp_path / "out")]) == 66
    assert capsys.readouterr().err == f"error: {tmp_path}: no folders of finished runs in it\n"


def test_a_comparison_that_was_stopped_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runs, "load_run", lambda folder: folder)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / runs.RECORD).touch()
    assert unheard.main([str(tmp_path), "--noise", str(tmp_path), "--out", str(tmp_path / "out")]) == 66
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: not finished (no report.json)")


@pytest.mark.slow
def test_from_trainings_to_the_report(tmp_path):
    path = write_config(tmp_path)
    gates = "{agreement: 0.5, accuracy_loss: 0.5, recall_loss: 1.0, probs_difference: {int8: 1.0}}"  # hardly trained
    path.write_text(f"{path.read_text()}convert: {{gates: {{any: {gates}}}}}\n")
    config = ["--config", str(path)]
    corpus = write_corpus(tmp_path / "corpus")
    run_train("compare", *config, "--data", corpus, "--protocol", "unheard", "--networks", "causal_cnn", "--epochs", 2,
              "--jobs", 1, "--out", tmp_path, "--name", "runs")  # fmt: skip
    made = tmp_path / "made"
    assert unheard.main([str(tmp_path / "runs"), *config, "--noise", str(corpus), "--out", str(made)]) == 0
    found = json.loads((made / "report.json").read_text())
    assert set(found["folds"]) == {"TESS:YAF->OAF", "TESS:OAF->YAF"} == set(found["baselines"]["linear"]["folds"])
    for row in found["folds"].values():
        assert set(row["uar"]) == {*CONDITIONS, "keras"}
    assert {path.name for path in made.glob("*.png")} == {"coverage.png", "confusion-tess.png"}
