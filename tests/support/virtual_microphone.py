"""A real microphone without hardware: a private PulseAudio server whose default source hears what is played into it.

`with VirtualMicrophone(folder) as microphone:` gives `microphone.env`, the environment in which programs hear it;
`microphone.play(sound)` is heard bit for bit. The server can be killed and started again, frozen and thawed.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest
import soundfile

from tests.support.patience import PATIENCE_S, wait_until
from tests.support.system import require_program


class VirtualMicrophone:
    """A context manager that starts and stops the server.

    folder: a directory of its own for socket, configuration and log. rate_hz, channels: the source's.
    asoundrc: further ALSA configuration, besides the PCM `default`, which is this microphone. user: the number of whom
    it belongs to, as on a desktop: the server runs as they, and lets in nobody else (as root).
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        rate_hz: int = 16_000,
        channels: int = 1,
        asoundrc: str = "",
        user: int | None = None,
    ) -> None:
        require_program("pactl", "pulseaudio-utils")
        self._program = require_program("pulseaudio", "pulseaudio")
        self.folder = Path(folder)
        self.rate_hz, self.channels = rate_hz, channels
        self._as_user = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        home = self.folder / "home"
        home.mkdir(parents=True)
        self.folder.chmod(0o700)
        socket = self.folder / "native"
        self.variables = {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(self.folder),
            "PULSE_SERVER": f"unix:{socket}",
        }
        self.env = {**os.environ, **self.variables}
        (home / ".asoundrc").write_text(f"pcm.!default {{ type pulse }}\nctl.!default {{ type pulse }}\n{asoundrc}")
        # Found even without PULSE_SERVER, as on a desktop.
        (home / ".config" / "pulse").mkdir(parents=True)
        (home / ".config" / "pulse" / "client.conf").write_text(f"default-server = unix:{socket}\nautospawn = no\n")
        (self.folder / "server.pa").write_text(
            f"load-module module-null-sink sink_name=room rate={rate_hz} channels={channels} format=s16le\n"
            "load-module module-remap-source source_name=microphone master=room.monitor\n"
            "set-default-sink room\n"
            "set-default-source microphone\n"
            f"load-module module-native-protocol-unix socket={socket} auth-anonymous={int(user is None)}\n"
        )
        if user is not None:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, user, user)
        self._server: subprocess.Popen | None = None
        self._awake: subprocess.Popen | None = None

    def plug_into(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it the default microphone of this process and of its children to come."""
        for name, value in self.variables.items():
            monkeypatch.setenv(name, value)

    def open_to_everybody(self) -> None:
        """Let whoever reaches the socket use it, as another user of this machine."""
        self.folder.chmod(0o755)
        (self.folder / "native").chmod(0o777)

    def start(self) -> None:
        """Start the server; returns when it answers."""
        arguments = ["-n", "-F", str(self.folder / "server.pa"), "--daemonize=no", "--exit-idle-time=-1"]
        env = {name: value for name, value in self.env.items() if name != "PULSE_SERVER"}
        with (self.folder / "server.log").open("a") as log:
            self._server = subprocess.Popen(
                [self._program, *arguments, "--use-pid-file=no", "--disallow-exit"],
                env=env,
                stdout=log,
                stderr=log,
                **self._as_user,
            )
        wait_until(self._answers, (self.folder / "server.log").read_text)
        # A listener of our own keeps the source running: one that sleeps loses the first two seconds.
        self._awake = subprocess.Popen(
            ["parec", "--device=microphone", "--latency-msec=20", "--raw"],
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as_user,
        )

    def _answers(self) -> bool:
        if self._server.poll() is not None:
            raise RuntimeError(f"PulseAudio did not start:\n{(self.folder / 'server.log').read_text()}")
        return self.ask("info", check=False) is not None

    def ask(self, *arguments: str, check: bool = True) -> str | None:
        """Return what `pactl` says; None where it fails and need not be a success."""
        answer = subprocess.run(
            ["pactl", *arguments], env=self.env, capture_output=True, text=True, timeout=PATIENCE_S, **self._as_user
        )
        if check:
            answer.check_returncode()
        return answer.stdout if answer.returncode == 0 else None

    def play(self, sound: str | Path | np.ndarray) -> None:
        """Play a sound file, or an int16 array (samples,) or (samples, channels) at the source's rate, to its end."""
        rate_hz = self.rate_hz
        if not isinstance(sound, np.ndarray):
            sound, rate_hz = soundfile.read(sound, dtype="int16")
        channels = 1 if sound.ndim == 1 else sound.shape[1]
        shape = [f"--rate={rate_hz}", f"--channels={channels}", "--format=s16le"]
        subprocess.run(
            ["pacat", "--playback", "--raw", *shape],
            input=sound.tobytes(), env=self.env, check=True, timeout=PATIENCE_S, **self._as_user,
        )  # fmt: skip

    @contextmanager
    def humming(self, sound: np.ndarray) -> Iterator[None]:
        """Play a sound, int16 (samples,) at the source's rate, over and over without a gap while the context lasts."""
        shape = [f"--rate={self.rate_hz}", "--channels=1", "--format=s16le"]
        player = subprocess.Popen(
            ["pacat", "--playback", "--raw", *shape], env=self.env, stdin=subprocess.PIPE, **self._as_user
        )

        def pour() -> None:
            with suppress(OSError):  # until it is killed
                while True:
                    player.stdin.write(sound.tobytes())

        pouring = threading.Thread(target=pour, daemon=True)
        pouring.start()
        try:
            wait_until(lambda: self.ask("list", "short", "sink-inputs"))
            yield
        finally:
            player.kill()
            pouring.join()
            player.wait()

    def listeners(self) -> int:
        """Return how many programs have the microphone open, by the server's own account, without the one of ours."""
        return len(self.ask("list", "short", "source-outputs").splitlines()) - 2  # the remapped source's own is one

    def kill(self) -> None:
        """End the server as a crash would."""
        self._server.kill()
        self._server.wait(PATIENCE_S)
        self._awake.kill()
        self._awake.wait(PATIENCE_S)

    def restart(self) -> None:
        """Kill the server and start it again."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop the server without closing anything: who waits for it waits."""
        self._server.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._server.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
