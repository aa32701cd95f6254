"""Who is on which side of each fold, and what the folds are called: written out for small data."""

import re
from collections import Counter

import numpy as np
import pytest

from edge.errors import InputError
from tests.train.study.test_protocols import clip, many
from train.config import LABELS, Protocols, TrainConfig
from train.data.clip import Clip
from train.data.split import SIDES, Split, unheard_labels
from train.study import protocols
from train.study.folds import group_of, is_unseen, speakers_fold, unseen_fold
from train.study.protocols import splits
from train.study.sides import validation_speakers


def with_protocols(**settings) -> TrainConfig:
    return TrainConfig(protocols=Protocols(**settings))


def told(fold: Split, clips: list[Clip]) -> tuple:
    """Return a fold's name, and the speakers (and words, where they tell more) of each side."""
    return fold.fold, *(sorted({f"{clips[i].corpus}/{clips[i].speaker}" for i in fold.side(side)}) for side in SIDES)


def test_the_names_of_folds_and_what_they_say():
    assert speakers_fold("A", ["x", "y"], ["z"], both=True) == "A:x+y->z"
    assert speakers_fold("A", ["x"], ["y", "z"], both=True) == "A:x->y+z"
    assert speakers_fold("A", ["x"], ["y", "z"], both=False) == "A:y+z"
    assert unseen_fold("A") == "unseen:A"
    assert [group_of(fold) for fold in ("A:x->y:z", "unseen:A", "0")] == ["A", "unseen", None]
    assert [is_unseen(fold) for fold in ("A:x", "unseen:A", "0", "unseen")] == [False, True, False, False]


@pytest.mark.parametrize(
    ("speakers", "validating"), [(0, ""), (2, ""), (3, "c"), (4, "c"), (6, "c"), (8, "c"), (9, "ci"), (15, "cio")]
)
def test_a_sixth_of_the_speakers_validates_and_none_of_two(speakers, validating):
    assert validation_speakers("abcdefghijklmno"[:speakers]) == set(validating)


def test_folds_by_speaker_within_each_corpus():
    clips = many({"A": 2, "B": 7}, words=1)
    folds = splits("speaker", clips, with_protocols(folds=3))
    assert {(fold.protocol, fold.seed) for fold in folds} == {("speaker", 0)}
    assert [told(fold, clips) for fold in folds] == [
        ("A:s1->s0", ["A/s1"], [], ["A/s0"]),
        ("A:s0->s1", ["A/s0"], [], ["A/s1"]),
        ("B:s0+s3+s6", ["B/s1", "B/s2", "B/s5"], ["B/s4"], ["B/s0", "B/s3", "B/s6"]),
        ("B:s1+s4", ["B/s0", "B/s2", "B/s5", "B/s6"], ["B/s3"], ["B/s1", "B/s4"]),
        ("B:s2+s5", ["B/s0", "B/s1", "B/s4", "B/s6"], ["B/s3"], ["B/s2", "B/s5"]),
    ]


def test_folds_by_speaker_over_all_corpora():
    clips = many({"A": 3, "B": 3}, words=1)
    folds = splits("kfold", clips, with_protocols(folds=2))
    assert {(fold.protocol, fold.seed) for fold in folds} == {("kfold", 0)}
    # Speakers of one name in two corpora are two.
    assert [told(fold, clips) for fold in folds] == [
        ("0", ["A/s1", "B/s0"], ["B/s2"], ["A/s0", "A/s2", "B/s1"]),
        ("1", ["A/s0", "A/s2"], ["B/s1"], ["A/s1", "B/s0", "B/s2"]),
    ]
    assert len(splits("kfold", many({"A": 3}, words=1), with_protocols(folds=8))) == 3


@pytest.mark.parametrize(("words", "held"), [(3, 1), (12, 1), (20, 2)])
def test_a_tenth_of_the_words_is_tested_another_validates(words, held):
    clips = many({"A": 1}, words=words)
    (fold,) = splits("word", clips, with_protocols(random_seed=5))
    assert (fold.protocol, fold.fold, fold.seed) == ("word", "0", 5)
    shuffled = np.random.default_rng(5).permutation(sorted({each.text for each in clips})).tolist()
    train, validation, test = ({clips[index].text for index in fold.side(side)} for side in SIDES)
    assert (test, validation) == (set(shuffled[:held]), set(shuffled[held : 2 * held]))
    assert train == set(shuffled[2 * held :])


