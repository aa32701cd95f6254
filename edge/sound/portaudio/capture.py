"""The process that holds PortAudio, on behalf of device.py: `python -m edge.sound.portaudio.capture`.

PortAudio is kept out of the sensor because its calls cannot be interrupted: with a frozen sound server they hang, some
for ever, and a failed assertion in a sound library ends the process. This one can be killed, and leaves nothing behind.

The first line of standard input is JSON: `verb` (list, stream), `selector`, `ring_fd` and `behind_server` (the device
was a sound server's). What happens is said as JSON lines on standard output. `list` says `devices`, once. `stream` says
`stream` (the name) when the device is open, then, as sound arrives, `frames` (how many came so far) and `at` (Unix time
in seconds of the last one); both end with `fault`, a reason code of faults.py, where there is one. The samples, int16
and interleaved, never pass through a pipe or a file: they lie in a ring in shared memory (the file descriptor
`ring_fd`), whose oldest are overwritten.

Ends when standard input does, so that it never outlives the sensor. PyAudio is imported where it is used, so that its
absence is a fault that is reported as any other.
"""

import json
import mmap
import os
import signal
import sys
import threading
import time
from pathlib import Path

from edge.sound.portaudio.devices import (
    RATES_HZ,
    NoSoundError,
    busy,
    choose,
    default_index,
    devices,
    shapes,
    why_missing,
)

RING_S = 6.0
CHUNK_S = 0.04
_CHATTER = 2  # standard error, where sound libraries print some sixty lines while opening
_ENDING_S = 2.0


def say(**message: object) -> None:
    """Write one JSON line; shorter than PIPE_BUF, so never torn."""
    os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def open_stream(audio, device: dict, callback):
    """Return an open stream that has not started, its rate in Hz and its channels; raises NoSoundError.

    At 16 kHz if the device takes it, else at its own rate, else at one it takes.
    """
    import pyaudio

    refusals = []
    for rate_hz in dict.fromkeys((RATES_HZ[0], device["default_rate_hz"], *RATES_HZ[1:])):
        for channels in shapes(device):
            try:
                stream = audio.open(
                    rate=rate_hz,
                    channels=channels,
                    format=pyaudio.paInt16,
                    input=True,
                    input_device_index=device["index"],
                    frames_per_buffer=round(rate_hz * CHUNK_S),
                    stream_callback=callback,
                    start=False,
                )
                return stream, rate_hz, channels
            except OSError as error:
                refusals.append(error)
                if error.errno == pyaudio.paDeviceUnavailable:
                    raise busy(device) from error
    raise _refusal(device, refusals)


def _refusal(device: dict, refusals: list[OSError]) -> NoSoundError:
    import pyaudio

    shape = {pyaudio.paInvalidSampleRate, pyaudio.paInvalidChannelCount, pyaudio.paSampleFormatNotSupported}
    others = [error for error in refusals if error.errno not in shape]
    if not others:
        return NoSoundError("rate-refused", f"{device['name']} at {', '.join(map(str, RATES_HZ))} Hz")
    gone = others[0].errno in (pyaudio.paInvalidDevice, pyaudio.paBadIODeviceCombination)
    return NoSoundError("absent" if gone else "host-error", f"{device['name']}: {others[0].strerror}")


