"""Rooms: what was heard there before, and what is asked."""

from collections import Counter

import numpy as np
import pytest

from tests.train.rooms.voices import CORPUS, clips_of
from train.rooms.heard_before import MAIN_SHARE, Room, Setting, rooms

CLIPS = clips_of(CORPUS, voices=5, labels=("angry", "happy", "neutral", "sad"), each=6)
EVERY = range(len(CLIPS))


def drawn(*, voices: int = 1, moods: str = "neutral", heard: int = 20, **limits: int) -> list[Room]:
    setting = Setting(voices=voices, moods=moods, heard=heard)
    return list(rooms(CLIPS, EVERY, setting, np.random.default_rng(0), **limits))


def speakers(indices: np.ndarray) -> set[str]:
    return {CLIPS[index].speaker for index in indices}


@pytest.mark.parametrize("moods", ["balanced", "neutral"])
def test_every_clip_is_asked_once_and_never_of_the_past(moods):
    found = drawn(moods=moods)
    assert sorted(np.concatenate([room.judged for room in found])) == list(EVERY)
    for room in found:
        assert not set(room.past) & set(room.judged)
        assert len(room.past) == 20
        assert len(speakers(room.judged) | speakers(room.past)) == 1


def test_what_was_heard_has_the_moods_shares():
    def shares(found: list[Room]) -> list[dict[str, float]]:
        counts = [Counter(CLIPS[index].label for index in room.past) for room in found]
        return [{label: count / count_all.total() for label, count in count_all.items()} for count_all in counts]

    for room in shares(drawn(moods="neutral", heard=4_000)):
        assert room["neutral"] == pytest.approx(MAIN_SHARE, abs=0.03)
        assert room["sad"] == pytest.approx(0.1, abs=0.03)
    for room in shares(drawn(moods="balanced", heard=4_000)):
        assert room["happy"] == pytest.approx(0.25, abs=0.03)
    of_one_voice = shares(drawn(moods="one mood", heard=4_000)[:8])
    assert sorted(max(room, key=room.get) for room in of_one_voice) == sorted(2 * ["angry", "happy", "neutral", "sad"])


def test_voices_share_a_room_and_nobody_is_left_out():
    for voices in (2, 4, 9):
        found = drawn(voices=voices, heard=400)
        assert {len(speakers(room.past)) for room in found} == {min(voices, 5)}
        assert set(np.concatenate([room.judged for room in found])) == set(EVERY)


def test_nothing_heard_and_fewer_mixes():
    assert all(len(room.past) == 0 for room in drawn(heard=0))
    assert len(drawn(moods="one mood")) == 4 * len(drawn(moods="one mood", most_mixes=1))


def test_a_setting_says_what_it_is():
    assert str(Setting(voices=1, moods="one mood", heard=5)) == "1 voice, one mood, 5 heard"
    assert str(Setting(voices=2, moods="neutral", heard=0)) == "2 voices, neutral, 0 heard"