def test_two_words_or_a_clip_without_one_are_no_words():
    known, silent = many({"A": 1}, words=2), clip(0, text="")
    unsaid = f"what is said in {silent.path} is not known"
    for clips, found in ((known, "there is only w0 and w1"), ([*known, silent], unsaid)):
        says = f"protocol word: needs at least 3 known words and what is said in every clip, but {found}"
        with pytest.raises(InputError, match=f"^{re.escape(says)}"):
            splits("word", clips, TrainConfig())


def test_each_corpus_is_tested_over_the_labels_that_all_have():
    clips = [each for each in many({"A": 3, "B": 3, "C": 3}, words=1) if each.label in LABELS[:3]]
    clips = [each for each in clips if each.corpus != "C" or each.label in LABELS[:2]]
    folds = splits("corpus", clips, TrainConfig())
    assert {(fold.protocol, fold.seed) for fold in folds} == {("corpus", 0)}
    assert {clips[index].label for fold in folds for side in SIDES for index in fold.side(side)} == set(LABELS[:2])
    everybody = {name: [f"{name}/s{number}" for number in range(3)] for name in "ABC"}
    for fold, name in zip(folds, "ABC", strict=True):
        others = [speaker for other in "ABC" if other != name for speaker in everybody[other]]
        assert told(fold, clips) == (name, [o for o in others if o != others[2]], [others[2]], everybody[name])


def test_two_corpora_of_one_speaker_each_are_enough_and_two_labels():
    clips = [each for each in many({"A": 1, "B": 1}, words=1) if each.label in LABELS[:2]]
    assert [told(fold, clips) for fold in splits("corpus", clips, TrainConfig())] == [
        ("A", ["B/s0"], [], ["A/s0"]), ("B", ["A/s0"], [], ["B/s0"]),
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"^protocol corpus: the corpora share fewer than two labels, so none can "):
        splits("corpus", [each for each in clips if each.corpus == "A" or each.label == LABELS[0]], TrainConfig())


def test_named_speakers_are_tested_and_validate_everybody_else_trains():
    clips = many({"A": 4, "B": 2}, words=1)
    config = with_protocols(default_test={"A": ["s0"]}, default_validation={"A": ["s1"]}, speech_test={"B": ["s1"]})
    (default,), (speech,) = (splits(name, clips, config) for name in ("default", "speech"))
    assert told(default, clips) == ("0", ["A/s2", "A/s3", "B/s0", "B/s1"], ["A/s1"], ["A/s0"])
    assert (default.protocol, default.seed) == ("default", 0)
    assert told(speech, clips) == ("0", ["A/s0", "A/s1", "A/s2", "A/s3", "B/s0"], [], ["B/s1"])
    assert (speech.protocol, speech.seed) == ("speech", 0)


