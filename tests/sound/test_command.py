"""A command as a microphone: its whole life, with programs that die, freeze, flood, and leave children behind."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from edge.config import Audio, Pcm
from edge.sound.blocks import Block
from edge.sound.command.keeper import RING_S
from edge.sound.faults import REASONS
from edge.sound.microphone import Microphone
from tests.sound.test_microphone import held, noise
from tests.support.ears import Ears, listening
from tests.support.patience import wait_until
from tests.support.sounds import to_int16
from tests.support.system import require_program
from tests.support.tap import Tap


@pytest.fixture
def tap(tmp_path: Path) -> Tap:
    return Tap(tmp_path)


def killed(tap: Tap) -> None:
    tap.signal(signal.SIGKILL)


def frozen(tap: Tap) -> None:
    tap.signal(signal.SIGSTOP)


def never_starts(tap: Tap) -> None:
    tap.path.chmod(0o600)
    tap.signal(signal.SIGTERM)


def told(mode: str) -> Callable[[Tap], None]:
    return lambda tap: tap.told(mode)


# What goes wrong, and the reason that is given for it.
TROUBLES = {
    "killed": (killed, "ended"),
    "frozen": (frozen, "stalled"),
    "ends": (told("ends"), "ended"),
    "rubbish": (told("rubbish"), "not-sound"),
    "floods": (told("floods"), "flooding"),
    "writes nothing": (told("nothing"), "stalled"),
    "never starts": (never_starts, "not-started"),
    "leaves children": (told("forks"), "ended"),
}


def lose_and_find(ears: Ears, tap: Tap, trouble: str) -> tuple[float, float]:
    """Return the seconds from the trouble to its reason, and from its end to the first block."""
    cause, reason = TROUBLES[trouble]
    before, lost_s = tap.pid(), time.monotonic()
    cause(tap)
    if trouble in ("rubbish", "writes nothing"):  # which it does from its start
        wait_until(lambda: tap.pid() != before)
        lost_s = time.monotonic()
    reported_s, _ = ears.until_fault(lost_s, reason)
    back_s = time.monotonic()
    tap.path.chmod(0o700)
    tap.told("sounds")
    if trouble == "writes nothing":
        tap.signal(signal.SIGTERM)  # it would be waited for, as a camera is that takes its time
    return reported_s, ears.until_block(back_s)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_goes_wrong_is_said_and_sound_comes_again(tap: Tap, trouble: str):
    before = held()
    with listening(Audio(command=(str(tap.path),))) as ears:
        ears.until_block(0.0)
        lose_and_find(ears, tap, trouble)
        reason = TROUBLES[trouble][1]
        details = [fault.detail for _, fault in ears.faults if fault.reason == reason]
        assert details
        assert all(REASONS[reason].remedy in detail for detail in details)
        assert any("tap" in detail for detail in details)
        if trouble == "ends":
            assert any("ended with status 1: out of film" in detail for detail in details)
        if trouble == "killed":
            assert any("was ended by SIGKILL" in detail for detail in details)
    tap.require_nobody()
    wait_until(lambda: held() == before, lambda: f"{before} held, but {held()}")


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_each_of_them_twenty_times_leaves_nothing_behind(tap: Tap, record_property: Callable[[str, object], None]):
    with listening(Audio(command=(str(tap.path),))) as ears:
        ears.until_block(0.0)
        times: dict[str, list[tuple[float, float]]] = {trouble: [] for trouble in TROUBLES}
        for number in range(22):
            if number == 2:
                before, before_bytes = held(), psutil.Process().memory_info().rss
                times = {trouble: [] for trouble in TROUBLES}
            for trouble, measured in times.items():
                measured.append(lose_and_find(ears, tap, trouble))
        wait_until(lambda: held() == before, lambda: f"{before} held, but {held()}")
        grown_bytes = psutil.Process().memory_info().rss - before_bytes
    for trouble, measured in times.items():
        for name, seconds in zip(("reported", "flowing"), np.array(measured).T, strict=True):
            said = f"p50 {np.median(seconds):.2f} max {seconds.max():.2f}"
            record_property(f"{trouble} {name}_s", said)
            print(f"{trouble}: {name} after {said} s")
    tap.require_nobody()
    print(f"descriptors, threads, children {before}; RSS grown by {grown_bytes / 1e6:.2f} MB")
    assert grown_bytes < 2e6


def test_it_goes_when_the_sensor_is_killed_and_so_do_its_children(tap: Tap):
    program = (
        "import sys; from edge.config import Audio; from edge.sound.microphone import Microphone\n"
        "for item in Microphone(Audio(command=(sys.argv[1],))).blocks(): print(item, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tap.path)], stdout=subprocess.PIPE, text=True) as sensor:
        next(line for line in sensor.stdout if line.startswith("Block"))
        tap.told("forks")
        wait_until(lambda: len((tap.path.parent / "pids").read_text().split()) > 1)
        sensor.send_signal(signal.SIGKILL)
    tap.require_nobody()


def test_it_goes_when_its_keeper_is_killed(tap: Tap):
    with listening(Audio(command=(str(tap.path),))) as ears:
        ears.until_block(0.0)
        first, killed_s = tap.pid(), time.monotonic()
        keeper = psutil.Process(first).parent()
        keeper.kill()
        ears.until_fault(killed_s, "host-error")
        wait_until(lambda: not psutil.pid_exists(first) or psutil.Process(first).status() == "zombie")
        ears.until_block(killed_s)
    tap.require_nobody()


def test_hold_ends_it_and_resume_starts_it_again(tap: Tap):
    with listening(Audio(command=(str(tap.path),))) as ears:
        ears.until_block(0.0)
        held_s = time.monotonic()
        ears.microphone.hold()
        tap.require_nobody()  # when hold() returns
        ears.until_fault(held_s, "starting")
        resumed_s = time.monotonic()
        ears.microphone.resume()
        ears.until_block(resumed_s)


def test_what_never_comes_is_given_up_and_tried_again(tap: Tap, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edge.sound.command.program.CommandCapture.OPENING_S", 3.0)
    tap.told("nothing")
    with listening(Audio(command=(str(tap.path),))) as ears:
        ears.until_fault(0.0, "stalled")
        wait_until(lambda: len((tap.path.parent / "pids").read_text().split()) > 1)
        assert any("gave no answer for" in fault.detail for _, fault in ears.faults)


def heard_from(*command: str, pcm: Pcm | None = None, blocks: int, **rest: str) -> np.ndarray:
    """Return int16 samples of the first blocks that a command delivers."""
    found: list[np.ndarray] = []
    with Microphone(Audio(command=command, pcm=pcm or Pcm(), **rest)) as microphone:
        for item in microphone.blocks():
            if isinstance(item, Block):
                found.append(item.captured)
            if len(found) == blocks:
                break
    return to_int16(np.concatenate(found))


FORMATS = {"s16le": "<i2", "s16be": ">i2", "s32le": "<i4", "f32le": "<f4"}


@pytest.mark.parametrize("format", [*FORMATS, "s24le"])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_raw_samples_are_heard_as_the_configuration_says(tmp_path: Path, format: str, channels: int):
    sound = noise(2.0)
    wide = sound.astype(np.int64) * 65_536
    if format == "s24le":
        data = (wide >> 8).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
    else:
        data = (sound / 32_768 if format == "f32le" else wide if format == "s32le" else sound).astype(FORMATS[format])
        data = data.view(np.uint8).reshape(len(sound), -1)
    (tmp_path / "raw").write_bytes(np.repeat(data[:, None], channels, axis=1).tobytes())
    pcm = Pcm(channels=channels, format=format)
    heard = heard_from("cat", str(tmp_path / "raw"), pcm=pcm, blocks=20)
    np.testing.assert_array_equal(heard, sound[: len(heard)])


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_a_stream_with_a_header_is_recognised(kind: str):
    ffmpeg = require_program("ffmpeg", "ffmpeg")
    tone = ("-re", "-f", "lavfi", "-i", "sine=frequency=1000:sample_rate=44100")
    heard = heard_from(ffmpeg, "-v", "error", *tone, "-ac", "2", "-f", kind, "-", blocks=25)
    assert np.abs(np.fft.rfft(heard[8_000:24_000])).argmax() == 1_000  # Hz, as a second was looked at


def test_another_rate_is_brought_to_ours(tmp_path: Path):
    time_s = np.arange(48_000 * 2) / 48_000
    (tmp_path / "raw").write_bytes((10_000 * np.sin(2 * np.pi * 1_000 * time_s)).astype("<i2").tobytes())
    heard = heard_from("cat", str(tmp_path / "raw"), pcm=Pcm(rate_hz=48_000), blocks=20)
    spectrum = np.abs(np.fft.rfft(heard[1_600:17_600]))
    assert spectrum.argmax() == 1_000  # Hz, as a second was looked at


@pytest.mark.parametrize("word", ["hunter2", "p@ss/w:rd ü%"])
@pytest.mark.parametrize("where", ["command", "command_input"])
def test_the_password_is_in_no_message(tmp_path: Path, word: str, where: str):
    (tmp_path / "password").write_text(word + "\n")
    program = "import sys; text = sys.argv[1] + sys.stdin.read(); sys.exit('401 at ' + text + ' ' * 300 + text)"
    address = "rtsp://viewer:{password}@camera/1 {password}"
    settings = Audio(
        command=(sys.executable, "-c", program, address if where == "command" else ""),
        command_input=address if where == "command_input" else None,
        password_file=str(tmp_path / "password"),
    )
    with listening(settings) as ears:
        ears.until_fault(0.0, "ended")
        details = [fault.detail for _, fault in ears.faults if fault.reason == "ended"]
        assert all("rtsp://viewer:***@camera/1 ***" in detail for detail in details)
        assert not any("hunter" in detail or "w:rd" in detail or "w%3Ard" in detail for detail in details)


def test_what_is_on_its_input_stands_in_no_list_of_processes(tmp_path: Path):
    (tmp_path / "password").write_text("hunter2")
    settings = Audio(
        command=(sys.executable, "-c", "import sys, time; sys.stdin.read(); time.sleep(99)"),
        command_input="rtsp://viewer:{password}@camera/1",
        password_file=str(tmp_path / "password"),
    )
    others = set(psutil.Process().children(recursive=True))  # of the tests before
    with listening(settings) as ears:
        ears.until_fault(0.0, "stalled")
        family = set(psutil.Process().children(recursive=True)) - others
        assert len(family) == 2
        for process in family:
            assert "hunter2" not in " ".join(process.cmdline() + list(process.environ().values()))


def test_a_password_that_cannot_be_read_is_a_reason(tmp_path: Path):
    settings = Audio(command=("true", "{password}"), password_file=str(tmp_path / "none"))
    with listening(settings) as ears:
        ears.until_fault(0.0, "not-started")
        assert any("password_file" in fault.detail for _, fault in ears.faults)


def test_the_sensors_own_environment_is_not_the_commands(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    program = "import os, sys; sys.exit(repr((os.environ.get('NOTIFY_SOCKET'), os.environ['PYTHONPATH'])))"
    with listening(Audio(command=(sys.executable, "-c", program))) as ears:
        ears.until_fault(0.0, "ended")
        assert any("(None, '/theirs')" in fault.detail for _, fault in ears.faults)


def test_sound_that_nobody_takes_in_time_is_dropped_oldest_first_and_counted(tap: Tap):
    tap.told("counts")
    with Microphone(Audio(command=(str(tap.path),))) as microphone:
        blocks = microphone.blocks()
        heard = [next(item for item in blocks if isinstance(item, Block))]

        def dropped() -> int:
            time.sleep(RING_S / 2 + 0.5)
            heard.append(next(blocks))
            return microphone.dropped_blocks

        wait_until(dropped)
        heard += [next(blocks) for _ in range(30)]
        blocks.close()
    numbers = [to_int16(block.captured[-1:]).item() for block in heard]  # four to a block
    assert numbers == sorted(set(numbers))
    assert microphone.dropped_blocks == pytest.approx((numbers[-1] - numbers[0]) / 4 - len(heard) + 1, abs=1)
