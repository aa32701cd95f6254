"""PortAudio at arm's length, in a process of its own (capture.py)."""

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from edge.sound.child import Capture, CaptureError, Child, lost

ENDING_S = 0.5
_ANSWER_S = 10.0  # a slow card on a busy Pi takes seconds; a frozen sound server takes for ever

_NAMES_SERVER = re.compile(r"^\s*default-server\s*=\s*\S", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDevice:
    """An input device: `card_id` is ALSA's (None for one that is no card), `rates_hz` those it was opened at."""

    name: str
    card_id: str | None
    channels: int
    default_rate_hz: int
    rates_hz: list[int] = field(default_factory=list)
    chosen: bool = False


def input_devices(selector: str | None = None) -> tuple[list[InputDevice], CaptureError | None]:
    """Return the input devices, with the one marked that the selector means, and why there is no such one.

    Raises CaptureError if the sound system gives no answer within _ANSWER_S.
    """
    found: list[InputDevice] = []
    missing: CaptureError | None = None
    with _child("list", selector) as child:
        deadline_s = time.monotonic() + _ANSWER_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            messages = child.read(left_s)
            if messages is None:
                ended = CaptureError("host-error", "the listing process ended without a word")
                return found, missing if found or missing else ended
            for message in messages:
                if "devices" in message:
                    found = [InputDevice(**device) for device in message["devices"]]
                else:
                    missing = lost(message)
    raise CaptureError("stalled", "the sound system did not answer")


class DeviceCapture(Capture):
    """The microphone that a selector means: see edge/sound/child.py."""

    OPENING_S = _ANSWER_S
    FIRST_SOUND_S = 4.0  # PulseAudio takes two to wake a source
    STALLED_S = 1.5

    def __init__(self, selector: str | None, *, served: bool = False) -> None:
        self._selector = selector
        super().__init__(called="the sound system", served=served)

    def _begin(self, ring_fd: int) -> Child:
        return _child("stream", self._selector, ring_fd=ring_fd, served=self.served)


def server_meant() -> bool:
    """Whether this user's microphones are a sound server's, be it there or not: one is named, or left its socket.

    Where none is meant, ALSA's plugins complain of it all the same.
    """
    if "PULSE_SERVER" in os.environ:
        return True
    home = os.environ.get("HOME", "/")
    own = os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "pulse", "client.conf")
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    sockets = [runtime / "pulse" / "native", runtime / "pipewire-0", Path("/run/pulse/native")]
    return any(map(os.path.exists, sockets)) or any(
        _NAMES_SERVER.search(_text(conf))
        for conf in (os.environ.get("PULSE_CLIENTCONFIG", own), "/etc/pulse/client.conf")
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _child(verb: str, selector: str | None, *, ring_fd: int | None = None, served: bool = False) -> Child:
    wanted = {"verb": verb, "selector": selector, "ring_fd": ring_fd}
    wanted["behind_server"] = served or server_meant()
    return Child(
        "edge.sound.portaudio.capture", wanted, pass_fds=() if ring_fd is None else (ring_fd,), ending_s=ENDING_S
    )
