"""The timeline: bounded, sorted, read back whatever was published, and believed only where it makes sense."""

import json
from datetime import datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.voice.payloads import rfc3339
from edge.voice.timeline import (
    INTERVAL_S,
    MOST_RUNS,
    OVERLAP_S,
    RECENT_RUNS,
    SHORT_RUNS,
    SOONEST_S,
    SPAN_S,
    WHOLE_S,
    TimelineRecorder,
)

NOON = datetime.fromisoformat("2026-01-31T12:00:00Z").timestamp()


def published(recorder: TimelineRecorder, now: float = NOON) -> list[tuple[str, str, float]]:
    return recorder.timeline(now).runs


def payload(*runs, ts: float = NOON) -> bytes:
    return json.dumps({"schema": 1, "ts": rfc3339(ts), "runs": [[rfc3339(run[0]), *run[1:]] for run in runs]}).encode()


def test_times_are_utc_to_the_millisecond():
    assert rfc3339(1_780_000_000.25) == "2026-05-28T20:26:40.250Z"


def test_runs_are_the_changes_of_the_last_day():
    recorder = TimelineRecorder()
    recorder.add(NOON - SPAN_S - 900, "fear", 0.9)
    recorder.add(NOON - SPAN_S - 500, "sad", 0.9)
    recorder.add(NOON - SPAN_S - 100, "happy", 0.8)
    recorder.add(NOON - 60, "quiet", 1.0)
    assert published(recorder) == [(rfc3339(NOON - SPAN_S), "happy", 0.8), (rfc3339(NOON - 60), "quiet", 1.0)]


def test_never_more_than_there_are_minutes_in_a_day_and_once_long_seldom():
    recorder = TimelineRecorder()
    times = []
    for second in range(-240, 0):
        recorder.add(NOON + second, "happy" if second % 2 else "quiet", 0.5)
    for second in range(6_000):
        recorder.add(NOON + second, "happy" if second % 2 else "quiet", 0.5)
        if (due := recorder.due(float(second), NOON + second)) is not None:
            times.append(second)
            assert len(due[1].runs) <= (MOST_RUNS if due[0] == "timeline" else RECENT_RUNS)
            assert due[1].runs[-1][0] == rfc3339(NOON + second)
    assert max(later - earlier for earlier, later in pairwise(times)) <= INTERVAL_S
    assert len(times) < 2 * 6_000 / INTERVAL_S
    assert recorder.due(1e6, NOON + 6_000) is not None
    assert recorder.due(1e6 + INTERVAL_S - 1, NOON + 6_060) is None
    name, told = recorder.due(1e6 + INTERVAL_S, NOON + 6_060)
    assert (name, told.ts) == ("recent", rfc3339(NOON + 6_060))  # nothing new, and that is known


def test_an_earlier_life_is_taken_up_with_the_gap_between():
    recorder = TimelineRecorder()
    recorder.add(NOON, "quiet", 1.0)
    recorder.recall(payload((NOON - 900, "happy", 0.7), (NOON - 600, "angry", 0.6), ts=NOON - 300))
    assert published(recorder) == [
        (rfc3339(NOON - 900), "happy", 0.7),
        (rfc3339(NOON - 600), "angry", 0.6),
        (rfc3339(NOON - 300), "quiet", 0.0),  # nobody listened
        (rfc3339(NOON), "quiet", 1.0),
    ]
    assert recorder.due(0.0, NOON) is not None


def state(label: str, confidence: float, *, since: float, ts: float) -> bytes:
    return json.dumps(
        {"emotion": label, "confidence": confidence, "since": rfc3339(since), "ts": rfc3339(ts), "seq": 1}
    ).encode()


