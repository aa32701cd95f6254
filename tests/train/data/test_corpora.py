"""File names of the known corpora, as their publishers and mirrors give them."""

import re
from collections import Counter

import pytest

from edge.section import load_section
from tests.support.sounds import CORPORA, ROOT, corpus_clips
from train.config import TrainConfig
from train.data.corpora import SCHEMES, Scheme, parse
from train.data.index import _table, scan
from train.data.labels import Labels

NAMES = [
    ("OAF_Fear/OAF_back_fear.wav", ("TESS", "OAF", "fear", "back")),
    ("x/OAF_Pleasant_surprise/OAF_back_ps.wav", ("TESS", "OAF", "surprise", "back")),
    ("YAF_pleasant_surprised/YAF_merge_ps.wav", ("TESS", "YAF", "surprise", "merge")),
    ("OAF_neutral/OA_bite_neutral.wav", ("TESS", "OAF", "neutral", "bite")),
    ("Actor_01/03-01-02-01-01-02-01.wav", ("RAVDESS", "01", "neutral", "01")),
    ("Actor_24/03-01-08-02-02-01-24.flac", ("RAVDESS", "24", "surprise", "02")),
    ("AudioWAV/1001_DFA_ANG_XX.wav", ("CREMA-D", "1001", "angry", "dfa")),
    ("AudioWAV/1091_IEO_HAP_HI.wav", ("CREMA-D", "1091", "happy", "ieo")),
    ("SAVEE/DC/sa05.wav", ("SAVEE", "DC", "sad", "05")),
    ("ALL/JK_su15.wav", ("SAVEE", "JK", "surprise", "15")),
    ("KL/n30.wav", ("SAVEE", "KL", "neutral", "30")),
    ("wav/03a01Fa.wav", ("EMO-DB", "03", "happy", "a01")),
    ("wav/16b10Wb.wav", ("EMO-DB", "16", "angry", "b10")),
    ("wav/08a02Lb.wav", ("EMO-DB", "08", None, "a02")),  # boredom: mapped to nothing
    ("EMOVO/f1/dis-f1-b1.wav", ("EMOVO", "F1", "disgust", "b1")),
    ("EMOVO/m3/gio-m3-l4.wav", ("EMOVO", "M3", "happy", "l4")),
]


@pytest.mark.parametrize(("path", "expected"), NAMES)
def test_names(path, expected):
    named = parse(path)
    assert (named.corpus, named.speaker, TrainConfig().label(named.word), named.text) == expected


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_a_scheme_says_all_that_is_asked_of_it_and_has_names_above(scheme):
    assert {"speaker", "label", "text"} <= set(scheme.pattern.groupindex), "a group that its pattern must have"
    assert scheme.name in {corpus for _, (corpus, *_) in NAMES}, "give it a row in NAMES"


def words_of(scheme: Scheme) -> set[str]:
    """Return every word that a corpus's file names can say."""
    codes = re.search(r"\(\?P<label>(.*?)\)", scheme.pattern.pattern)[1]
    return set(scheme.words.values()) or set(codes.split("|"))


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_the_page_s_labels_of_one_s_own_are_for_every_known_corpus(tmp_path, scheme):
    (example,) = re.findall(r"```yaml\n(train:\n.*?)```", (ROOT / "train" / "README.md").read_text(), re.DOTALL)
    (tmp_path / "config.yaml").write_text(example)
    config = load_section(tmp_path / "config.yaml", "train", TrainConfig)
    assert {config.label(word) for word in words_of(scheme)} == {*config.labels, None}


@pytest.mark.parametrize("path", ["03-02-01-01-01-01-01.wav", "hello.wav", "OAF_back_bored.wav", "notes/03a01Xa.wav"])
def test_other_names_are_not_guessed(path):
    assert parse(path) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("OAF_Fear/OAF_back_fear.wav", ("f", "64", "")),
        ("Actor_01/03-01-02-01-01-02-01.wav", ("m", "", "normal")),
        ("Actor_24/03-01-08-02-02-01-24.flac", ("f", "", "strong")),
        ("AudioWAV/1091_IEO_HAP_HI.wav", ("", "", "high")),
        ("AudioWAV/1001_DFA_ANG_XX.wav", ("", "", "")),
        ("SAVEE/DC/sa05.wav", ("m", "", "")),
        ("EMOVO/f1/dis-f1-b1.wav", ("f", "", "")),
    ],
)
def test_who_speaks_and_how_strongly(path, expected):
    named = parse(path)
    assert (named.sex, named.age, named.intensity) == expected


def test_crema_d_has_what_its_listeners_heard():
    if not (table := CORPORA / "CREMA-D" / "votes.csv").exists():
        pytest.skip("needs the corpus CREMA-D (ROOMTONE_CORPORA)")
    listed = _table(table, Labels(TrainConfig(), labelled=True))
    assert len(listed) == 7_435
    heard = [clip for clip in listed if clip.votes]
    assert len(heard) == 7_434  # nobody was asked about one of them
    assert Counter(clip.sex for clip in listed).keys() == {"f", "m"}
    assert {clip.intensity for clip in listed} == {"", "low", "medium", "high"}
    by_intention = [clip.votes.get(clip.label, 0) / sum(clip.votes.values()) for clip in heard]
    assert sum(by_intention) / len(by_intention) == pytest.approx(0.40, abs=0.01)  # of single listeners


@pytest.mark.heavy
def test_the_real_corpora_are_whole():
    corpus_clips(1)
    found = scan([CORPORA / "TESS", CORPORA / "RAVDESS"], TrainConfig())
    assert not found.left_out
    per = Counter((clip.corpus, clip.label) for clip in found.clips)
    assert {count for (corpus, _), count in per.items() if corpus == "TESS"} == {400}
    assert per["RAVDESS", "neutral"] == 96 + 192  # calm counts as neutral
    assert sum(per.values()) == 2_800 + 1_440 - 1
    assert Counter(clip.speaker for clip in found.clips if clip.corpus == "RAVDESS") == {
        f"{actor:02}": 60 for actor in range(1, 25)
    } | {"07": 59}  # two of its files hold the same sound


def test_originals_with_quirks_are_read():
    corpus_clips(1, folders=("TESS-original",))
    found = scan([CORPORA / "TESS-original"], TrainConfig())
    assert (len(found.clips), found.left_out) == (31, [])
    assert 96_000 in {clip.rate_hz for clip in found.clips}
