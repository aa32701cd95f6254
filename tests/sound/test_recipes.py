"""The commands of deploy/microphones.md, each with the real program, as far as it is on this machine."""

import base64
import http.server
import re
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from edge.config import Audio, load_edge
from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording, read_recording
from tests.sound.test_microphone import noise, trimmed
from tests.support.broker import free_port
from tests.support.daemon import RECORDING
from tests.support.ears import listening
from tests.support.patience import wait_until
from tests.support.pipewire import PipeWire
from tests.support.rtsp_server import PACKAGES, Camera, serves_here
from tests.support.sounds import ROOT, to_int16
from tests.support.system import lacking, require_program
from tests.support.virtual_microphone import VirtualMicrophone

PAGE = (ROOT / "deploy" / "microphones.md").read_text()
PACKAGE_OF = {"arecord": "alsa-utils", "nc": "netcat-openbsd", "parec": "pulseaudio-utils",
              "pw-record": "pipewire-bin", "ssh": "openssh-client"}
WORD = "p@ss/w:rd%"


def recipe(folder: Path, heading: str, **instead: str) -> Audio:
    """Return what stands on the page under a heading, as the sensor reads it; words are replaced by this test's own."""
    text = re.search(rf"^## {heading}$.*?^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]
    (folder / "secret").write_text(WORD)
    for word, other in {"password_file: camera": f"password_file: {folder / 'secret'}", **instead}.items():
        text = text.replace(word, other)
    (folder / "config.yaml").write_text(text)
    audio = load_edge(folder / "config.yaml").audio
    require_program(audio.command[0], PACKAGE_OF.get(audio.command[0], audio.command[0]))
    return audio


@pytest.mark.parametrize("heading", ["A sound card, through ALSA", "A sound server, PulseAudio"])
def test_a_sound_card_and_a_sound_server(virtual_microphone: VirtualMicrophone, tmp_path: Path, heading: str):
    sound = noise(1.0)
    with listening(recipe(tmp_path, heading), keep_blocks=True) as ears:
        ears.until_block(0.0)
        assert virtual_microphone.listeners() == 1
        virtual_microphone.play(sound)
        played = len(ears.blocks)
        wait_until(lambda: len(ears.blocks) > played + 10)  # what is under way comes, too
        lost_s = time.monotonic()
        virtual_microphone.kill()
        ears.until_fault(lost_s, "ended")
        virtual_microphone.start()
        ears.until_block(time.monotonic())
    np.testing.assert_array_equal(trimmed(to_int16(ears.heard()))[: len(sound)], sound)


def test_a_sound_server_pipewire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    known = subprocess.run([require_program("pw-record", "pipewire-bin"), "--help"], capture_output=True, text=True)
    older = {} if "--raw" in known.stdout + known.stderr else {"--raw, ": ""}
    settings = recipe(tmp_path, "A sound server, PipeWire", **older)
    sound = noise(2.0)
    with PipeWire(tmp_path / "pipewire") as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        with listening(settings, keep_blocks=True) as ears:
            ears.until_block(0.0)
            server.play(sound)
            parts = [part.tobytes() for part in np.split(sound, 40)]  # a busy core may cost it some
            wait_until(lambda: any(part in to_int16(ears.heard()).tobytes() for part in parts), "what was played")
            lost_s = time.monotonic()
            server.stop()
            ears.until_fault(lost_s, "ended")
            server.start()
            ears.until_block(time.monotonic())


def test_a_satellite_over_tcp(tmp_path: Path):
    sound = noise(1.0)
    with socket.create_server(("127.0.0.1", 0)) as satellite:
        port = satellite.getsockname()[1]
        settings = recipe(tmp_path, "A satellite, over TCP", **{"satellite.lan": "127.0.0.1", "7000": str(port)})
        with listening(settings, keep_blocks=True) as ears:
            for _ in range(2):  # it goes, and comes again
                accepted, _ = satellite.accept()
                with accepted:
                    accepted.sendall(sound.tobytes())
                    ears.until_block(0.0)
                gone_s = time.monotonic()
                ears.until_fault(gone_s, "ended")
    heard = to_int16(ears.heard())
    np.testing.assert_array_equal(heard[:10_000], sound[:10_000])


class _Phone(http.server.BaseHTTPRequestHandler):
    """Sends the recording to whoever knows the password."""

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(f"viewer:{WORD}".encode()).decode()
        if self.headers["Authorization"] != wanted:
            self.send_response(401)
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        sound = to_int16(load_recording(RECORDING)[: 10 * SAMPLE_RATE_HZ])
        head = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\xff\xff\xff\xff"
        with suppress(OSError):
            self.wfile.write(head)
            for begin in range(0, len(sound), 1_600):
                self.wfile.write(sound[begin : begin + 1_600].tobytes())
                time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        pass


def test_a_phone_by_http_with_a_password(tmp_path: Path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Phone) as phone:
        threading.Thread(target=phone.serve_forever, daemon=True).start()
        settings = recipe(
            tmp_path, "A camera or a phone, by HTTP", **{"camera.lan:8080": f"127.0.0.1:{phone.server_port}"}
        )
        with listening(settings, keep_blocks=True) as ears:
            ears.until_block(0.0)
            wait_until(lambda: len(ears.blocks) > 20)
        phone.shutdown()
    expected = to_int16(load_recording(RECORDING))
    heard = to_int16(np.concatenate([block.samples for block in ears.blocks]))
    difference = heard.astype(int) - expected[: len(heard)]
    assert np.abs(difference).max() <= 1  # where the offset was rounded


def test_a_camera_by_rtsp_that_goes_and_comes_back(tmp_path: Path):
    if not serves_here():
        lacking(f"no RTSP server here (Debian packages {PACKAGES})")
    camera = Camera(free_port(), RECORDING)
    settings = recipe(tmp_path, "A camera, by RTSP", **{"camera.lan:554/stream": camera.address.partition("//")[2]})
    assert WORD not in " ".join(settings.command)
    with camera, listening(settings, keep_blocks=True) as ears:
        ears.until_block(0.0)
        wait_until(lambda: len(ears.blocks) >= 50)
        heard = to_int16(np.concatenate([block.captured for block in ears.blocks[:50]]))
        cut_s = time.monotonic()
        camera.stop()
        ears.until_fault(cut_s, "ended", "stalled")
        camera.start()
        ears.until_block(time.monotonic())
        assert not any(WORD in fault.detail for _, fault in ears.faults)
    expected = to_int16(np.concatenate(list(read_recording(RECORDING))))
    assert heard.tobytes() in expected.tobytes()  # bit for bit


def test_a_satellite_over_ssh(tmp_path: Path):
    sshd = require_program("sshd", "openssh-server")
    for name in ("host", "satellite_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    public = (tmp_path / "satellite_key.pub").read_text()
    forced = f"ffmpeg -v error -re -i {RECORDING} -f s16le -ac 1 -ar 16000 -"
    (tmp_path / "authorized_keys").write_text(f'restrict,command="{forced}" {public}')
    port = free_port()
    settings = {
        "HostKey": tmp_path / "host",
        "AuthorizedKeysFile": tmp_path / "authorized_keys",
        "ListenAddress": f"127.0.0.1:{port}",
        "StrictModes": "no",
        "PermitRootLogin": "yes",
        "PidFile": "none",
        "UsePAM": "no",
    }
    with suppress(OSError):
        Path("/run/sshd").mkdir()
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    server = subprocess.Popen([sshd, "-D", "-e", "-f", "/dev/null", *options], stderr=subprocess.DEVNULL)
    try:
        host = (tmp_path / "host.pub").read_text()
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}")
        instead = {
            "/etc/roomtone/known_hosts": str(tmp_path / "known_hosts"),
            "/var/lib/roomtone/satellite_key": str(tmp_path / "satellite_key"),
            "pi@satellite.lan": f"-p, '{port}', 127.0.0.1",
        }
        asked = recipe(tmp_path, "A satellite, over ssh", **instead)
        with listening(asked, keep_blocks=True) as ears:
            ears.until_block(0.0)
            wait_until(lambda: len(ears.blocks) > 10)
    finally:
        server.terminate()
        server.wait()
    expected = to_int16(load_recording(RECORDING))
    heard = to_int16(np.concatenate([block.samples for block in ears.blocks]))
    assert np.abs(heard.astype(int) - expected[: len(heard)]).max() <= 1


def test_more_channels_in_another_format_are_understood(tmp_path: Path):
    settings = recipe(tmp_path, "More channels, or another format")
    assert (settings.pcm.rate_hz, settings.pcm.channels, settings.pcm.format) == (48_000, 4, "s32le")