@pytest.mark.parametrize(
    ("last", "runs"),
    [
        # It went on, and nothing changed.
        (("quiet", 1.0, NOON - 900, NOON - 20), [(NOON - 900, "quiet", 1.0), (NOON - 20, "quiet", 0.0)]),
        # It changed after the timeline was told: what was between is not known.
        (
            ("sad", 0.6, NOON - 30, NOON - 20),
            [(NOON - 900, "quiet", 1.0), (NOON - 60, "quiet", 0.0), (NOON - 30, "sad", 0.6), (NOON - 20, "quiet", 0.0)],
        ),
        # What was quiet after an unknown time was heard to be.
        (
            ("quiet", 1.0, NOON - 30, NOON - 20),
            [
                (NOON - 900, "quiet", 1.0),
                (NOON - 60, "quiet", 0.0),
                (NOON - 30, "quiet", 1.0),
                (NOON - 20, "quiet", 0.0),
            ],
        ),
        # At once after: that is the change.
        (
            ("sad", 0.6, NOON - 58, NOON - 20),
            [(NOON - 900, "quiet", 1.0), (NOON - 58, "sad", 0.6), (NOON - 20, "quiet", 0.0)],
        ),
        # The state is the older one or as old, or makes no sense.
        (("quiet", 1.0, NOON - 900, NOON - 70), [(NOON - 900, "quiet", 1.0), (NOON - 60, "quiet", 0.0)]),
        (("sad", 0.6, NOON - 100, NOON - 60), [(NOON - 900, "quiet", 1.0), (NOON - 60, "quiet", 0.0)]),
        (("", 1.0, NOON - 900, NOON - 20), [(NOON - 900, "quiet", 1.0), (NOON - 60, "quiet", 0.0)]),
    ],
)
def test_the_last_state_tells_more_than_the_last_timeline(last, runs):
    label, sure, since, ts = last
    recorder = TimelineRecorder()
    recorder.recall(payload((NOON - 900, "quiet", 1.0), ts=NOON - 60), state(label, sure, since=since, ts=ts))
    assert published(recorder) == [(rfc3339(start), said, confidence) for start, said, confidence in runs]


def test_a_microphone_that_failed_in_the_quiet_failed_when_the_timeline_says():
    recorder = TimelineRecorder()
    told = payload((NOON - 900, "quiet", 1.0), (NOON - 500, "quiet", 0.0), ts=NOON - 60)
    recorder.recall(told, state("quiet", 0.0, since=NOON - 900, ts=NOON - 20))  # the label is the same since then
    assert published(recorder) == [(rfc3339(NOON - 900), "quiet", 1.0), (rfc3339(NOON - 500), "quiet", 0.0)]


@pytest.mark.parametrize("held_s", [0.0, 0.4])
def test_a_quiet_that_began_with_the_power_cut_is_no_run(held_s):
    recorder = TimelineRecorder()
    told = payload((NOON - 900, "happy", 0.7), ts=NOON - 90)
    recorder.recall(told, state("quiet", 0.99, since=NOON - 60, ts=NOON - 60 + held_s))
    assert published(recorder) == [(rfc3339(NOON - 900), "happy", 0.7), (rfc3339(NOON - 90), "quiet", 0.0)]


def test_nobody_listened_since_it_was_switched_off_also_where_no_timeline_tells():
    recorder = TimelineRecorder()
    recorder.add(NOON - 5, "quiet", 0.0)
    recorder.silent_since(NOON - 600)
    assert published(recorder) == [(rfc3339(NOON - 600), "quiet", 0.0)]
    recorder.silent_since(NOON - 90_000)  # longer ago than the day
    assert published(recorder) == [(rfc3339(NOON - 86_400), "quiet", 0.0)]
    recorder.add(NOON - 300, "happy", 0.7)
    recorder.silent_since(NOON - 400)  # a clock that was wrong: what was heard, was heard
    assert [label for _, label, _ in published(recorder)] == ["quiet", "happy"]


def test_a_state_alone_is_a_past_too(caplog):
    recorder = TimelineRecorder()
    recorder.recall(None, state("happy", 0.7, since=NOON - 50, ts=NOON - 20))
    recorder.recall(None, None)
    assert published(recorder) == [(rfc3339(NOON - 50), "happy", 0.7), (rfc3339(NOON - 20), "quiet", 0.0)]
    assert not caplog.records  # what is not there is not damaged


def test_a_clock_that_steps_leaves_the_runs_sorted_and_within_a_day():
    recorder = TimelineRecorder()
    for start in (NOON, NOON - 3 * 3_600, NOON + 5 * 3_600, NOON - 7_200, NOON + 400 * SPAN_S):
        recorder.add(start, "happy" if start < NOON else "sad", 0.5)
    starts = [run[0] for run in published(recorder)]
    assert starts == sorted(starts)
    assert all(abs(datetime.fromisoformat(start).timestamp() - NOON) <= SPAN_S for start in starts)


