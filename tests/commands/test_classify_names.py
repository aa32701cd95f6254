"""Recordings under any name, on any terminal, and through pipes: as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from edge.commands.demo import RECORDING
from edge.commands.plot import Track, figure_of
from edge.hearing.observation import NOTHING_YET
from edge.labels import QUIET, UNKNOWN
from edge.model.manifest import DecisionDefaults
from edge.sound.blocks import BLOCK_SAMPLES, Block
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT

TERMINALS = {
    "utf-8": {},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
NAMES = [
    b"plain.wav",
    "caf\u00e9.wav".encode(),
    b"caf\xe9.wav",
    "\u65e5\u672c.wav".encode(),
    b"$x_{$.wav",
    b"a\x1b[31m.wav",
    "line\n\ttab\u202evaw.wav".encode(),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    """Four seconds of the demo as a WAV."""
    path = tmp_path_factory.mktemp("sound") / "base.wav"
    samples, rate_hz = soundfile.read(RECORDING, frames=64_000)
    soundfile.write(path, samples, rate_hz)
    return path.read_bytes()


def roomtone(*arguments: str | bytes, cwd: Path, given: bytes | None = None, **environment: str):
    """Run the command as a user would; what it says stays bytes."""
    command = [sys.executable, "-m", "edge", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=cwd, env=variables, input=given, capture_output=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("terminal", TERMINALS)
def test_any_name_is_heard_on_any_terminal(tmp_path, sound, terminal):
    for name in NAMES:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_bytes(sound)
    for how in ([], ["--json"], ["--plot"] if terminal in ("utf-8", "C") else []):
        done = roomtone("classify", *how, *NAMES, b"gone\xe9.wav", cwd=tmp_path, **TERMINALS[terminal])
        assert done.returncode == 66, done.stderr
        assert done.stderr == b"roomtone: gone\\xe9.wav: no such file\n"
        if how == ["--json"]:
            summaries = [line["summary"] for line in map(json.loads, done.stdout.splitlines()) if "summary" in line]
            assert len(summaries) == len(NAMES)
            names = {"plain.wav", "caf\u00e9.wav", "caf\\xe9.wav", os.fsdecode(NAMES[-1])}
            assert names <= {summary["file"] for summary in summaries}
            assert {summary["emotion"] for summary in summaries} == {summaries[0]["emotion"]}
        else:
            assert done.stdout.count(b"  in all: ") == len(NAMES)
            for raw in (b"\x1b", b"\t", "\u202e".encode()):
                assert raw not in done.stdout
            assert rb"line\n\ttab\u202evaw.wav" in done.stdout
    if terminal in ("utf-8", "C"):
        assert len(list(tmp_path.glob("*.png"))) == len(NAMES)


def test_pipes_are_heard_and_what_is_no_sound_leaves_the_others_their_answer(tmp_path, sound):
    (tmp_path / "named.raw").write_bytes(sound)
    (tmp_path / "headless.raw").write_bytes(sound[44:])
    os.mkfifo(tmp_path / "fifo")
    writer = subprocess.Popen(["sh", "-c", "cat named.raw > fifo"], cwd=tmp_path)
    done = roomtone("classify", "--json", "headless.raw", "fifo", "/dev/stdin", "named.raw", cwd=tmp_path, given=sound)
    writer.wait(PATIENCE_S)
    assert done.returncode == 66
    (line,) = done.stderr.splitlines()
    assert line == (
        b"roomtone: headless.raw: not a readable sound file (of no kind that is known; WAV, FLAC, Ogg, MP3, AIFF, ... "
        b"are; of raw samples `ffmpeg -f s16le -ar 16000 -ac 1 -i headless.raw headless.flac` makes one)"
    )
    summaries = [line["summary"] for line in map(json.loads, done.stdout.splitlines()) if "summary" in line]
    assert [summary["file"] for summary in summaries] == ["fifo", "/dev/stdin", "named.raw"]
    assert {(summary["duration_s"], summary["emotion"]) for summary in summaries} == {(4.0, summaries[0]["emotion"])}


@pytest.mark.parametrize("case", ["headerless", "WAV", "FLAC", "M4A"])
def test_run_recognises_what_comes_on_standard_input(tmp_path, sound, case):
    samples, rate_hz = soundfile.read(RECORDING, frames=160_000, dtype="int16")
    content = samples.tobytes()
    if case in ("WAV", "FLAC"):
        soundfile.write(tmp_path / "sound", samples, rate_hz, format=case)
        content = (tmp_path / "sound").read_bytes()
    if case == "M4A":
        content = b"\x00\x00\x00\x20ftypM4A " + bytes(5_000)
    done = roomtone("run", "--input", "-", cwd=tmp_path, given=content)
    if case == "M4A":
        assert done.returncode == 66
        assert done.stderr.splitlines()[-1].startswith(
            b"roomtone: standard input: not a readable sound file, but MPEG-4"
        )
        assert b"`ffmpeg -i pipe:0 -f wav -` makes one" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_words_of_a_drawn_strip_stand_in_their_stretch_or_not_at_all():
    """Eleven labels, too: more than there are colours."""
    pytest.importorskip("matplotlib")
    labels = [f"label-{letter}" for letter in "abcdefghijk"]
    track = Track()
    heard = [QUIET] * 2 + [UNKNOWN] * 8 + [label for label in labels for _ in range(5)] + [QUIET] * 440
    for number, label in enumerate(heard, start=1):
        block = Block(samples=np.zeros(BLOCK_SAMPLES, np.float32), end_s=0.08 * number, captured_at=0.0)
        track.add(block, msgspec.structs.replace(NOTHING_YET, at_s=0.08 * number, label=label))
    figure = figure_of("a", track, labels, DecisionDefaults())
    figure.canvas.draw()
    said, score = figure.axes[-1], figure.axes[-2]
    shown = [text for text in said.texts if text.get_visible()]
    assert [text.get_text() for text in shown] == ["quiet"]
    inside = said.get_window_extent()
    assert all(inside.x0 <= text.get_window_extent().x0 and text.get_window_extent().x1 <= inside.x1 for text in shown)
    explained = [text.get_text() for text in score.get_legend().get_texts()]
    assert explained == [*labels, "enter", "exit", QUIET, UNKNOWN]
