"""Which clips are drawn how often, and what is learned of each: by hand."""

from collections import defaultdict
from fractions import Fraction

import msgspec
import numpy as np
import pytest

from edge.errors import ConfigError
from tests.support.lab import SPEC, tiny_clips, tiny_config, tiny_job
from train.config import Recipe, RecipeFor, TrainConfig
from train.data.clip import Clip
from train.fitting.prepare import balanced, heard

# Corpus, voice, label, what is said, how many clips.
CLIPS = [
    ("A", "ann", "sad", "dog", 3),  # one sentence at three intensities
    ("A", "ann", "sad", "cat", 1),
    ("A", "bob", "sad", "dog", 1),
    ("A", "ann", "happy", "dog", 2),
    ("B", "eve", "sad", "", 5),
    ("B", "joe", "sad", "", 1),
    ("B", "kim", "sad", "", 1),
    ("B", "lou", "angry", "", 1),
]


def clips() -> list[Clip]:
    return [
        Clip(path=f"{number}", corpus=corpus, speaker=speaker, label=label, text=text)
        for corpus, speaker, label, text, count in CLIPS for number in range(count)
    ]  # fmt: skip


def drawn(voices: float) -> dict[tuple[str, ...], float]:
    """How often a clip of each line is drawn; those of one line alike."""
    found = defaultdict(set)
    for clip, share in zip(clips(), balanced(clips(), voices=voices), strict=True):
        found[clip.corpus, clip.speaker, clip.label, clip.text].add(round(float(share), 12))
    assert all(len(shares) == 1 for shares in found.values())
    return {key: shares.pop() for key, shares in found.items()}


def test_a_corpus_counts_by_its_voices_and_within_it_label_voice_and_sentence_alike():
    two, four = Fraction(2, 6), Fraction(4, 6)  # voices of A and B, of six
    assert drawn(1.0) == pytest.approx({
        ("A", "ann", "sad", "dog"): float(two / 2 / 2 / 2 / 3),  # of its labels, its voices, its sentences, its clips
        ("A", "ann", "sad", "cat"): float(two / 2 / 2 / 2),
        ("A", "bob", "sad", "dog"): float(two / 2 / 2),
        ("A", "ann", "happy", "dog"): float(two / 2 / 2),
        ("B", "eve", "sad", ""): float(four / 2 / 3 / 5),
        ("B", "joe", "sad", ""): float(four / 2 / 3),
        ("B", "kim", "sad", ""): float(four / 2 / 3),
        ("B", "lou", "angry", ""): float(four / 2),
    })  # fmt: skip


def test_by_the_root_of_its_voices():
    whole = defaultdict(float)
    for clip, share in zip(clips(), balanced(clips(), voices=0.5), strict=True):
        whole[clip.corpus] += share
    assert whole == pytest.approx({"A": 2**0.5 / (2**0.5 + 2), "B": 2 / (2**0.5 + 2)})


def test_without_voices_every_clip_of_a_label_counts_the_same():
    assert drawn(0.0)["A", "ann", "sad", "dog"] == drawn(0.0)["A", "bob", "sad", "dog"] == pytest.approx(1 / 2 / 2 / 5)


def test_voices_without_balance_are_refused():
    config = TrainConfig(recipes={"x": RecipeFor(networks={"cnn": {"voices": 0.5}})})
    with pytest.raises(ConfigError, match=r"train\.recipes\.x\.networks\.cnn: voices: counts only where balance"):
        config.recipe("x", "cnn")
    assert Recipe(balance=True, voices=0.5)


def test_what_listeners_heard_is_a_share_of_what_is_learned():
    labels = ["angry", "happy", "sad"]
    asked = Clip(path="", corpus="", speaker="", label="angry", votes={"angry": 1.0, "sad": 3.0})
    elsewhere = msgspec.structs.replace(asked, votes={"bored": 4.0})
    nobody = msgspec.structs.replace(asked, votes={})
    found = heard([asked, elsewhere, nobody], labels, 0.6)
    assert found == pytest.approx(np.array([[0.4 + 0.6 / 4, 0, 0.6 * 3 / 4], [1, 0, 0], [1, 0, 0]]))
    assert heard([asked], labels, 1.0) == pytest.approx(np.array([[0.25, 0, 0.75]]))


@pytest.mark.parametrize("network", ["cnn", "causal_cnn"])
def test_a_network_learns_what_listeners_heard(tmp_path, network):
    """Everybody heard `sad`, whatever was meant: what it says tells how much it went by them."""
    from train.fitting.fit import fit

    config = tiny_config(tmp_path)
    clips = [msgspec.structs.replace(clip, votes={"sad": 9.0}) for clip in tiny_clips(tmp_path, config)]
    sad = {}
    for votes in (0.0, 1.0):
        job = tiny_job(network, clips, config, epochs=10, votes=votes, label_smoothing=0.1)
        run = fit(job, clips, config, SPEC, folder=tmp_path / f"votes-{votes}")
        said = run.logits("test").argmax(axis=1)
        sad[votes] = (said == run.record.labels.index("sad")).mean()
    assert sad[1.0] == 1.0
    assert sad[0.0] < 0.5


def test_whole_truths_as_shares_are_the_labels_themselves(tmp_path):
    """Votes that agree with what was meant change nothing: the loss on shares is that on labels."""
    from train.fitting.fit import fit

    config = tiny_config(tmp_path)
    clips = [msgspec.structs.replace(clip, votes={clip.label: 3.0}) for clip in tiny_clips(tmp_path, config)]
    by_votes, by_labels = (
        fit(tiny_job("causal_cnn", clips, config, votes=votes, contrast=0.1), clips, config, SPEC,
            folder=tmp_path / f"{votes}").record.curves
        for votes in (1.0, 0.0)
    )  # fmt: skip
    assert by_votes.keys() == by_labels.keys()
    for name, curve in by_votes.items():
        assert curve == pytest.approx(by_labels[name], abs=1e-4)
