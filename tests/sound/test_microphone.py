"""The microphone's life, against a real sound server that is killed, frozen and brought back."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from edge.config import Audio
from edge.sound.blocks import BLOCK_S, BLOCK_SAMPLES, SAMPLE_RATE_HZ, Block
from edge.sound.faults import REASONS
from edge.sound.microphone import Microphone
from edge.sound.portaudio import capture
from tests.support.ears import Ears, listening
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import to_int16
from tests.support.virtual_microphone import VirtualMicrophone


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualMicrophone]:
    with VirtualMicrophone(tmp_path_factory.mktemp("steady") / "microphone") as running:
        yield running


@pytest.fixture
def steady_microphone(server: VirtualMicrophone, monkeypatch: pytest.MonkeyPatch) -> VirtualMicrophone:
    """A microphone shared by the tests that do it no harm."""
    server.plug_into(monkeypatch)
    return server


def held() -> tuple[int, int, int]:
    """Return how many descriptors, threads and child processes this process has."""
    this = psutil.Process()
    return this.num_fds(), this.num_threads(), len(this.children(recursive=True))


def noise(seconds: float) -> np.ndarray:
    """Return int16 (samples,) without a zero in it, so that its ends can be found."""
    chance = np.random.default_rng(0)
    samples = round(seconds * SAMPLE_RATE_HZ)
    return (chance.integers(1, 32_768, samples) * chance.choice([-1, 1], samples)).astype(np.int16)


def trimmed(samples: np.ndarray) -> np.ndarray:
    sounding = np.flatnonzero(samples)
    return samples[sounding[0] : sounding[-1] + 1]


def test_what_is_played_arrives_bit_for_bit(steady_microphone: VirtualMicrophone) -> None:
    sound = noise(1.0)
    with listening(keep_blocks=True) as ears:
        began_s = time.time()
        ears.until_block(0.0)
        steady_microphone.play(sound)
        played = len(ears.blocks)
        wait_until(lambda: len(ears.blocks) > played + 10)  # what is under way comes, too
    np.testing.assert_array_equal(trimmed(to_int16(ears.heard())), sound)
    blocks = ears.blocks
    assert all(block.samples.shape == (BLOCK_SAMPLES,) and block.samples.dtype == np.float32 for block in blocks)
    np.testing.assert_allclose([block.end_s for block in blocks], np.arange(1, len(blocks) + 1) * BLOCK_S)
    clock = [block.captured_at for block in blocks]
    assert began_s < clock[0] < clock[-1] < time.time()
    assert ears.microphone.dropped_blocks == 0


def lose_and_find(ears: Ears, microphone: VirtualMicrophone, how: str, gone_s: float) -> tuple[float, float]:
    """Return the seconds from the server's end to the first Fault, and from its return to the first block."""
    lost_s = time.monotonic()
    getattr(microphone, how)()
    reported_s, reason = ears.until_fault(lost_s)
    if how == "kill":
        ears.until_fault(lost_s, "server-gone")
    else:
        assert reason == "stalled"
    time.sleep(max(0.0, gone_s - (time.monotonic() - lost_s)))
    if how == "kill":
        microphone.start()
    back_s = time.monotonic()
    if how == "freeze":
        microphone.thaw()
    return reported_s, ears.until_block(back_s)


