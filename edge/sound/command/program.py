"""The sensor's side of a command that delivers sound: what it is told, and what it must not tell."""

import os
import signal
from contextlib import suppress
from urllib.parse import quote

from edge.config import PASSWORD, Audio
from edge.credentials import secret
from edge.errors import ConfigError, printable
from edge.sound.child import Capture, CaptureError, Child

_ENDING_S = 2.5  # the keeper asks the command first, then uses force
_LATE_S = 2.0


def password(audio: Audio) -> str | None:
    """Return what {password} stands for; None where there is none. Raises ConfigError."""
    return secret("edge.audio.password_file", audio.password_file)


class CommandCapture(Capture):
    """A command as a microphone: see edge/sound/child.py. Raises CaptureError where its password cannot be read."""

    OPENING_S = 15.0  # ffmpeg looks at a stream for five seconds, and a camera takes its time to answer
    FIRST_SOUND_S = 4.0
    STALLED_S = 2.0

    def __init__(self, audio: Audio) -> None:
        self._audio = audio
        try:
            self._password = password(audio)
        except ConfigError as error:
            raise CaptureError("not-started", str(error)) from error
        self._group: int | None = None
        super().__init__(called=audio.command[0])

    @property
    def overdue(self) -> str:
        late = self._group is not None and self.silent_s > _LATE_S
        return f"{self._called} has written nothing for {self.silent_s:.0f} s" if late else ""

    def kill(self) -> None:
        super().kill()
        self._bury()

    def close(self) -> None:
        super().close()
        self._bury()

    def _begin(self, ring_fd: int) -> Child:
        audio = self._audio
        wanted = {
            "command": [self._filled(part) for part in audio.command],
            "input": None if audio.command_input is None else self._filled(audio.command_input),
            "hidden": self._hidden(),
            "rate_hz": audio.pcm.rate_hz,
            "channels": audio.pcm.channels,
            "format": audio.pcm.format,
            "ring_fd": ring_fd,
        }
        return Child("edge.sound.command.keeper", wanted, pass_fds=(ring_fd,), ending_s=_ENDING_S, tidy=True)

    def _hear(self, message: dict) -> None:
        if "started" in message:
            self._group, self._called = message["started"], message["name"]
            return
        if "fault" in message:
            message = {**message, "detail": printable(message["detail"])}
        super()._hear(message)

    def _bury(self) -> None:
        """End what a keeper that was itself killed left behind."""
        if self._group is not None and self._child.failed:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)
            self._group = None

    def _filled(self, text: str) -> str:
        """Put the password where it belongs, as an address spells it where it stands in one."""
        if self._password is None:
            return text
        address = "://" in text.partition(PASSWORD)[0].rpartition(" ")[2]
        return text.replace(PASSWORD, quote(self._password, safe="") if address else self._password)

    def _hidden(self) -> list[str]:
        """Return the password in every way in which a program may repeat it, the longest first."""
        if self._password is None:
            return []
        return sorted({self._password, quote(self._password, safe=""), quote(self._password)}, key=len, reverse=True)