def test_what_nobody_can_publish_is_kept_within_bounds():
    recorder = TimelineRecorder()
    recorder.add(NOON - 10_000, "happy", 0.5)
    for second in range(2 * MOST_RUNS - 1):
        recorder.add(NOON - 9_000 + second, "quiet", 0.5)
    assert published(recorder) == [(rfc3339(NOON - 10_000), "happy", 0.5), (rfc3339(NOON - 9_000), "quiet", 0.5)]
    crowded = TimelineRecorder()
    crowded.add(NOON - 10_000, "happy", 0.5)
    for second in range(2 * MOST_RUNS):
        crowded.add(NOON - 9_000 + second, "quiet", 0.5)
    assert published(crowded) == [(rfc3339(NOON - 9_000), "quiet", 0.5)]


def test_the_newest_runs_are_published():
    recorder = TimelineRecorder()
    for second in range(MOST_RUNS + 10):
        recorder.add(NOON - 9_000 + second, "happy" if second % 2 else "quiet", 0.25)
    runs = published(recorder)
    assert len(runs) == MOST_RUNS
    assert runs[0][0] == rfc3339(NOON - 9_000 + 10)


def test_a_day_back_and_a_day_ahead_are_the_last_that_are_shown():
    recorder = TimelineRecorder()
    for offset_s, label in ((-SPAN_S, "sad"), (0, "happy"), (SPAN_S, "fear"), (SPAN_S + 1, "angry")):
        recorder.add(NOON + offset_s, label, 0.123456)
    assert published(recorder) == [
        (rfc3339(NOON - SPAN_S), "sad", 0.1235),
        (rfc3339(NOON), "happy", 0.1235),
        (rfc3339(NOON + SPAN_S), "fear", 0.1235),
    ]
    assert recorder.timeline(NOON).ts == rfc3339(NOON)


def test_a_label_that_goes_on_is_one_run_with_the_confidence_it_began_with():
    recorder = TimelineRecorder()
    heard = [("happy", 0.5), ("happy", 0.9), ("quiet", 1.0), ("quiet", 0.0), ("quiet", 0.0)]
    for second, (label, sure) in enumerate(heard):
        recorder.add(NOON + second, label, sure)
    assert published(recorder, NOON + 10) == [
        (rfc3339(NOON), "happy", 0.5),
        (rfc3339(NOON + 2), "quiet", 1.0),
        (rfc3339(NOON + 3), "quiet", 0.0),
    ]


def test_a_short_day_is_published_soon_after_a_change_and_a_long_one_seldom():
    recorder = TimelineRecorder()
    times = []
    for second in range(SHORT_RUNS):
        recorder.add(NOON + second, "happy" if second % 2 else "quiet", 0.5)
        if (due := recorder.due(float(second), NOON + second)) is not None:
            assert due[0] == "timeline"
            times.append(second)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[:4] == [SOONEST_S] * 4
    assert pauses == sorted(pauses)  # the longer it is, the less often
    assert pauses[-1] > SOONEST_S


def a_long_day(recorder: TimelineRecorder, *, every_s: int = 600) -> None:
    for number in range(SHORT_RUNS + 40):
        recorder.add(NOON - (SHORT_RUNS + 40 - number) * every_s, "happy" if number % 2 else "quiet", 0.5)


def test_of_a_long_day_only_what_came_since_is_told_between_two_whole_ones():
    recorder = TimelineRecorder()
    a_long_day(recorder)
    told = []
    for second in range(2_000):
        if second % 45 == 0:
            recorder.add(NOON + second, "happy" if second // 45 % 2 else "quiet", 0.5)
        if (due := recorder.due(float(second), NOON + second)) is not None:
            told.append((second, *due))
    whole = [second for second, name, _ in told if name == "timeline"]
    assert len(whole) == 3  # in half an hour
    assert all(WHOLE_S <= later - earlier < WHOLE_S + INTERVAL_S for earlier, later in pairwise(whole))
    for second, name, message in told:
        if name == "recent":
            since = max(each for each in whole if each < second)
            assert message.runs[0][0] == rfc3339(NOON + since - OVERLAP_S)
            assert message.ts == rfc3339(NOON + second)
    assert max(len(json.dumps(message.runs)) for _, name, message in told if name == "recent") < 2_000


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(0.0, 50.0), st.sampled_from(("happy", "sad", "quiet")),
                          st.sampled_from((0.0, 0.5))), min_size=1, max_size=120))  # fmt: skip