def stream(selector: str | None, ring_fd: int, stop: threading.Event) -> None:
    """Capture until `stop`; raises NoSoundError when there is no device, or when it ends by itself."""
    import pyaudio

    audio = pyaudio.PyAudio()
    device = choose(devices(audio), selector, default_index(audio))
    if device is None:
        raise why_missing(selector)
    frames = 0
    failure = None
    ring = None

    def callback(data: bytes, count: int, timing: dict, flags: int) -> tuple[None, int]:
        nonlocal frames, failure
        # PyAudio raises what escapes from here at an arbitrary point of the main thread.
        try:
            at = time.time()
            start = frames * frame_bytes % len(ring)
            first = min(len(data), len(ring) - start)
            ring[start : start + first] = data[:first]
            ring[: len(data) - first] = data[first:]
            frames += count
            say(frames=frames, at=at, overflow=bool(flags & pyaudio.paInputOverflow))
        except BlockingIOError:
            pass  # the sensor has not read for minutes; the next line tells it how many frames there are
        except Exception as error:
            failure = error
            return None, pyaudio.paAbort
        return None, pyaudio.paContinue

    opened, rate_hz, channels = open_stream(audio, device, callback)
    frame_bytes = 2 * channels
    os.ftruncate(ring_fd, round(RING_S * rate_hz) * frame_bytes)
    ring = mmap.mmap(ring_fd, 0)
    say(stream=device["name"], rate_hz=rate_hz, channels=channels, served=_has_socket())
    os.set_blocking(sys.stdout.fileno(), False)
    # What is printed from here on would fill memory for as long as the stream lives.
    os.dup2(os.open(os.devnull, os.O_RDWR), _CHATTER)
    opened.start_stream()
    while opened.is_active():
        if stop.wait(CHUNK_S):
            opened.close()
            return
    raise (
        NoSoundError("host-error", repr(failure))
        if failure
        else NoSoundError("stalled", f"{device['name']} ended its stream")
    )


def list_devices(selector: str | None) -> None:
    """Say every input device, the rates in Hz that it takes, and whether it is the one that the selector means."""
    import pyaudio

    audio = pyaudio.PyAudio()
    found = devices(audio)
    chosen = choose(found, selector, default_index(audio))
    for device in found:
        # Opening lets go of the interpreter while it hangs, is_format_supported() does not.
        device["rates_hz"] = [rate_hz for rate_hz in sorted(RATES_HZ) if _opens(audio, device, rate_hz)]
        device["chosen"] = device is chosen
        del device["index"]
    say(devices=found)
    if chosen is None:
        raise why_missing(selector)


def _opens(audio, device: dict, rate_hz: int) -> bool:
    import pyaudio

    for channels in shapes(device):
        try:
            audio.open(
                rate=rate_hz,
                channels=channels,
                format=pyaudio.paInt16,
                input=True,
                input_device_index=device["index"],
                start=False,
            ).close()
            return True
        except OSError:
            continue
    return False


def _has_socket() -> bool:
    """Whether this process talks to somebody: then the device is a sound server's."""
    return any(
        os.path.realpath(entry).rpartition("/")[2].startswith("socket:") for entry in Path("/proc/self/fd").iterdir()
    )


def _server_refused() -> bool:
    """Whether a sound server could not be reached, by what ALSA's plugins for PulseAudio and PipeWire printed."""
    return b"nable to connect" in os.pread(_CHATTER, 1 << 20, 0)


def main() -> None:
    wanted = json.loads(sys.stdin.buffer.readline())
    # The sensor ends this process when it has heard the signal itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.dup2(os.memfd_create("roomtone-chatter"), _CHATTER)
    stop = threading.Event()

    def watch_parent() -> None:
        sys.stdin.buffer.read()
        stop.set()
        time.sleep(_ENDING_S)
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()
    try:
        if wanted["verb"] == "list":
            list_devices(wanted["selector"])
        else:
            stream(wanted["selector"], wanted["ring_fd"], stop)
    except NoSoundError as error:
        reason, detail = error.args
        # To PortAudio a server's device is no device when the server is gone.
        if reason in ("absent", "host-error") and wanted["behind_server"] and _server_refused():
            reason = "server-gone"
        say(fault=reason, detail=detail)
    except Exception as error:
        say(fault="host-error", detail=f"{type(error).__name__}: {error}")
    finally:
        # Not through the interpreter's own end, which aborts or hangs while PortAudio's threads live.
        os._exit(0)


if __name__ == "__main__":
    main()
