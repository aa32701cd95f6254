"""seq rises, whatever the clock does between two lives, and within one where the broker knows better."""

import time
import uuid

from hypothesis import given
from hypothesis import strategies as st

from edge.voice.payloads import Percentiles
from edge.voice.sequence import LARGEST, Sequence, uuid7
from tests.delivery.test_outbox import make_event

NOW_MS = 1_780_000_000_000
HOUR_MS = 3_600_000


@given(st.lists(st.tuples(st.integers(-48, 48), st.integers(1, 50)), min_size=2, max_size=8))
def test_over_lives_whose_clock_steps_by_hours(lives):
    """Each life: hours that the clock is off, and how many numbers are given before the broker tells the last one."""
    published = 0
    for hours, count in lives:
        sequence = Sequence(now_ms=NOW_MS + hours * HOUR_MS)
        early = [make_event(sequence.next()) for _ in range(count)]
        sequence.rise_above(published)
        later = [make_event(sequence.next()) for _ in range(count)]
        given_numbers = [sequence.corrected(event).seq for event in (*early, *later)]
        assert given_numbers == sorted(set(given_numbers))
        assert given_numbers[0] > published
        published = given_numbers[-1]


def test_it_starts_above_what_waits_in_the_outbox():
    assert Sequence(NOW_MS + 500, now_ms=NOW_MS).next() == NOW_MS + 501
    assert Sequence(NOW_MS - 500, now_ms=NOW_MS).next() == NOW_MS
    assert Sequence(now_ms=0).next() == 1


def test_what_waited_from_an_earlier_life_moves_along():
    waiting = make_event(NOW_MS - 5)
    sequence = Sequence(NOW_MS - 5, now_ms=NOW_MS)
    own = make_event(sequence.next())
    assert sequence.rise_above(NOW_MS + HOUR_MS, waiting.seq)
    assert NOW_MS + HOUR_MS < sequence.corrected(waiting).seq < sequence.corrected(own).seq < sequence.next()


def test_it_moves_no_further_than_it_must():
    sequence = Sequence(now_ms=NOW_MS)
    own = [make_event(sequence.next()) for _ in range(3)]
    floor = NOW_MS + HOUR_MS
    assert sequence.rise_above(floor)
    later = [make_event(sequence.next()) for _ in range(2)]
    assert [sequence.corrected(event).seq for event in (*own, *later)] == [floor + number for number in range(1, 6)]
    waiting = make_event(NOW_MS - 5)
    behind = Sequence(NOW_MS - 5, now_ms=NOW_MS)
    assert behind.rise_above(floor, waiting.seq)
    assert behind.corrected(waiting).seq == floor + 1
    assert behind.next() == floor + 1 + NOW_MS - waiting.seq


def test_the_broker_may_know_better_more_than_once():
    sequence = Sequence(now_ms=NOW_MS)
    assert sequence.rise_above(NOW_MS)  # the very number that would have come next
    assert not sequence.rise_above(NOW_MS)  # told again, after the link was lost
    later = make_event(sequence.next())
    assert sequence.corrected(later).seq == later.seq == NOW_MS + 1  # it was given above the floor already
    assert sequence.rise_above(NOW_MS + 7)
    assert sequence.next() == NOW_MS + 8 + 1  # one number was given
    assert sequence.rise_above(NOW_MS + 8)  # any from our first on may be another life's


def test_a_number_that_no_counter_reaches_is_not_believed():
    sequence = Sequence(now_ms=NOW_MS)
    assert not sequence.rise_above(LARGEST)
    assert not sequence.rise_above(LARGEST // 2 + 1)
    assert not sequence.rise_above(-5)
    assert not sequence.rise_above(NOW_MS - 1)  # the usual case
    assert sequence.next() == NOW_MS


def test_what_has_no_number_is_left_alone():
    payload = Percentiles(p50=1.0)
    assert Sequence(now_ms=NOW_MS).corrected(payload) is payload
    assert [Sequence(now_ms=NOW_MS).corrected(make_event(number)).seq for number in (0, 1)] == [0, 1]


def test_it_starts_from_the_clock():
    before_ms = time.time_ns() // 1_000_000
    assert before_ms <= Sequence().next() <= time.time_ns() // 1_000_000


def test_half_of_what_json_counts_is_the_most_that_is_believed():
    assert Sequence(now_ms=NOW_MS).rise_above(LARGEST // 2)


@given(st.integers(0, 2**48 - 1))
def test_an_event_s_id_is_a_uuid_of_version_7_with_its_time_in_front(unix_ms):
    made = uuid.UUID(uuid7((unix_ms + 0.5) / 1_000))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs((made.int >> 80) - unix_ms) <= 1 + unix_ms / 2**50  # floats of that size are so far apart


def test_the_rest_of_an_id_is_chance():
    made = [uuid.UUID(uuid7(1_780_000_000.125)).int for _ in range(200)]
    ones, all_ones = 0, 2**128 - 1
    for number in made:
        ones |= number
        all_ones &= number
    assert all_ones >> 80 == ones >> 80 == 1_780_000_000_125
    fixed = 0xF << 76 | 0x3 << 62  # version and variant
    assert (ones & ~fixed) - (all_ones & ~fixed) == (2**80 - 1) & ~fixed  # every other bit was both


def test_a_clock_that_is_far_off_still_gives_an_id():
    assert uuid.UUID(uuid7(2**48 / 1_000 + 5)).int >> 80 == 5_000