def test_whoever_has_the_last_of_both_has_the_day(changes: list[tuple[int, float, str, float]]):
    """After any `recent` and `timeline` a new life knows what the sensor knew; changes may be told seconds late."""
    recorder = TimelineRecorder()
    a_long_day(recorder)
    last: dict[str, bytes] = {}
    second = 0
    for pause, late_s, label, sure in changes:
        until = second + pause
        while second < until:
            second += 5
            if (due := recorder.due(float(second), NOON + second)) is not None:
                last[due[0]] = msgspec.json.encode(due[1])
                known = recorder.timeline(NOON + second).runs
        recorder.add(NOON + second - late_s, label, sure)
    heir = TimelineRecorder()
    heir.recall(last["timeline"], None, last.get("recent"))
    runs = heir.timeline(NOON + second).runs
    if (known[-1][1], known[-1][2]) != ("quiet", 0.0):  # then what is told as the gap from there on goes on with it
        assert runs.pop()[1:] == ("quiet", 0.0)
    assert runs == known


def test_what_turns_out_later_about_a_time_before_is_told_with_a_whole_day():
    recorder = TimelineRecorder()
    a_long_day(recorder)
    assert recorder.due(0.0, NOON)[0] == "timeline"
    assert recorder.due(INTERVAL_S, NOON + INTERVAL_S)[0] == "recent"
    recorder.silent_since(NOON + 30)
    assert recorder.due(2 * INTERVAL_S, NOON + 2 * INTERVAL_S)[0] == "recent"
    recorder.add(NOON - OVERLAP_S - 1, "sad", 0.5)
    assert recorder.due(3 * INTERVAL_S, NOON + 3 * INTERVAL_S)[0] == "timeline"


def test_after_the_clock_went_back_the_day_is_told_whole():
    recorder = TimelineRecorder()
    a_long_day(recorder)
    assert recorder.due(0.0, NOON)[0] == "timeline"
    assert recorder.due(INTERVAL_S, NOON - 3_600)[0] == "timeline"


RECENT = payload((NOON - 660, "angry", 0.6), (NOON - 400, "sad", 0.5), ts=NOON - 200)


@pytest.mark.parametrize(
    ("timeline", "runs"),
    [
        (payload((NOON - 900, "happy", 0.7), (NOON - 640, "fear", 0.6), ts=NOON - 600),
         [(900, "happy", 0.7), (660, "angry", 0.6), (400, "sad", 0.5), (200, "quiet", 0.0)]),
        (payload((NOON - 900, "happy", 0.7), ts=NOON - 800),
         [(900, "happy", 0.7), (800, "quiet", 0.0), (660, "angry", 0.6), (400, "sad", 0.5), (200, "quiet", 0.0)]),
        (payload((NOON - 900, "happy", 0.7), ts=NOON - 100), [(900, "happy", 0.7), (100, "quiet", 0.0)]),
        (None, [(660, "angry", 0.6), (400, "sad", 0.5), (200, "quiet", 0.0)]),
        (b"rubbish", [(660, "angry", 0.6), (400, "sad", 0.5), (200, "quiet", 0.0)]),
    ],
    ids=["where both tell the later counts", "a gap between", "an old one", "alone", "rubbish"],
)  # fmt: skip
def test_an_earlier_life_told_in_two_parts(timeline: bytes | None, runs: list):
    recorder = TimelineRecorder()
    recorder.recall(timeline, None, RECENT)
    assert published(recorder) == [(rfc3339(NOON - ago), label, sure) for ago, label, sure in runs]


def test_a_short_day_in_which_nothing_is_new_is_published_once_a_minute():
    recorder = TimelineRecorder()
    recorder.add(NOON, "quiet", 1.0)
    assert [second for second in range(200) if recorder.due(float(second), NOON + second)] == [0, 60, 120, 180]


def test_an_earlier_life_is_published_at_once():
    recorder = TimelineRecorder()
    recorder.add(NOON, "quiet", 1.0)
    assert recorder.due(100.0, NOON) is not None
    recorder.add(NOON + 1, "happy", 1.0)
    assert recorder.due(100.0 + SOONEST_S - 1, NOON + 1) is None
    recorder.recall(payload((NOON - 900, "happy", 0.7), ts=NOON - 300))
    assert recorder.due(101.0, NOON + 1) is not None


def test_the_gap_begins_after_what_was_heard_whatever_the_clock_said():
    recorder = TimelineRecorder()
    recorder.recall(payload((NOON - 600, "happy", 0.7), (NOON - 100, "sad", 0.7), ts=NOON - 500))
    assert published(recorder)[-1] == (rfc3339(NOON - 100), "quiet", 0.0)


