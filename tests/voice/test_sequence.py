"""seq rises, whatever the clock does between two lives, and within one where the broker knows better."""

from hypothesis import given
from hypothesis import strategies as st

from edge.voice.payloads import Percentiles
from edge.voice.sequence import LARGEST, Sequence
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


def test_what_waited_from_an_earlier_life_moves_along():
    waiting = make_event(NOW_MS - 5)
    sequence = Sequence(NOW_MS - 5, now_ms=NOW_MS)
    own = make_event(sequence.next())
    assert sequence.rise_above(NOW_MS + HOUR_MS, waiting.seq)
    assert NOW_MS + HOUR_MS < sequence.corrected(waiting).seq < sequence.corrected(own).seq < sequence.next()


def test_a_number_that_no_counter_reaches_is_not_believed():
    sequence = Sequence(now_ms=NOW_MS)
    assert not sequence.rise_above(LARGEST)
    assert not sequence.rise_above(-5)
    assert not sequence.rise_above(NOW_MS - 1)  # the usual case
    assert sequence.next() == NOW_MS


def test_what_has_no_number_is_left_alone():
    payload = Percentiles(p50=1.0)
    assert Sequence(now_ms=NOW_MS).corrected(payload) is payload
