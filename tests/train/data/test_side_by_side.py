"""Small pieces of work in several processes: in order, prepared once each, and a killed one is said."""

import os
import signal

import pytest

from edge.errors import UnavailableError
from train.data.side_by_side import cores, mapped

_added = 0


def _prepare(number: int) -> None:
    global _added
    _added += number


def _with_added(number: int) -> tuple[int, int]:
    return number + _added, os.getpid()


def _killed(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("processes", [1, 2])
def test_pieces_come_in_their_order_and_each_process_is_prepared_once(processes):
    _prepare(-_added)
    found = list(mapped(_with_added, range(40), processes=processes, prepare=_prepare, given=(100,)))
    assert [number for number, _ in found] == list(range(100, 140))
    assert (os.getpid() in {process for _, process in found}) == (processes == 1)


def test_nothing_to_do_starts_no_process():
    assert list(mapped(_killed, [], processes=4, prepare=_prepare, given=(0,))) == []


def test_a_killed_process_is_a_line_not_a_traceback():
    with pytest.raises(UnavailableError, match="a process was killed"):
        list(mapped(_killed, [1, 2, 3], processes=2, prepare=_prepare, given=(0,)))


def test_the_cores_are_those_that_this_process_may_use():
    assert cores() == len(os.sched_getaffinity(0)) >= 1
