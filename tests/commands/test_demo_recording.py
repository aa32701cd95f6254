"""The bundled recording: as long, as small and as talkative as the demo needs (deploy/make_demo_recording.py)."""

from pathlib import Path

import numpy as np
import soundfile
from pymicro_vad import MicroVad

RECORDING = Path(__file__).parents[2] / "edge" / "commands" / "demo.flac"
PIECE = 160  # 10 ms


def test_its_form():
    info = soundfile.info(RECORDING)
    assert (info.format, info.samplerate, info.channels) == ("FLAC", 16_000, 1)
    assert info.duration >= 45.0
    assert RECORDING.stat().st_size <= 600_000


def test_a_voice_detector_hears_its_speech_and_its_pauses():
    samples, _ = soundfile.read(RECORDING, dtype="int16")
    pieces = samples[: len(samples) // PIECE * PIECE].reshape(-1, PIECE)
    detector = MicroVad()
    speech = np.array([detector.process_10ms(piece.tobytes()) for piece in pieces]) > 0.5
    level_dbfs = 20 * np.log10(np.sqrt(np.mean((pieces / 32_768.0) ** 2, axis=1)) + 1e-9)

    quiet = level_dbfs < -60.0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(int), [0]])))
    pauses = [(start, end) for start, end in edges.reshape(-1, 2) if end - start >= 200]
    assert len(pauses) >= 6
    for start, end in pauses:
        assert not speech[start + 80 : end].any()  # the detector lets go 0.5 to 0.7 s after the voice ends
    assert 0.4 < speech.mean() < 0.7