def test_one_corpus_is_never_unseen():
    folds = splits("unheard", many({"A": 3}, words=1), TrainConfig())
    assert [(fold.protocol, fold.fold, fold.seed) for fold in folds] == [
        ("unheard", "A:s0", 0), ("unheard", "A:s1", 0), ("unheard", "A:s2", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["speaker", "kfold", "corpus", "unheard"])
def test_a_clip_without_a_speaker_is_named_with_the_protocol_that_needs_one(name):
    clips = [*many({"A": 2, "B": 2}), clip(9, corpus="A", speaker="")]
    says = (
        f"protocol {name}: 9.wav: its speaker is not known; put it into <label>/<speaker>/, give a CSV with "
        "path,label,speaker, or take --protocol random"
    )
    with pytest.raises(InputError, match=f"^{re.escape(says)}$"):
        splits(name, clips, TrainConfig())


def test_what_a_protocol_lacks_is_said():
    with pytest.raises(
        InputError, match=r"^protocol corpus: needs two corpora, found A: name more of them with --data$"
    ):
        splits("corpus", many({"A": 2}), TrainConfig())
    says = "protocol kfold: needs 2 speakers, there is none: add recordings of others, or take --protocol random"
    with pytest.raises(InputError, match=f"^{re.escape(says)}$"):
        splits("kfold", [], TrainConfig())
    known = "random, speaker, word, kfold, corpus, default, unheard, yardsticks, speech"
    with pytest.raises(InputError, match=rf"^protocol 'fold': unknown \(there are {known}\)$"):
        splits("fold", [], TrainConfig())


def test_random_is_stratified_and_the_same_for_a_seed():
    clips = many({"A": 1}, words=20)
    (fold,) = splits("random", clips, with_protocols(random_seed=3))
    assert (fold.protocol, fold.fold, fold.seed) == ("random", "0", 3)
    assert [len(fold.side(side)) for side in SIDES] == [112, 14, 14]
    for side, each in zip(SIDES, (16, 2, 2), strict=True):
        assert Counter(clips[index].label for index in fold.side(side)) == dict.fromkeys(LABELS, each)
    assert splits("random", clips, with_protocols(random_seed=3)) == [fold]
    (other,) = splits("random", clips, with_protocols(random_seed=4))
    assert other.test != fold.test
    assert other.validation != fold.validation
    (uneven,) = splits("random", clips, with_protocols(random_ratios=(0.7, 0.1, 0.2)))
    assert [len(uneven.side(side)) for side in SIDES] == [98, 14, 28]


def test_three_clips_of_a_label_are_enough_for_three_sides():
    (fold,) = splits("random", many({"A": 1}, words=3), TrainConfig())
    assert [len(fold.side(side)) for side in SIDES] == [7, 7, 7]
    says = r"^protocol random: label 'rare' has 2 clips, a stratified split needs 3: give more, "
    with pytest.raises(InputError, match=says):
        splits("random", [*many({"A": 1}), clip(0, label="rare"), clip(1, label="rare")], TrainConfig())


def test_ratios_that_leave_a_side_too_few_clips_are_said_to():
    with pytest.raises(InputError, match=r"^protocol random: .* only 1 member, which is too few\."):
        splits("random", many({"A": 1}, words=12), with_protocols(random_ratios=(0.05, 0.05, 0.9)))


def test_the_gate_may_train_on_one_label_and_nobody_else():
    clips = [each for each in many({"A": 2}, words=3) if each.label == "sad"]
    config = with_protocols(speech_test={"A": ["s1"]}, default_test={"A": ["s1"]})
    assert len(splits("speech", clips, config)) == 1
    with pytest.raises(InputError, match="every clip to train on is sad"):
        splits("default", clips, config)


def test_what_never_trains_is_tested_as_a_whole_wherever_it_stands():
    clips = many({"ASED": 2, "A": 2, "B": 2}, words=1)
    assert [fold.fold for fold in splits("unheard", clips, TrainConfig())] == [
        "A:s1->s0", "A:s0->s1", "B:s1->s0", "B:s0->s1", "unseen:ASED", "unseen:A", "unseen:B",
    ]  # fmt: skip


def test_a_protocol_is_held_to_what_it_promises(monkeypatch):
    """Those there are keep it by themselves; one that does not would be noticed."""

    def careless(clips, config):
        return [Split(protocol="kfold", fold="0", seed=0, train=[0, 1], validation=[], test=[2])]

    monkeypatch.setitem(protocols._PROTOCOLS, "kfold", (careless, protocols._PROTOCOLS["kfold"][1]))
    clips = [clip(number, speaker=speaker, label=label) for number, (speaker, label) in enumerate(
        [("a", "sad"), ("b", "fear"), ("a", "sad")]
    )]  # fmt: skip
    with pytest.raises(InputError, match="speaker a of TESS is on both the train and the test side"):
        splits("kfold", clips, TrainConfig())


def test_labels_that_nobody_trained_on_are_told():
    clips = [clip(number, label=label) for number, label in enumerate(("sad", "happy", "fear", "angry", "sad"))]
    split = Split(protocol="x", fold="0", seed=0, train=[0, 1], validation=[2], test=[3, 4])
    assert unheard_labels(split, clips) == ["angry", "fear"]
