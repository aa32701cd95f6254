"""Makes edge/commands/demo.flac, what `roomtone demo` hears: synthetic voices in a synthetic room.

Run by hand, from the repository root: `python deploy/make_demo_recording.py`. Needs espeak-ng 1.51, numpy, soundfile
and soxr; the same versions give the same samples. The voices are espeak-ng's, so no person's voice is in it; how they
feel is only as true as pitch and rate can make it.
"""

import io
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

RECORDING = Path(__file__).parents[1] / "edge" / "commands" / "demo.flac"
SAMPLE_RATE_HZ = 16_000
NOISE_DBFS = -70.0
LEAD_IN_S = 2.0
SEED = 20_250_101


@dataclass(frozen=True, kw_only=True)
class Line:
    """One voice saying one thing, then silence.

    voice: espeak-ng's language+variant; words_per_minute 80 to 450; pitch 0 to 99; pitch_range in % of the voice's own;
    speech_dbfs: RMS over the line, 30 to 40 dB above the room's noise.
    """

    text: str
    voice: str
    words_per_minute: int
    pitch: int
    pitch_range: int
    speech_dbfs: float
    pause_s: float


LINES = (
    Line(
        text="I got it! I really got it! They called me, and I start on Monday!",
        voice="en-us+f2",
        words_per_minute=205,
        pitch=85,
        pitch_range=180,
        speech_dbfs=-31.0,
        pause_s=2.4,
    ),
    Line(
        text="The house is empty now. Nobody calls here any more.",
        voice="en-gb+m3",
        words_per_minute=115,
        pitch=12,
        pitch_range=35,
        speech_dbfs=-39.0,
        pause_s=2.6,
    ),
    Line(
        text="No! I told you twice! Put it down, and get out of here!",
        voice="en-us+m7",
        words_per_minute=190,
        pitch=45,
        pitch_range=150,
        speech_dbfs=-30.0,
        pause_s=3.0,
    ),
    Line(
        text="The train leaves at ten past eight, from platform four.",
        voice="en-gb+f4",
        words_per_minute=150,
        pitch=45,
        pitch_range=70,
        speech_dbfs=-36.0,
        pause_s=2.2,
    ),
    Line(
        text="Did you hear that? There is somebody outside. Please, turn off the light!",
        voice="en-us+f5",
        words_per_minute=230,
        pitch=95,
        pitch_range=90,
        speech_dbfs=-37.0,
        pause_s=2.6,
    ),
    Line(
        text="What? You are here already? I thought you came tomorrow!",
        voice="en-gb+f3",
        words_per_minute=185,
        pitch=75,
        pitch_range=220,
        speech_dbfs=-32.0,
        pause_s=2.2,
    ),
    Line(
        text="It has been lying in there for weeks. It smells, and it moves.",
        voice="en-gb+m1",
        words_per_minute=130,
        pitch=25,
        pitch_range=110,
        speech_dbfs=-35.0,
        pause_s=4.0,
    ),
)


def speak(line: Line) -> np.ndarray:
    """Return the line's samples, float64 (samples,) at 16 kHz, at its level."""
    ssml = f'<speak><prosody range="{line.pitch_range}%">{line.text}</prosody></speak>'
    command = ["espeak-ng", "-m", "-v", line.voice, "-s", str(line.words_per_minute), "-p", str(line.pitch), "--stdout"]
    spoken = subprocess.run([*command, ssml], check=True, capture_output=True).stdout
    samples, rate_hz = soundfile.read(io.BytesIO(spoken))
    samples = soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ)
    return samples * _gain(samples, line.speech_dbfs)


def room_noise(samples: int) -> np.ndarray:
    """Return float64 (samples,) of noise as a still room has it: a rumble that falls with frequency."""
    spectrum = np.fft.rfft(np.random.default_rng(SEED).standard_normal(samples))
    frequency_hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    noise = np.fft.irfft(spectrum / np.maximum(frequency_hz, 60.0), samples)
    return noise * _gain(noise, NOISE_DBFS)


def _gain(samples: np.ndarray, level_dbfs: float) -> float:
    return 10 ** (level_dbfs / 20) / np.sqrt(np.mean(samples**2))


def main() -> None:
    parts = [np.zeros(round(LEAD_IN_S * SAMPLE_RATE_HZ))]
    for line in LINES:
        parts += [speak(line), np.zeros(round(line.pause_s * SAMPLE_RATE_HZ))]
    voices = np.concatenate(parts)
    recording = voices + room_noise(len(voices))
    soundfile.write(RECORDING, recording, SAMPLE_RATE_HZ, subtype="PCM_16", compression_level=1.0)
    print(f"{RECORDING.name}: {len(recording) / SAMPLE_RATE_HZ:.1f} s, {RECORDING.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
