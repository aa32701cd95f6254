"""Splits keep apart what they promise, whatever the data."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.errors import InputError
from tests.support.sounds import CORPORA, corpus_clips
from train.config import LABELS, Protocols, TrainConfig
from train.data.clip import Clip
from train.data.index import scan
from train.data.split import SIDES, Split, require_apart
from train.study.protocols import _speaker, learnable, splits, taught_by

CONFIG = TrainConfig()


def clip(number: int, *, corpus: str = "TESS", speaker: str = "OAF", label: str = "sad", text: str = "dog") -> Clip:
    return Clip(path=f"{number}.wav", corpus=corpus, speaker=speaker, label=label, text=text)


def many(corpora: dict[str, int], words: int = 12) -> list[Clip]:
    return [
        clip(0, corpus=corpus, speaker=f"s{speaker}", label=label, text=f"w{word}")
        for corpus, speakers in corpora.items()
        for speaker in range(speakers)
        for label in LABELS
        for word in range(words)
    ]


@pytest.mark.heavy  # 2,800 files are looked at
def test_random_is_the_study_s():
    corpus_clips(1, folders=("TESS",))
    clips = scan([CORPORA / "TESS"], CONFIG).clips
    (split,) = splits("random", clips, CONFIG)
    assert [len(split.side(side)) for side in SIDES] == [2_240, 280, 280]
    assert set(Counter(clips[index].label for index in split.test).values()) == {40}
    assert splits("random", clips, CONFIG) == [split]


def test_unheard_tests_every_speaker_once_and_every_corpus_as_a_whole():
    clips = many({"A": 2, "B": 13}, words=1)
    folds = {fold.fold: fold for fold in splits("unheard", clips, CONFIG)}
    assert [name for name in folds if name.startswith(("A", "unseen"))] == [
        "A:s1->s0", "A:s0->s1", "unseen:A", "unseen:B"
    ]  # fmt: skip
    by_speaker = [fold for name, fold in folds.items() if not name.startswith("unseen")]
    assert sorted(index for fold in by_speaker for index in fold.test) == list(range(len(clips)))
    for name, fold in folds.items():
        sides = [{(clips[index].corpus, clips[index].speaker) for index in fold.side(side)} for side in SIDES]
        assert not sides[0] & sides[2], name
        assert sorted(fold.train + fold.test) == list(range(len(clips)))
    assert {clips[index].corpus for index in folds["unseen:A"].train} == {"B"}
    assert {clips[index].corpus for index in folds["A:s0->s1"].train} == {"A", "B"}


def test_only_teachers_train_and_their_labels_alone_are_learned():
    free = [one for one in many({"free": 4}, words=2) if one.label != "surprise"]
    clips = [*free, *many({"A": 2, "B": 3}, words=2)]
    labels, known, remarks = learnable(clips, LABELS, ["free"])
    assert labels == [label for label in LABELS if label != "surprise"]
    assert {one.label for one in known} == set(labels)
    assert remarks == ["no clip to train on is surprise, which the network will not say; 10 clips left out"]
    folds = taught_by(["free"], splits("unheard", known, CONFIG), known)
    assert {known[index].corpus for fold in folds for index in fold.train} == {"free"}
    tested = {fold.fold: {known[index].corpus for index in fold.test} for fold in folds}
    assert {name for name in tested if name.startswith("unseen")} == {"unseen:A", "unseen:B"}  # by whom they know not
    assert set().union(*(those for name, those in tested.items() if not name.startswith("unseen"))) == {"free"}
    assert learnable(clips, LABELS, ["A", "free"])[0] == list(LABELS)
    everybody = splits("unheard", clips, CONFIG)
    assert taught_by(["A", "B", "free"], everybody, clips) == everybody
    with pytest.raises(InputError, match="no clip is of CREMA; there are A, B, free"):
        learnable(clips, LABELS, ["CREMA"])


@settings(max_examples=30)
@given(first=st.integers(2, 7), second=st.integers(2, 7), name=st.sampled_from(["speaker", "kfold", "word", "corpus"]))
def test_sides_share_nothing_they_must_not(first, second, name):
    clips = many({"A": first, "B": second})
    key = {
        "speaker": lambda one: (one.corpus, one.speaker),
        "kfold": lambda one: (one.corpus, one.speaker),
        "word": lambda one: one.text,
        "corpus": lambda one: one.corpus,
    }[name]
    folds = splits(name, clips, CONFIG)
    tested = Counter()
    for fold in folds:
        sides = [{key(clips[index]) for index in fold.side(side)} for side in SIDES]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]
        if name != "corpus":
            assert not sides[0] & sides[1]
        assert sides[0]
        assert sides[2]
        tested.update(fold.test)
    if name != "word":
        assert set(tested) == set(range(len(clips)))
        assert set(tested.values()) == {1}


def test_validation_of_a_speaker_fold_is_other_speakers():
    for fold in splits("speaker", many({"A": 24}), CONFIG):
        assert len(fold.validation) == 3 * 7 * 12
        assert len(fold.test) == 6 * 7 * 12


@pytest.mark.parametrize(
    ("name", "clips", "message"),
    [
        ("random", [*many({"A": 1}), clip(0, label="x")], "label 'x' has 1 clip"),
        ("speaker", many({"A": 1}), "needs 2 speakers, there is only s0"),
        ("kfold", [*many({"A": 2}), clip(9, speaker="")], "9.wav: its speaker is not known"),
        ("random", [clip(number, label="sad") for number in range(9)], "fold 0: every clip to train on is sad"),
        ("word", [clip(1, text="")], "1.wav is not known: give a CSV"),
        ("word", many({"A": 2}, words=2), "at least 3 known words .* there is only w0 and w1"),
        ("corpus", many({"A": 2}), "needs two corpora, found A"),
        ("nonsense", many({"A": 2}), "unknown"),
        ("default", many({"A": 2}), "the test side is empty"),
    ],
)
def test_data_that_do_not_allow_it(name, clips, message):
    with pytest.raises(InputError, match=message):
        splits(name, clips, CONFIG)


@pytest.mark.parametrize("apart", [None, _speaker], ids=["random", "speaker"])
@pytest.mark.parametrize("field", ["sha256", "sound_sha256"])
@pytest.mark.parametrize("other", ["validation", "test"])
def test_the_same_sound_on_two_sides_is_refused_whatever_the_protocol(apart, field, other):
    clips = [replace(clip(number, speaker=f"s{number}"), **{field: f"{number % 3}" * 64}) for number in range(4)]
    sides = {"train": [0], "validation": [1], "test": [2]}
    apart_split = Split(protocol="x", fold="0", seed=0, **sides)
    require_apart(apart_split, clips, apart)
    twin = Split(protocol="x", fold="0", seed=0, **sides | {other: [*sides[other], 3]})
    with pytest.raises(InputError, match=f"0.wav and 3.wav are the same sound, on the train and the {other} side"):
        require_apart(twin, clips, apart)


def test_a_clip_on_two_sides_is_refused():
    split = Split(protocol="x", fold="0", seed=0, train=[0], validation=[1], test=[0])
    with pytest.raises(InputError, match=r"^protocol x, fold 0: a clip stands on two sides$"):
        require_apart(split, [clip(0), clip(1)], None)


def test_a_speaker_on_both_sides_is_named():
    clips = [clip(0, speaker="a"), clip(1, speaker="b"), clip(2, speaker="a")]
    split = Split(protocol="speaker", fold="0", seed=0, train=[0, 1], validation=[], test=[2])
    with pytest.raises(InputError, match=r"speaker a of TESS is on both the train and the test side \(first: 2.wav\)"):
        require_apart(split, clips, _speaker)
    held = {"A": ["s1"]}
    config = TrainConfig(protocols=Protocols(default_test=held, default_validation=held))
    with pytest.raises(InputError, match="speaker s1 of A"):
        splits("default", many({"A": 3}), config)


def test_the_speech_gate_never_hears_the_voices_that_are_named_or_fit_a_pattern():
    clips = many({"TESS": 2, "CREMA-D": 30}, words=1)
    protocols = Protocols(speech_test={"TESS": ["s1"], "CREMA-D": ["s?", "s1*"], "nEMO": ["x"]})
    (split,) = splits("speech", clips, TrainConfig(protocols=protocols))
    tested = {(clips[index].corpus, clips[index].speaker) for index in split.test}
    numbers = [*range(10), *range(10, 20)]
    assert tested == {("TESS", "s1"), *(("CREMA-D", f"s{number}") for number in numbers)}
    assert len(split.train) + len(split.test) == len(clips)


def test_a_yardstick_is_tested_and_never_trains():
    clips = many({"TESS": 2, "ASED": 3})
    protocols = Protocols(speech_test={"ASED": ["*"]})
    (split,) = splits("speech", clips, TrainConfig(protocols=protocols))
    assert {clips[index].corpus for index in split.test} == {"ASED"}
    with pytest.raises(InputError, match="ASED must not train: its sentences go with its emotions"):
        splits("random", clips, CONFIG)
