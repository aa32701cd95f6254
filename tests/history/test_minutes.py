"""From a day's runs and states to minutes, against sums made by hand."""

import threading

import msgspec
import pytest

from edge.history.minutes import minutes
from edge.history.told import days as told_days
from edge.history.told import inbox as told_inbox
from edge.history.told import samples as told_samples
from edge.history.told.days import DAY_MS, Days, day_of
from edge.history.told.inbox import Inbox
from edge.history.told.samples import Sample, Samples, cut_short, sample_of
from edge.voice.payloads import State, Timeline, rfc3339
from edge.voice.timeline import TimelineRecorder
from tests.support.patience import PATIENCE_S

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


@pytest.mark.parametrize("label", ["angry", "quiet", "sad", "surprise", "unknown"])
def test_a_label_that_began_as_the_broker_went_does_not_last_over_the_gap(label):
    """Its state was the last that was said of a life, and the next life tells of a run that took no time."""
    began = rfc3339(BEGIN_S + 37.535)
    state = State(
        ts=began, emotion=label, confidence=0.238, since=began, scores={}, arousal=None, valence=None, speech_ratio=0.5,
        level_dbfs=-40.0, snr_db=None, clipped_ratio=0.0, microphone="ok", model="test-1", seq=1,
    )  # fmt: skip
    sensor = TimelineRecorder()
    sensor.recall(told(37.5, (0, "happy", 0.9)), msgspec.json.encode(state))
    sensor.add(BEGIN_S + 87.49, "quiet", 1.0)
    day = sensor.timeline(BEGIN_S + 120)
    assert kept(msgspec.json.encode(day)) == {0: {"heard": 37_535, "happy": 37_535}, 1: {"heard": 32_510}}


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


def test_a_state_says_nothing_of_the_time_in_which_the_recorder_heard_nothing():
    for deaf, told_ms, gap_ms in ((False, [20_000], 0), (True, [], 75_000)):
        states = [sample(0, deaf=deaf)]
        for at_s in (20, 50):  # a connection that is over, and an attempt in vain
            cut_short(states, round(1_000 * (BEGIN_S + at_s)))
        made = minutes(day_of(told(120, (0, "quiet", 1.0))), states, FIRST, FIRST + 2)
        assert [each.told_ms for each in made if each.told_ms] == told_ms
        assert sum(each.heard_ms for each in made) == 120_000 - gap_ms


def test_what_is_asked_for_is_what_comes():
    day = day_of(told(300, (0, "quiet", 1.0)))
    assert [each.minute - FIRST for each in minutes(day, [], FIRST + 2, FIRST + 4)] == [2, 3]


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"ts": 1, "runs": []}', b"\xff", b"online",
                                     b'{"x":' + b"[" * 5_000])  # fmt: skip
def test_what_makes_no_sense_is_nothing(payload):
    assert day_of(payload) is None
    assert sample_of(payload) is None


def test_a_day_of_which_nothing_is_known_has_no_minutes():
    assert list(day_of(told(60)).heard) == []
    assert kept(told(60)) == {}


def test_runs_after_the_end_or_out_of_order_do_no_harm():
    day = day_of(told(60, (90, "sad", 0.5), (30, "happy", 0.5), (0, "quiet", 1.0)))
    assert [label for _, _, label in day.heard] == ["quiet", "happy"]
    assert day.until_ms == round(1_000 * (BEGIN_S + 60))


DAY = told(600, (0, "quiet", 1.0), (300, "happy", 0.7), (590, "sad", 0.7))


def test_what_came_since_goes_on_from_a_day_and_is_right_where_both_tell():
    days = Days()
    days.take("attic", day_of(DAY), whole=True)
    days.take("attic", day_of(told(700, (540, "happy", 0.7), (580, "fear", 0.6), (640, "quiet", 0.0))), whole=False)
    [(name, day)] = days.untaken.items()
    assert name == "attic"
    assert [(begin / 1_000 - BEGIN_S, end / 1_000 - BEGIN_S, label) for begin, end, label in day.heard] == [
        (0, 300, "quiet"), (300, 540, "happy"), (540, 580, "happy"), (580, 640, "fear")]  # fmt: skip
    assert day.until_ms == 1_000 * (BEGIN_S + 700)


@pytest.mark.parametrize("until_s", [600, 500])
def test_what_is_older_than_the_day_tells_nothing(until_s: float):
    assert day_of(DAY).followed_by(day_of(told(until_s, (400, "sad", 0.7)))) == day_of(DAY)


def test_what_came_since_a_day_that_nobody_heard_is_not_taken():
    """Else what lies before it would count as kept."""
    days, recent = Days(), day_of(told(700, (540, "happy", 0.7)))
    days.take("attic", recent, whole=False)
    assert days.untaken == {}
    days.take("attic", day_of(DAY), whole=True)
    days.kept()
    days.take("attic", recent, whole=False)
    assert days.untaken == {"attic": recent}
    days.kept()
    days.connected()
    days.take("attic", recent, whole=False)
    assert days.untaken == {}


def test_no_timeline_tells_of_more_than_a_day():
    day = day_of(told(3 * 86_400, (0, "happy", 0.7)))
    assert list(day.heard) == [(day.until_ms - DAY_MS, day.until_ms, "happy")]
    assert len(minutes(day, [], 0, FIRST + 5 * 1_440)) == 1_440


def test_what_many_sensors_told_is_to_be_kept_before_its_minute_comes(monkeypatch):
    monkeypatch.setattr(told_days, "_MOST_RUNS", 6)
    days = Days()
    days.take("attic", day_of(DAY), whole=True)
    days.take("attic", day_of(DAY), whole=True)  # takes the place of the first
    assert not days.many
    days.take("cellar", day_of(DAY), whole=True)
    assert days.many
    days.kept()
    assert (days.many, days.untaken) == (False, {})
    days.take("cellar", day_of(told(700, (540, "happy", 0.7))), whole=False)
    assert list(days.untaken) == ["cellar"]


def test_of_too_many_samples_a_rooms_oldest_goes(monkeypatch):
    monkeypatch.setattr(told_samples, "_MOST", 5)
    samples = Samples()
    assert [samples.admit(name, 2) for name in ("attic", "cellar", "loft", "attic")] == [True, True, False, True]
    for at_s in (0, 30, 60, 60, 30):  # what comes twice, or late, is none
        samples.take("attic", sample(at_s))
    for at_s in (0, 30, 60):
        samples.take("cellar", sample(at_s))
    assert [len(samples.of(name)) for name in ("attic", "cellar")] == [3, 2]
    assert list(samples.of("cellar")) == [sample(30), sample(60)]
    samples.kept("attic", round(1_000 * (BEGIN_S + 200)))
    assert list(samples.of("attic")) == [sample(60)]
    samples.take("cellar", sample(90))
    assert len(samples.of("cellar")) == 3


def test_whoever_brings_more_than_is_taken_in_waits_but_not_for_ever(monkeypatch):
    inbox: Inbox[int] = Inbox()
    for number in range(64):
        inbox.put_in_turn(number)
    waiting = threading.Thread(target=inbox.put_in_turn, args=(64,))
    waiting.start()
    assert [inbox.get(PATIENCE_S) for _ in range(65)] == list(range(65))
    waiting.join()
    assert inbox.get(0.0) is None
    monkeypatch.setattr(told_inbox, "_LONGEST_HALT_S", 0.0)
    for number in range(100):
        inbox.put_in_turn(number)
    assert len(inbox) == 100
