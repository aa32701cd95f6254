"""Real ALSA devices with the manners of cheap hardware (strict_pcm.c): listed, opened as they are, resampled, busy."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soxr

from edge.commands.cli import main
from edge.commands.devices import require_source
from edge.config import Audio
from edge.errors import UnavailableError
from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.portaudio.device import input_devices
from tests.support.broker import free_port
from tests.support.ears import listening
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT, chirp, to_int16
from tests.support.system import require_program
from tests.support.virtual_microphone import VirtualMicrophone


@pytest.fixture(scope="session")
def strict_pcm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ALSA plugin of strict_pcm.c, compiled."""
    compiler = require_program("cc", "gcc")
    library = tmp_path_factory.mktemp("alsa") / "strict_pcm.so"
    source = ROOT / "tests" / "support" / "strict_pcm.c"
    subprocess.run([compiler, "-Wall", "-DPIC", "-shared", "-fPIC", "-o", library, source, "-lasound"], check=True)
    return library


def strict_devices(library: Path, **devices: str) -> str:
    lines = [f'pcm.{name} {{ type strict slave "pulse" {options} }}' for name, options in devices.items()]
    return "\n".join([f'pcm_type.strict {{ lib "{library}" }}', *lines])


REFUSAL = """
import pyaudio
audio = pyaudio.PyAudio()
devices = map(audio.get_device_info_by_index, range(audio.get_device_count()))
index = next(device["index"] for device in devices if device["name"] == {name!r})
try:
    audio.is_format_supported(16000, input_device=index, input_channels={channels}, input_format=pyaudio.paInt16)
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 2), (44_100, 1)])
def test_a_device_of_one_rate_and_shape_is_resampled_and_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strict_pcm: Path, rate_hz: int, channels: int
) -> None:
    asoundrc = strict_devices(strict_pcm, stubborn=f"rate {rate_hz} channels {channels}")
    sound = np.stack([to_int16(chirp(seconds=0.5, seed=seed, rate_hz=rate_hz)) for seed in range(channels)], axis=1)
    with VirtualMicrophone(tmp_path / "m", rate_hz=rate_hz, channels=channels, asoundrc=asoundrc) as microphone:
        microphone.plug_into(monkeypatch)
        program = REFUSAL.format(name="stubborn", channels=channels)
        refusal = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S)
        assert refusal.stdout.strip() == "('Invalid sample rate', -9997)"
        with listening(Audio(microphone="stubborn"), keep_blocks=True) as ears:
            ears.until_block(0.0)
            microphone.play(sound)
            played = len(ears.blocks)
            wait_until(lambda: len(ears.blocks) > played + 10)  # what is under way comes, too
    assert largest_difference(ears.heard(), sound.mean(axis=1) / 32_768, rate_hz) < 1e-4


def largest_difference(heard: np.ndarray, sound: np.ndarray, rate_hz: int) -> float:
    """Return how far `heard` (16 kHz) is from `sound` resampled whole, wherever in it the sound begins.

    It may begin between two samples of 16 kHz: that many zeros of its own rate in front of it are tried.
    """

    def resampled(zeros: int) -> np.ndarray:
        return soxr.resample(np.concatenate([np.zeros(zeros), sound]), rate_hz, SAMPLE_RATE_HZ).astype(np.float32)

    length = len(heard) + len(sound)
    spectrum = np.fft.rfft(heard, length) * np.conj(np.fft.rfft(resampled(0), length))
    near = int(np.argmax(np.fft.irfft(spectrum, length)))
    return min(
        float(np.abs(heard[begin : begin + len(wanted)] - wanted).max())
        for zeros in range(rate_hz // np.gcd(rate_hz, SAMPLE_RATE_HZ))
        for wanted in [resampled(zeros)]
        for begin in [max(0, near - zeros * SAMPLE_RATE_HZ // rate_hz - early) for early in (0, 1)]
    )


def test_a_device_that_another_program_takes_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strict_pcm: Path
) -> None:
    asoundrc = strict_devices(strict_pcm, taken="rate 16000 channels 1 taken 1")
    with VirtualMicrophone(tmp_path / "m", asoundrc=asoundrc) as microphone:
        microphone.plug_into(monkeypatch)
        with listening(Audio(microphone="taken")) as ears:
            ears.until_fault(0.0, "busy")


def shown(config: Path, capsys: pytest.CaptureFixture[str], level: str) -> bool:
    """List the devices and listen for a while; return whether that showed the level, and no fault."""
    status = main(["--config", str(config), "devices", "--live", "1.5"])
    told = capsys.readouterr().out
    assert "stubborn" in told
    return status == 0 and level in told


def test_devices_lists_and_meters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], strict_pcm: Path
) -> None:
    asoundrc = strict_devices(strict_pcm, stubborn="rate 44100 channels 2")
    with VirtualMicrophone(tmp_path / "m", asoundrc=asoundrc) as microphone:
        microphone.plug_into(monkeypatch)
        devices, missing = input_devices("stubborn")
        assert missing is None
        found = {device.name: device for device in devices}
        assert (found["stubborn"].rates_hz, found["stubborn"].channels) == ([44_100], 2)
        assert 16_000 in found["default"].rates_hz
        assert [device.name for device in found.values() if device.chosen] == ["stubborn"]
        assert require_source(Audio(microphone="STUBB")) == "stubborn"
        missing = input_devices("nobody")[1]
        assert (missing.reason, missing.detail) == ("absent", "none has 'nobody' in its name")
        # A full-scale square wave is 0 dBFS; a tenth of it is -20, and so is this tone, whose peaks are higher by 3 dB.
        tone = 3_277 * np.sqrt(2) * np.sin(2 * np.pi * 500 * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
        with microphone.humming(tone.astype(np.int16)):
            config = tmp_path / "config.yaml"
            config.write_text(f"edge: {{mqtt: {{port: {free_port()}}}}}")  # where no sensor runs
            wait_until(lambda: shown(config, capsys, "loudest  -20.0"))
            # Of sound, however long the microphone takes to answer.
            assert main(["--config", str(config), "devices", "--live", "0.2"]) == 0
    assert main(["devices"]) == UnavailableError.exit_status
    gone = capsys.readouterr().err
    assert gone.startswith("roomtone: microphone: the sound server does not answer")
    assert len(gone.splitlines()) == 1


@pytest.mark.parametrize("known_by", ["its name", "its socket"])
def test_a_sound_server_that_is_gone_is_told_so_to_whoever_asks_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], known_by: str
) -> None:
    """As the running sensor says, which heard by it; and the doctor has nobody plug in what is there."""
    with VirtualMicrophone(tmp_path / "microphone") as microphone:
        microphone.plug_into(monkeypatch)
        monkeypatch.delenv("PULSE_SERVER")
        monkeypatch.chdir(tmp_path)
        assert main(["devices"]) == 0
        microphone.kill()
        if known_by == "its socket":
            (microphone.folder / "home" / ".config" / "pulse" / "client.conf").write_text("autospawn = no\n")
            (microphone.folder / "pulse").mkdir(exist_ok=True)
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(microphone.folder / "pulse" / "native"))
        capsys.readouterr()
        assert main(["devices"]) == UnavailableError.exit_status
        assert main(["doctor", "--anyway"]) == UnavailableError.exit_status
        said = capsys.readouterr()
        assert said.err.startswith("roomtone: microphone: the sound server does not answer")
        assert "FAIL  microphone: the sound server does not answer" in said.out


@pytest.mark.parametrize(
    ("audio", "asked"),
    [("{}", ""), ("{microphone: USB}", ", and so none with 'USB' in its name")],
    ids=["any", "named"],
)
def test_a_machine_without_a_microphone_is_told_so_and_not_sent_to_where_it_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], audio: str, asked: str
) -> None:
    monkeypatch.delenv("PULSE_SERVER", raising=False)
    for variable in ("HOME", "XDG_RUNTIME_DIR"):  # where no sound server was
        monkeypatch.setenv(variable, str(tmp_path))
    if input_devices()[0]:
        pytest.skip("this machine has a microphone")
    (tmp_path / "config.yaml").write_text(f"edge: {{audio: {audio}}}")
    assert main(["--config", str(tmp_path / "config.yaml"), "devices"]) == UnavailableError.exit_status
    said = capsys.readouterr().err
    assert said.startswith(f"roomtone: microphone: this machine has none{asked}: plug one in")
    assert "roomtone devices" not in said
