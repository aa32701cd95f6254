"""A PipeWire of a test's own, whose one microphone hears what is played into it. It touches nothing of the machine."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile

from tests.support.patience import PATIENCE_S, wait_until
from tests.support.system import require_program

_RATE_HZ = 16_000
_ROOM = f"""
context.properties = {{ default.clock.rate = {_RATE_HZ} default.clock.allowed-rates = [ {_RATE_HZ} ] }}
context.objects = [ {{ factory = adapter args = {{
  factory.name = support.null-audio-sink node.name = room media.class = Audio/Source/Virtual
  audio.position = [ MONO ] audio.rate = {_RATE_HZ} object.linger = true
}} }} ]
"""


class PipeWire:
    """A context manager that starts and stops server and session manager. env: where programs find them."""

    def __init__(self, folder: Path) -> None:
        self._programs = [require_program(name, name) for name in ("pipewire", "wireplumber")]
        self._bus = require_program("dbus-run-session", "dbus-daemon")
        for name in ("pw-play", "pw-link"):
            require_program(name, "pipewire-bin")
        self._folder = folder
        configured = folder / "config" / "pipewire" / "pipewire.conf.d"
        configured.mkdir(parents=True)
        (configured / "room.conf").write_text(_ROOM)
        here, config = str(folder), str(folder / "config")
        self.variables = {"XDG_RUNTIME_DIR": here, "XDG_CONFIG_HOME": config, "HOME": here}
        self._env = {**os.environ, **self.variables}
        self._running: list[subprocess.Popen] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        server, manager = self._programs
        for command in ([server], [self._bus, "--", manager]):
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self._running.append(subprocess.Popen(command, env=self._env, **quiet))
            wait_until((self._folder / "pipewire-0").exists, "the server's socket")
        wait_until(lambda: "room:input_MONO" in self._ask("pw-link", "-i"), "a microphone")

    def stop(self) -> None:
        for process in self._running[::-1]:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
        self._running.clear()

    def play(self, sound: np.ndarray) -> None:
        """Have the microphone hear a sound, int16 (samples,) at 16 kHz, to its end."""
        path = self._folder / "played.wav"
        soundfile.write(path, sound, _RATE_HZ)
        player = subprocess.Popen(["pw-play", "--target", "0", "-P", "{ node.name = player }", path], env=self._env)
        wait_until(lambda: "player:output_MONO" in self._ask("pw-link", "-o"), "a player")
        self._ask("pw-link", "player:output_MONO", "room:input_MONO")
        player.wait(PATIENCE_S)

    def _ask(self, *command: str) -> str:
        return subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=PATIENCE_S).stdout
