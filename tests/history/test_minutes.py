"""From a day's runs and states to minutes, against sums made by hand."""

import msgspec
import pytest

from edge.history.minutes import Day, Sample, day_of, minutes, sample_of
from edge.voice.payloads import Timeline, rfc3339

BEGIN_S = 1_790_000_040.0  # a full minute
FIRST = round(BEGIN_S / 60)


def told(until_s: float, *runs: tuple[float, str, float]) -> bytes:
    """A timeline, its times in seconds from BEGIN_S on."""
    runs = [(rfc3339(BEGIN_S + at), label, sure) for at, label, sure in runs]
    return msgspec.json.encode(Timeline(ts=rfc3339(BEGIN_S + until_s), runs=runs))


def sample(at_s: float, level: float = -40.0, *, arousal: float | None = None, deaf: bool = False) -> Sample:
    return Sample(round(1_000 * (BEGIN_S + at_s)), level, 0.5, arousal, arousal, deaf)


def kept(payload: bytes, *samples: Sample, count: int = 5) -> dict[int, dict[str, int]]:
    """What is made of it, by minute from FIRST on: how long anybody listened, and each label held."""
    made = minutes(day_of(payload), samples, FIRST, FIRST + count)
    return {each.minute - FIRST: {"heard": each.heard_ms, **each.label_ms} for each in made}


def test_a_label_lasts_until_the_next_one_begins():
    day = told(180, (0, "quiet", 1.0), (30, "happy", 0.7), (75, "quiet", 0.9))
    assert kept(day) == {0: {"heard": 60_000, "happy": 30_000}, 1: {"heard": 60_000, "happy": 15_000},
                         2: {"heard": 60_000}}  # fmt: skip


def test_a_time_in_which_nobody_listened_is_a_gap():
    day = told(300, (0, "quiet", 1.0), (90, "quiet", 0.0), (250, "sad", 0.6))
    assert kept(day) == {0: {"heard": 60_000}, 1: {"heard": 30_000}, 4: {"heard": 50_000, "sad": 50_000}}


def test_what_no_timeline_tells_of_is_a_gap():
    assert kept(told(300, (200, "quiet", 1.0))) == {3: {"heard": 40_000}, 4: {"heard": 60_000}}


def test_a_microphone_that_delivers_nothing_of_worth_is_a_gap_although_sound_flows():
    day = told(300, (0, "quiet", 1.0))
    states = [sample(10), sample(40), sample(60, deaf=True), sample(90, deaf=True), sample(120, deaf=True), sample(150)]
    assert kept(day, *states) == {0: {"heard": 60_000}, 2: {"heard": 30_000}, 3: {"heard": 60_000},
                                  4: {"heard": 60_000}}  # fmt: skip


def test_means_are_weighed_by_how_long_each_state_held():
    [minute] = minutes(day_of(told(60, (0, "happy", 0.8))), [sample(0, -60), sample(45, -20, arousal=0.6)], FIRST,
                       FIRST + 1)  # fmt: skip
    assert minute.means() == (-50, 500, 600, 600)
    assert minute.voiced_ms == 15_000


def test_a_state_says_nothing_of_the_time_in_which_no_other_came():
    made = minutes(day_of(told(300, (0, "quiet", 1.0))), [sample(0)], FIRST, FIRST + 5)
    assert [each.means()[0] for each in made] == [-40, -40, None, None, None]
    assert [each.told_ms for each in made[:2]] == [60_000, 15_000]


def test_what_is_asked_for_is_what_comes():
    day = day_of(told(300, (0, "quiet", 1.0)))
    assert [each.minute - FIRST for each in minutes(day, [], FIRST + 2, FIRST + 4)] == [2, 3]


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"ts": 1, "runs": []}', b"\xff", b"online"])
def test_what_makes_no_sense_is_nothing(payload):
    assert day_of(payload) is None
    assert sample_of(payload) is None


def test_a_day_of_which_nothing_is_known_has_no_minutes():
    assert day_of(told(60)).heard == ()
    assert kept(told(60)) == {}


def test_runs_after_the_end_or_out_of_order_do_no_harm():
    day = day_of(told(60, (90, "sad", 0.5), (30, "happy", 0.5), (0, "quiet", 1.0)))
    assert [label for _, _, label in day.heard] == ["quiet", "happy"]
    assert day == Day(day.heard, round(1_000 * (BEGIN_S + 60)))
