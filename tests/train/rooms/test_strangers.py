"""The yardstick of strangers on voices that are made up, where what a baseline is worth is known."""

import json

import numpy as np
import pytest

from edge.errors import InputError
from tests.support.lab import run_train, write_config
from tests.support.tiny_corpus import write_corpus
from tests.train.rooms.voices import clips_of, functionals_of
from train.rooms.heard_before import Setting
from train.rooms.lessons import weights_of
from train.rooms.prior import prior_of
from train.rooms.strangers import Contestant, linear, measure, perceptron

LABELS = ("angry", "happy", "neutral", "sad")
CLIPS = [
    *clips_of("one", voices=6, labels=LABELS, each=8),
    *clips_of("two", voices=5, labels=LABELS, each=8),
    *clips_of("three", voices=4, labels=LABELS[1:], each=8),
]
KNOWN = Setting(voices=1, moods="neutral", heard=20)
UNKNOWN = Setting(voices=1, moods="neutral", heard=0)


def contest(apart: float, model=linear, **options) -> dict[str, dict[str, dict[str, float]]]:
    both = {
        name: Contestant(columns=range(6), knows_rooms=knows, model=model)
        for name, knows in (("room", True), ("training", False))
    }
    functionals = functionals_of(CLIPS, apart=apart)
    return measure(both, CLIPS, functionals, settings=(KNOWN, UNKNOWN), **options)


def mean(found: dict[str, dict[str, dict[str, float]]], name: str, setting: Setting) -> float:
    return float(np.mean(list(found[name][str(setting)].values())))


@pytest.mark.parametrize("model", [linear, perceptron])
def test_where_voices_differ_the_room_tells_the_label(model):
    found = contest(apart=3.0, model=model)
    assert set(found["room"][str(KNOWN)]) == {"one", "two", "three"}
    assert mean(found, "room", KNOWN) > mean(found, "training", KNOWN) + 0.15
    assert mean(found, "room", KNOWN) > mean(found, "room", UNKNOWN) + 0.15


def test_where_voices_are_alike_both_know_it():
    found = contest(apart=0.0)
    assert mean(found, "room", KNOWN) > 0.9
    assert mean(found, "training", KNOWN) > 0.9


def test_who_does_not_know_rooms_hears_all_of_them_alike():
    found = contest(apart=1.0)["training"]
    assert found[str(KNOWN)] == pytest.approx(found[str(UNKNOWN)], abs=1e-9)


def test_a_corpus_to_judge_by_only_teaches_nobody():
    spoilt = functionals_of(CLIPS, apart=0.0)
    wrong = np.array([clip.corpus == "three" for clip in CLIPS])
    spoilt[wrong] = np.random.default_rng(1).normal(0, 9, (wrong.sum(), 6))
    row = {"training": Contestant(columns=range(6), knows_rooms=False, model=linear)}
    found = measure(row, CLIPS, spoilt, never_trained=["three"], settings=(KNOWN,))["training"][str(KNOWN)]
    assert found["one"] > 0.9
    assert found["three"] == pytest.approx(1 / 3, abs=0.15)


def test_one_corpus_has_no_strangers():
    only = [clip for clip in CLIPS if clip.corpus == "one"]
    with pytest.raises(InputError, match="two corpora"):
        measure({}, only, functionals_of(only, apart=1.0))


def test_corpora_weigh_as_the_root_of_their_voices():
    rows = [index for index, clip in enumerate(CLIPS) if clip.corpus != "three"]
    weights = weights_of(CLIPS, rows)
    one = np.array([CLIPS[index].corpus == "one" for index in rows])
    assert weights.mean() == pytest.approx(1.0)
    assert weights[one].sum() / weights[~one].sum() == pytest.approx((6 / 5) ** 0.5)


def test_the_prior_is_the_voices_mean_and_both_deviations():
    among = [index for index, clip in enumerate(CLIPS) if clip.corpus == "two"]
    functionals = functionals_of(CLIPS, apart=2.0)
    functionals[among[3], 2] = np.nan
    voices = functionals[among].astype(np.float64).reshape(5, -1, 6)
    found = prior_of(CLIPS, among, [functionals])
    np.testing.assert_allclose(found.mean, np.nanmean(voices, axis=1).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.within, np.sqrt(np.nanvar(voices, axis=1).mean(axis=0)), rtol=1e-6)
    np.testing.assert_allclose(found.between, np.nanmean(voices, axis=1).std(axis=0), rtol=1e-6)


def test_the_verb_writes_its_table(tmp_path):
    config = write_config(tmp_path)
    table = tmp_path / "clips.csv"
    sounds = sorted(write_corpus(tmp_path, words=("back", "dog")).rglob("*.wav"))
    lines = [f"{sound},{sound.stem.split('_')[2]},{sound.stem[:3]},{sound.stem[:3]}" for sound in sounds]
    table.write_text("\n".join(["path,label,speaker,corpus", *lines]).replace(",ps,", ",surprise,"))
    said = run_train("strangers", "--config", config, "--data", table, "--out", tmp_path / "runs")
    report = json.loads((tmp_path / "runs" / "strangers" / "report.json").read_text())
    assert set(report["uar"]["both, linear"][str(KNOWN)]) == {"OAF", "YAF"}
    assert said.strip() == (tmp_path / "runs" / "strangers" / "report.md").read_text().strip()