@pytest.mark.parametrize("moment", [NOON, NOON - SPAN_S])
def test_what_began_at_the_same_moment_stays_in_the_order_it_was_told(moment):
    recorder = TimelineRecorder()
    recorder.add(moment, "sad", 0.5)
    recorder.add(moment, "happy", 0.5)
    assert [label for _, label, _ in published(recorder)] == ["sad", "happy"]
    early = TimelineRecorder()
    early.add(NOON, "happy", 0.5)
    early.recall(payload((NOON - 60, "sad", 0.5), ts=NOON))
    assert [label for _, label, _ in published(early)] == ["sad", "quiet", "happy"]


def test_of_a_long_past_the_newest_is_taken_up():
    recorder = TimelineRecorder()
    past = [(NOON - 9_000 + second, "happy" if second % 2 else "quiet", 0.25) for second in range(MOST_RUNS + 10)]
    recorder.recall(payload(*past))
    kept = published(recorder)
    assert len(kept) == MOST_RUNS
    assert kept[-2][0] == rfc3339(past[-1][0])


def test_the_limits_of_a_run_are_still_in_it(caplog):
    kept = [(NOON - 50, "x" * 64, 0), (NOON - 40, "y", 1), (NOON - 30, "z", 0.5)]
    left_out = [(NOON - 45, "x" * 65, 0.5), (NOON - 44, "", 0.5), (NOON - 43, "n", -0.1), (NOON - 42, "n", 1.1)]
    recorder = TimelineRecorder()
    recorder.recall(payload(*kept, *left_out, ts=NOON - 20))
    assert published(recorder)[:-1] == [(rfc3339(start), label, float(sure)) for start, label, sure in kept]
    assert not caplog.records
    recorder.recall(b"{")
    recorder.recall(b'{"runs": []}')
    recorder.recall(payload(*kept).replace(b"Z", b""))
    assert [record.message for record in caplog.records] == [
        said("Input data was truncated"),
        said("'ts'"),
        said(f"{rfc3339(NOON)[:-1]!r} has no time zone"),
    ]
    assert len(published(recorder)) == 4


def said(why: str) -> str:
    return f"what the broker has retained of the last day cannot be used ({why}): it begins anew"


RUBBISH = [b"", b"{", b"null", b"[]", b'{"runs": 3, "ts": "x"}', b'{"runs": [[1]]}', b"\xff\xfe", b'{"runs": {}}',
           b'{"x":' + b"[" * 5_000]  # fmt: skip


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_is_no_past(rubbish):
    recorder = TimelineRecorder()
    recorder.add(NOON, "quiet", 1.0)
    recorder.recall(rubbish)
    assert published(recorder) == [(rfc3339(NOON), "quiet", 1.0)]


@pytest.mark.parametrize(
    "bad",
    [
        ["yesterday", "happy", 0.5],
        ["2026-01-31T11:00:00", "happy", 0.5],  # no zone
        ["2026-01-31T11:00:00Z", 7, 0.5],
        ["2026-01-31T11:00:00Z", "happy", "0.5"],
        ["2026-01-31T11:00:00Z", "happy", 1.5],
        ["2026-01-31T11:00:00Z", "x" * 1_000, 0.5],
        ["9999-99-99T11:00:00Z", "happy", 0.5],
        [],
        None,
        {"0": 1},
    ],
)
def test_a_bad_run_is_left_out_and_the_good_ones_kept(bad):
    recorder = TimelineRecorder()
    good = [rfc3339(NOON - 60), "happy", 0.5]
    recorder.recall(json.dumps({"ts": rfc3339(NOON - 30), "runs": [bad, good, bad]}).encode())
    assert published(recorder) == [tuple(good), (rfc3339(NOON - 30), "quiet", 0.0)]


@given(st.binary() | st.recursive(st.none() | st.floats() | st.text(), lambda x: st.lists(x)).map(
    lambda runs: json.dumps({"ts": "2026-01-31T11:00:00Z", "runs": runs}).encode()
))  # fmt: skip
def test_nothing_that_is_retained_can_harm(found):
    recorder = TimelineRecorder()
    recorder.recall(found, found)
    recorder.recall(None, found)
    assert len(published(recorder)) <= MOST_RUNS