def test_a_server_that_dies_or_freezes_is_reported_and_found_again(
    virtual_microphone: VirtualMicrophone, monkeypatch: pytest.MonkeyPatch
) -> None:
    # That a server is behind the device must be seen without this hint.
    monkeypatch.delenv("PULSE_SERVER")
    without = held()
    with listening() as ears:
        ears.until_block(0.0)
        before = held()
        for how in ("kill", "freeze"):
            lose_and_find(ears, virtual_microphone, how, gone_s=0.5)
        # The server's own helper, a parec, comes and goes with it; so do the children that are being ended.
        wait_until(lambda: held() == before, lambda: f"{before} held, but {held()}")
        told = [at_s for at_s, fault in ears.faults]
        assert all(fault.reason in REASONS and REASONS[fault.reason].remedy in fault.detail for _, fault in ears.faults)
        assert told == sorted(told)
    wait_until(lambda: held() == without, lambda: f"{without} held, but {held()}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_times_lost_and_found_leaves_nothing_behind(
    virtual_microphone: VirtualMicrophone, record_property: Callable[[str, object], None]
) -> None:
    chance = np.random.default_rng(5)
    with listening() as ears:
        ears.until_block(0.0)
        for how in ("kill", "freeze"):
            lose_and_find(ears, virtual_microphone, how, gone_s=0.5)
        before, before_bytes = held(), psutil.Process().memory_info().rss
        times = {"kill": [], "freeze": []}
        for number in range(20):
            how = ("kill", "freeze")[number % 2]
            # The longest outages meet the longest pauses between attempts.
            times[how].append(lose_and_find(ears, virtual_microphone, how, gone_s=chance.uniform(0.1, 12.0)))
            wait_until(lambda: held() == before, lambda: f"{before} held, but {held()}")
        grown_bytes = psutil.Process().memory_info().rss - before_bytes
    for how, pairs in times.items():
        for name, seconds in zip(("reported", "flowing"), np.array(pairs).T, strict=True):
            record_property(f"{how}_{name}_s", f"p50 {np.median(seconds):.2f} max {seconds.max():.2f}")
            print(f"{how}: {name} after p50 {np.median(seconds):.2f} s, max {seconds.max():.2f} s")
    print(
        f"descriptors, threads, children {before}; RSS {before_bytes / 1e6:.1f} MB, grown by {grown_bytes / 1e6:.2f} MB"
    )
    assert grown_bytes < 2e6


def test_absent_at_start_is_told_again_and_again_and_found_when_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    microphone = VirtualMicrophone(tmp_path / "microphone")
    microphone.plug_into(monkeypatch)
    with listening() as ears:
        ears.until_fault(0.0, "server-gone")
        wait_until(lambda: sum(fault.reason == "server-gone" for _, fault in ears.faults) >= 3)
        with microphone:
            ears.until_block(time.monotonic())


def test_gives_up_for_the_supervisor_to_start_it_afresh(steady_microphone: VirtualMicrophone) -> None:
    settings = Audio(microphone="no such name", give_up_after_s=PATIENCE_S)
    with listening(settings) as ears:
        ears.until_fault(0.0, "absent")  # which it may take a while to find out
        ears.microphone._settings = msgspec.structs.replace(settings, give_up_after_s=0.5)
        ears.thread.join(PATIENCE_S)
    assert ears.faults[-1][1].reason == "absent"
    assert str(ears.error).startswith("microphone: no sound for ")
    assert "'no such name'" in str(ears.error)


def test_hold_closes_the_microphone_by_the_servers_own_account(steady_microphone: VirtualMicrophone) -> None:
    with listening() as ears:
        ears.until_block(0.0)
        assert steady_microphone.listeners() == 1
        held_s = time.monotonic()
        ears.microphone.hold()
        ears.until_fault(held_s, "starting")
        assert steady_microphone.listeners() == 0
        assert ears.microphone.device is None
        resumed_s = time.monotonic()
        ears.microphone.resume()
        ears.until_block(resumed_s)
        assert steady_microphone.listeners() == 1
        reopened_s = time.monotonic()
        ears.microphone.reopen()
        assert ears.until_fault(reopened_s)[1] == "starting"
        ears.until_block(reopened_s)
    assert steady_microphone.listeners() == 0


def test_sound_that_nobody_takes_in_time_is_dropped_oldest_first_and_counted(
    steady_microphone: VirtualMicrophone,
) -> None:
    with Microphone(Audio()) as microphone:
        blocks = microphone.blocks()
        heard = [next(item for item in blocks if isinstance(item, Block))]

        def dropped() -> int:
            time.sleep(capture.RING_S / 2 + 0.5)
            heard.append(next(blocks))
            return microphone.dropped_blocks

        def accounted_for() -> bool:
            """Whether all that was captured was delivered or counted, but for what waits for a block's end."""
            heard.append(next(blocks))
            captured = microphone._capture._frames_read / BLOCK_SAMPLES
            return abs(captured - len(heard) - microphone.dropped_blocks) <= 1

        wait_until(dropped)
        wait_until(accounted_for)
        assert all(isinstance(block, Block) for block in heard)
        blocks.close()


def test_nothing_goes_on_listening_when_the_sensor_is_killed(steady_microphone: VirtualMicrophone) -> None:
    program = "from edge.sound.microphone import *\nfor item in Microphone(Audio()).blocks(): print(item, flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as sensor:
        next(line for line in sensor.stdout if line.startswith("Block"))
        (child,) = psutil.Process(sensor.pid).children()
        sensor.send_signal(signal.SIGKILL)
        assert child.wait(PATIENCE_S) is None
    assert steady_microphone.listeners() == 0
