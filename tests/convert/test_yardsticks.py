"""The yardsticks: their figures by hand, and the whole way on a tiny corpus, killed and resumed."""

import json
import os
import signal
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from scipy.special import softmax

from convert import yardsticks
from convert.report.yardsticks import Answers, report, table
from convert.verification.calibrate import calibrate
from tests.support.lab import write_config
from tests.support.patience import TRAINING_PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.tiny_corpus import write_corpus
from train.config import TrainConfig
from train.data.clip import Clip
from train.fitting import metrics
from train.fitting.checkpoint import epochs_done
from train.study.protocols import splits
from train.study.yardsticks import few, jobs_of

LABELS = ["angry", "happy", "neutral", "sad"]


def answers(fold: str, clips: list[Clip], said: list[list[float]]) -> Answers:
    return Answers(fold=fold, labels=LABELS, clips=clips, probs=np.array(said), file_bytes=10)


def clips(corpus: str, truth: str, **known: str) -> list[Clip]:
    """A clip for each letter: the first of its label."""
    of = {label[0]: label for label in LABELS}
    return [
        Clip(path=f"{corpus}{place}", corpus=corpus, speaker=f"s{place % 5}", label=of[letter], **known)
        for place, letter in enumerate(truth)
    ]


def test_the_model_restricted_to_the_corpus_s_labels_and_not():
    """`neutral` is none of its labels: where the model says it, the next best label counts."""
    given = clips("A", "aahhss")
    sure = {"a": [0.7, 0.1, 0.1, 0.1], "n": [0.3, 0.1, 0.5, 0.1], "s": [0.1, 0.1, 0.2, 0.6]}
    found = report([answers("unseen:A", given, [sure[one] for one in "anaass"])], levels(given), 0.8)
    one = found["yardsticks"]["unseen:A"]
    assert one["labels"] == ["angry", "happy", "sad"]
    assert one["uar"] == pytest.approx((1 + 0 + 1) / 3)
    assert one["uar_over_all_labels"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert one["recall"] == {"angry": 1.0, "happy": 0.0, "sad": 1.0}
    assert "ece" not in one  # no other corpus tells how sure to be
    assert one["interval_over"] == "speakers"


def test_a_corpus_is_calibrated_by_the_others_and_voices_by_other_voices():
    rng = np.random.default_rng(0)
    folds = ("unseen:A", "unseen:B", "A:1", "A:2", "B:1->2")
    made = []
    for fold in folds:
        given = clips(fold, "ahns" * 30)
        said = softmax(rng.normal(size=(120, 4)) + 2 * np.eye(4)[np.tile(np.arange(4), 30)], axis=1)
        made.append(answers(fold, given, said.tolist()))
    found = report(made, {clip.path: 0.0 for one in made for clip in one.clips}, 0.7)["yardsticks"]
    assert list(found) == ["unseen:A", "unseen:B", "A", "B"]
    for of, others in (("unseen:A", [1]), ("B", [2, 3])):
        truth, probs = (np.concatenate([getattr(made[one], name) for one in others]) for name in ("truth", "probs"))
        other = calibrate(truth, np.log(probs), abstain_precision=0.7)
        mine = made[folds.index("B:1->2" if of == "B" else of)]
        sure = softmax(np.log(mine.probs) / other.temperature, axis=1)
        assert found[of]["ece"] == pytest.approx(metrics.ece(mine.truth, sure))
        told = sure.max(axis=1) >= other.enter
        assert found[of]["said"] == pytest.approx(told.mean())
        assert found[of]["right_where_said"] == pytest.approx((sure.argmax(axis=1) == mine.truth)[told].mean())
    assert found["A"]["folds"] == 2
    assert found["A"]["clips"] == 240


def test_parts_by_sex_age_intensity_and_level():
    women = clips("A", "as" * 15, sex="f", age="64", intensity="strong")
    men = clips("B", "as" * 15, sex="m", age="29")
    right, wrong = [0.9, 0, 0, 0.1], [0.1, 0, 0, 0.9]
    said = [right, wrong] * 15 + [wrong, wrong] * 15
    loud = {clip.path: float(place) for place, clip in enumerate(women + men)}
    by = report([answers("unseen:A", women + men, said)], loud, 0.8)["yardsticks"]["unseen:A"]["by"]
    assert by["sex"] == {"women": {"clips": 30, "uar": 1.0}, "men": {"clips": 30, "uar": 0.5}}
    assert by["age"] == {"under 30": {"clips": 30, "uar": 0.5}, "50 and older": {"clips": 30, "uar": 1.0}}
    assert by["intensity"] == {"strong": {"clips": 30, "uar": 1.0}}
    assert [row["clips"] for row in by["level"].values()] == [20, 20, 20]
    assert [row["uar"] for row in by["level"].values()] == [1.0, 0.75, 0.5]


def test_two_voices_both_ways():
    there, back = clips("TESS", "asas"), clips("TESS", "aass")
    right, wrong = [0.9, 0, 0, 0.1], [0.1, 0, 0, 0.9]
    made = [answers("TESS:YAF->OAF", there, [right, wrong, right, wrong]),
            answers("TESS:OAF->YAF", back, [right, right, right, wrong])]  # fmt: skip
    one = report(made, levels(there), 0.8)["yardsticks"]["TESS"]
    assert one["by"]["way"] == {"YAF->OAF": {"clips": 4, "uar": 1.0}, "OAF->YAF": {"clips": 4, "uar": 0.75}}
    assert one["uar"] == pytest.approx((1 + 0.75) / 2)


def levels(given: list[Clip]) -> dict[str, float]:
    return {clip.path: 0.0 for clip in given}


def many() -> list[Clip]:
    return [
        Clip(path=f"{corpus}{speaker}{label}{word}", corpus=corpus, speaker=f"s{speaker}", label=label, text=f"w{word}",
             sound_sha256=f"{corpus}{speaker}{label}{word}")
        for corpus, speakers in (("A", 2), ("B", 7), ("ASED", 3))
        for speaker in range(speakers) for label in ("angry", "sad") for word in range(6)
    ]  # fmt: skip


def with_yardsticks(**folds: int) -> TrainConfig:
    return msgspec.convert(
        {"protocols": {"yardsticks": folds}, "recipes": {"x": {"epochs": 9, "batch_size": 8, "most_steps": 50}}},
        TrainConfig,
    )


def test_voices_of_some_corpora_and_every_corpus_as_a_whole():
    given = many()
    folds = splits("yardsticks", given, with_yardsticks(A=2, B=3))
    assert [fold.fold for fold in folds] == [
        "A:s1->s0", "A:s0->s1", "B:s0+s1+s2", "B:s3+s4", "B:s5+s6", "unseen:A", "unseen:B", "unseen:ASED"
    ]  # fmt: skip
    assert all(given[index].corpus != "ASED" for fold in folds for index in fold.train)
    assert {given[index].corpus for index in folds[-1].test} == {"ASED"}


def test_the_fast_form_trains_on_a_quarter_of_each_voice_and_label_for_as_many_epochs():
    given, config = many(), with_yardsticks(A=2, B=3)
    folds = splits("yardsticks", given, config)
    whole, fast = (jobs_of("cnn", "x", folds, given, config, fast=fast) for fast in (False, True))
    assert [job.split.fold for job in whole][:3] == ["unseen:A", "unseen:B", "unseen:ASED"]
    kept = few(given)
    assert len(kept) == len(given) / 6 * 2  # two of six
    for one, quick in zip(whole, fast, strict=True):
        assert quick.name == f"{one.name}-fast"
        assert set(quick.split.train) == set(one.split.train) & kept
        assert quick.split.test == one.split.test
        assert quick.recipe == one.recipe
    steps = -(-len(whole[0].split.train) // 8)
    assert whole[0].recipe.epochs == 50 // steps  # at most so many steps of the optimizer
    assert whole[1].recipe.epochs == 9


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_any_moment_the_same_command_goes_on(tmp_path):
    """kill -9 in the midst of a training; what was trained before is not trained again."""
    gates = "convert: {second_runtime: null}\n"
    path = write_config(tmp_path, protocols={"yardsticks": {"TESS": 2}})
    path.write_text(path.read_text() + gates)
    corpus = write_corpus(tmp_path / "corpus")
    command = [
        sys.executable, "-m", "convert.yardsticks", "--config", path, "--data", corpus, "--work", tmp_path / "work",
        "--out", tmp_path / "out", "--recipe", "study", "--epochs", "40", "--jobs", "1", "--fast",
    ]  # fmt: skip
    first, second = (
        tmp_path / "work" / f"causal_cnn-yardsticks-tess-{who}-seed0-fast" for who in ("yaf--oaf", "oaf--yaf")
    )
    process = subprocess.Popen([*map(str, command)], cwd=ROOT, start_new_session=True)
    wait_until(lambda: epochs_done(second) >= 3 or process.poll() is not None, patience_s=TRAINING_PATIENCE_S)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    record = (first / "run.json").read_bytes()
    assert 3 <= epochs_done(second) <= 40
    assert not (tmp_path / "out" / "report.json").exists()
    subprocess.run([*map(str, command)], cwd=ROOT, check=True)
    assert (first / "run.json").read_bytes() == record
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["yardsticks"]["TESS"]["clips"] == 84
    assert found["core_hours"]["trainings"] >= 0
    assert table(found) == (tmp_path / "out" / "report.md").read_text()
    # Without trainings, minutes: the artifacts are there too.
    made = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "work").glob("*.tflite")}
    assert len(made) == 2
    assert yardsticks.main([*map(str, command[3:])]) == 0
    assert made == {file.name: file.stat().st_mtime_ns for file in (tmp_path / "work").glob("*.tflite")}


def test_a_yardstick_that_is_not_there_is_one_line(tmp_path, capsys):
    path = write_config(tmp_path, protocols={"yardsticks": {"TESS": 2}})
    corpus = write_corpus(tmp_path / "corpus", words=("dog",))
    arguments = ["--config", path, "--data", corpus, "--work", tmp_path / "w", "--out", tmp_path / "o"]
    assert yardsticks.main([*map(str, arguments), "--recipe", "study", "--only", "unseen:*"]) == 66
    assert capsys.readouterr().err.splitlines()[-1] == "error: --only unseen:*: no yardstick is called so"
