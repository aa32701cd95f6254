"""How soon the sensor does what it must do soon, on a machine where nothing else runs: part of `make bench`.

The tests of the same things wait for them as long as it takes: on a busy core a clock says nothing about roomtone.
"""

import time

import numpy as np
import pytest

from edge.config import Audio
from edge.sound.blocks import BLOCK_S
from tests.daemon.test_control import TROUBLES, left_after_s
from tests.delivery.test_nothing_is_lost import replay
from tests.delivery.test_session import is_told
from tests.sound import test_command
from tests.sound.test_microphone import lose_and_find
from tests.support.broker import Broker, free_port
from tests.support.daemon import Daemon
from tests.support.ears import listening
from tests.support.tap import Tap
from tests.support.virtual_microphone import VirtualMicrophone

LEAVES_S = 2.0
TOLD_S = 5.0
LOST_S, FOUND_S = 3.0, 5.0
REPLAYED_S = 60.0


@pytest.mark.parametrize("case", TROUBLES)
def test_sigterm_leaves_within_two_seconds(tmp_path, case):
    assert left_after_s(tmp_path, case) < LEAVES_S


@pytest.mark.parametrize("trouble", test_command.TROUBLES)
def test_what_goes_wrong_with_a_command_is_told_and_mended_as_soon(tmp_path, trouble: str) -> None:
    tap = Tap(tmp_path)
    with listening(Audio(command=(str(tap.path),))) as ears:
        ears.until_block(0.0)
        told_s, found_s = test_command.lose_and_find(ears, tap, trouble)
    assert told_s < LOST_S
    assert found_s < FOUND_S


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_microphone_that_goes_is_told_within_three_seconds_and_found_within_five(
    virtual_microphone: VirtualMicrophone, how: str
) -> None:
    with listening() as ears:
        ears.until_block(0.0)
        told_s, found_s = lose_and_find(ears, virtual_microphone, how, gone_s=0.5)
    assert told_s < LOST_S
    assert found_s < FOUND_S


def test_the_clock_of_the_blocks_is_that_of_the_sound(virtual_microphone: VirtualMicrophone) -> None:
    with listening(keep_blocks=True) as ears:
        ears.until_block(0.0)
        time.sleep(2.0)
    clock = np.array([block.captured_at for block in ears.blocks])
    np.testing.assert_allclose(clock - clock[0], np.arange(len(clock)) * BLOCK_S, atol=0.25)


def test_a_fault_is_told_every_second(virtual_microphone: VirtualMicrophone) -> None:
    virtual_microphone.kill()
    with listening() as ears:
        ears.until_fault(0.0, "server-gone")
        time.sleep(3.5)
        told_s = [at_s for at_s, fault in ears.faults if fault.reason == "server-gone"]
    assert len(told_s) >= 3
    assert np.diff(told_s).max() < 2.0
    virtual_microphone.start()


def test_why_there_is_no_connection_is_told_within_five_seconds():
    began_s = time.monotonic()
    is_told("connection refused", free_port())
    assert time.monotonic() - began_s < TOLD_S


def test_a_broker_that_goes_is_told_within_five_seconds(tmp_path):
    with Broker(tmp_path / "broker") as broker, Daemon(tmp_path, broker.port) as daemon:
        daemon.wait_for_status(": connected")
        broker.kill()
        assert daemon.wait_for_status("connection (lost|refused)") < TOLD_S
        assert daemon.wait_for_log("connection lost") < TOLD_S


def test_six_hours_of_events_are_replayed_within_a_minute(tmp_path):
    figures = replay(tmp_path, 6 * 3_600)
    print("\nsix hours at an event a second:", figures)
    assert figures["seconds"] < REPLAYED_S
    assert figures["live in time"] >= 0.9 * figures["live"]
