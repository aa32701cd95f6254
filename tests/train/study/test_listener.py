"""A single listener beside the model: by hand, and in an evaluation."""

import csv

import numpy as np
import pytest

from tests.support.lab import SPEC, tiny_clips, tiny_config, tiny_job
from train.data.clip import Clip
from train.study import evaluate
from train.study.listener import listener

LABELS = ["angry", "happy", "sad"]


def clip(label: str, **votes: float) -> Clip:
    return Clip(path="", corpus="", speaker="", label=label, votes=votes)


def test_by_hand():
    clips = [clip("angry", angry=1, sad=3), clip("angry", angry=3, bored=1), clip("sad", sad=2), clip("sad")]
    found = listener(clips, LABELS, np.array([0, 0, 2, 2]), np.array([0, 1, 2, 1]))
    assert found == {
        "clips": 3,
        "uar": pytest.approx(((1 / 4 + 3 / 4) / 2 + 1) / 2),
        "recall": {"angry": pytest.approx(1 / 2), "sad": 1.0},
        "model_uar": pytest.approx((1 / 2 + 1) / 2),
    }


def test_where_nobody_was_asked_there_is_none():
    assert listener([clip("sad")], LABELS, np.array([2]), np.array([2])) is None


def test_an_evaluation_has_the_listener_where_the_table_has_votes(tmp_path, capsys):
    from train.__main__ import main
    from train.fitting.fit import fit

    config = tiny_config(tmp_path)
    clips = tiny_clips(tmp_path, config)
    run = fit(tiny_job("ann", clips, config), clips, config, SPEC, folder=tmp_path / "run")
    path = tmp_path / "votes.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([
            ("path", "label", "votes_ps", "votes_sad"),  # the corpus's own words
            *((each.path, each.label, 2 * (each.label == "surprise"), 1) for each in run.clips("test")),
        ])
    found = evaluate.evaluate(evaluate.open_model(run.folder), [path], config)
    said = found["listener"]
    assert said["clips"] == found["n"] == len(run.clips("test"))
    assert said["recall"] == pytest.approx({
        label: {"surprise": 2 / 3, "sad": 1.0}.get(label, 0.0) for label in {one.label for one in run.clips("test")}
    })  # fmt: skip
    assert said["model_uar"] == found["uar"]
    assert main(["evaluate", str(run.folder), "--index", str(path)]) == 0
    assert f"of {found['n']} clips with votes: a single listener UAR {said['uar']:.4f}" in capsys.readouterr().out
