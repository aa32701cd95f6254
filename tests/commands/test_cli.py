"""The command line as its users meet it: every mistake is one line and the documented status."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.commands.parser import parser
from edge.model.artifact import DEFAULT_MODEL
from tests.support.broker import Broker, free_port
from tests.support.patience import PATIENCE_S
from tests.support.runtimes import python_of
from tests.support.sounds import CORPORA, ROOT, chirp


def roomtone(
    *arguments: str | Path, cwd: Path, before: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, in a folder of the test's; `before` it, such as what takes powers away."""
    return subprocess.run(
        [*before, sys.executable, "-m", "edge", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def complaint(done: subprocess.CompletedProcess[str], status: int) -> str:
    """Return the one line of a mistake."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("roomtone: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


MODEL = DEFAULT_MODEL.read_bytes()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


BAD_CONFIGS = {
    "unknown key": ("edge: {mqtt: {prot: 1}}", "config.yaml: edge.mqtt.prot: unknown key"),
    "wrong type": ("edge: {mqtt: {port: abc}}", "config.yaml: edge.mqtt.port: expected int, got 'abc'"),
    "not YAML": ("edge: {", "config.yaml:1: not valid YAML"),
    "password file": (
        "edge: {mqtt: {username: a, password_file: nowhere}}",
        "/nowhere: cannot be read",
    ),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_a_bad_configuration_is_78(tmp_path, case):
    text, says = BAD_CONFIGS[case]
    (tmp_path / "config.yaml").write_text(text)
    assert says in complaint(roomtone("check", cwd=tmp_path), 78)


def test_a_configuration_that_is_not_there_is_78(tmp_path):
    assert "nowhere.yaml: no such file" in complaint(roomtone("--config", "nowhere.yaml", "run", cwd=tmp_path), 78)


BAD_MODELS = {
    "missing": (None, "no such model file"),
    "not a model": (b"hello" * 100, "not a TFLite model"),
    "graph altered": (flipped(MODEL, 5_000), "altered or damaged: the SHA-256 of graph and manifest does not match"),
    "cut short": (MODEL[: len(MODEL) // 2], "damaged or cut short"),
    "empty": (b"", "empty: copy it again"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_bad_model_is_65(tmp_path, case):
    data, says = BAD_MODELS[case]
    if data is not None:
        (tmp_path / "bad.tflite").write_bytes(data)
    (tmp_path / "config.yaml").write_text("edge: {model: bad.tflite}")
    for arguments in (["run"], ["model", "verify", "bad.tflite"]):
        said = complaint(roomtone(*arguments, cwd=tmp_path), 65)
        assert f"bad.tflite: {says}" in said


def test_an_unreadable_recording_is_66_and_the_others_are_still_answered(tmp_path):
    (tmp_path / "text.wav").write_text("no sound at all\n" * 50)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 16_000)
    (tmp_path / "folder.wav").mkdir()
    soundfile.write(tmp_path / "good.flac", chirp(seconds=2), 16_000)
    done = roomtone(
        "classify", "--json", "text.wav", "empty.wav", "short.wav", "folder.wav", "gone.wav", "good.flac", cwd=tmp_path
    )
    assert done.returncode == 66
    assert done.stderr.splitlines() == [
        "roomtone: text.wav: not a readable sound file, but text",
        "roomtone: empty.wav: the recording is empty",
        "roomtone: short.wav: too short: less than one block of 80 ms",
        "roomtone: folder.wav: is a folder, expected a sound file (those in it: folder.wav/*)",
        "roomtone: gone.wav: no such file",
    ]
    (summary,) = [line["summary"] for line in map(json.loads, done.stdout.splitlines()) if "summary" in line]
    assert summary["file"] == "good.flac"


def test_for_people_a_recording_ends_in_one_line(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000), 16_000)
    recording = ROOT / "edge" / "commands" / "demo.flac"
    said = [line for line in roomtone("classify", recording, "silence.wav", cwd=tmp_path).stdout.splitlines()
            if "in all" in line]  # fmt: skip
    told = json.loads(roomtone("classify", "--json", recording, cwd=tmp_path).stdout.splitlines()[-1])["summary"]
    best = max(told["scores"], key=told["scores"].get)
    confidence = f"{told['scores'][best]:.2f}"
    if told["emotion"] == "unknown":
        confidence = f"{told['scores'][best]:g}, below {told['enter']:g}"
    means = f"{best} {confidence}, arousal {told['arousal']:+.2f}, valence {told['valence']:+.2f}"
    assert said[0].startswith(f"  in all: {told['emotion']} (mean over speech: {means}); 51.")
    assert said[1].startswith("  in all: quiet; 2.0 s, 0% speech, ")


def test_what_is_too_little_for_a_label_does_not_look_like_enough(tmp_path):
    recording = ROOT / "edge" / "commands" / "demo.flac"
    told = json.loads(roomtone("classify", "--json", recording, cwd=tmp_path).stdout.splitlines()[-1])["summary"]
    best, score = max(told["scores"].items(), key=lambda item: item[1])
    for enter, said in ((score, f"{best} (mean over speech: {best} {score:.2f}, "),
                        (round(score + 1e-4, 4), f"unknown (mean over speech: {best} {score:g}, below ")):  # fmt: skip
        decision = f"{{enter: {enter}, exit: 0.1}}"
        (tmp_path / "config.yaml").write_text(f"edge: {{decision: {decision}}}")
        lines = roomtone("classify", recording, cwd=tmp_path).stdout.splitlines()
        assert lines[-1].startswith(f"  in all: {said}")


def test_a_recording_to_run_on_that_is_not_one_is_66(tmp_path, broker):
    (tmp_path / "text.wav").write_text("no sound at all\n" * 50)
    (tmp_path / "config.yaml").write_text(f"edge: {{mqtt: {{host: 127.0.0.1, port: {free_port()}}}}}")
    said = complaint(roomtone("run", "--input", "text.wav", cwd=tmp_path), 66)
    assert "text.wav: not a readable sound file" in said
    (tmp_path / "config.yaml").write_text(f"edge: {{mqtt: {{host: 127.0.0.1, port: {broker.port}}}}}")
    done = subprocess.run(
        [sys.executable, "-m", "edge", "run", "--input", "-"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, input=b"", capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 66
    assert b"standard input: no samples" in done.stderr


def test_no_microphone_is_69_where_one_is_asked_for(tmp_path):
    (tmp_path / "config.yaml").write_text("edge: {audio: {microphone: No Such Device}}")
    quiet = {"HOME": str(tmp_path), "PULSE_SERVER": "unix:/nowhere"}
    for arguments in (["check", "--live"], ["devices"]):
        said = complaint(roomtone(*arguments, cwd=tmp_path, **quiet), 69)
        assert "No Such Device" in said or "no microphone" in said


@pytest.mark.parametrize("case", ["refused", "wrong password"])
def test_a_broker_that_does_not_let_us_in_is_69(tmp_path, case, virtual_microphone):
    (tmp_path / "password").write_text("wrong\n")
    with Broker(tmp_path / "broker", users={"room": "right"}) as broker:
        port = free_port() if case == "refused" else broker.port
        (tmp_path / "config.yaml").write_text(
            f"edge: {{mqtt: {{host: 127.0.0.1, port: {port}, username: room, password_file: password}}}}"
        )
        said = complaint(roomtone("check", "--live", cwd=tmp_path, **virtual_microphone.env), 69)
    assert f"broker 127.0.0.1:{port}: " in said
    assert ("connection refused" if case == "refused" else "Not authorized") in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "roomtone: the following arguments are required: COMMAND, one of run, demo, "),
        (["clasify"], "roomtone: COMMAND: no clasify (there are run, demo, "),
        (["classify"], "the following arguments are required: FILE (help: roomtone classify --help)"),
        (["run", "--loud"], "roomtone: unrecognized arguments: --loud"),
        (["model", "praise"], "roomtone model: VERB: no praise (there are info, "),
        (["demo", "--seconds", "-5"], "roomtone demo: --seconds: expected a positive number of seconds, got '-5'"),
        (["--log-level", "inof", "run"], "did you mean info?"),
        (["watch", "--once", "--exec", "true"], "roomtone: --once and --exec: "),
    ],
)
def test_wrong_usage_is_one_line_and_64(tmp_path, arguments, says):
    done = roomtone(*arguments, cwd=tmp_path)
    assert done.returncode == 64
    (line,) = done.stderr.splitlines()
    assert says in line


def commands(made: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, and of every verb of one."""
    inner = [action for action in made._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield words
    for name, below in inner[0].choices.items() if inner else ():
        yield from commands(below, (*words, name))


NEEDS = {"classify": ["a"], "forget": ["a"], "sign": ["a", "--key", "b"]}
NEEDS |= {"install": ["a"], "export": ["a"], "import": ["a"]}


@pytest.mark.parametrize("words", list(commands(parser())), ids=" ".join)
def test_the_configuration_is_named_before_a_command_or_after_it(words):
    needed = NEEDS.get(words[-1], [])
    before, after = ["--config", "c.yaml", *words], [*words, "--config", "c.yaml"]
    for named in (before, after, ["--config", "other.yaml", *after]):
        options = parser().parse_args([*named, "--log-level", "debug", *needed])
        assert (options.config, options.log_level) == ("c.yaml", "debug")
    options = parser().parse_args([*words, *needed])
    assert (options.config, options.log_level) == (None, None)


def test_check_and_verify_pass_on_what_is_shipped(tmp_path):
    done = roomtone("--config", ROOT / "config.yaml", "check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "golden replay passed" in done.stdout
    done = roomtone("model", "verify", cwd=tmp_path)
    assert "hash, manifest and golden replay verified" in done.stdout
    manifest = json.loads(roomtone("model", "info", "--json", cwd=tmp_path).stdout)
    assert manifest["labels"] == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def test_classify_answers_for_every_clip_of_the_corpus_as_published(tmp_path):
    files = sorted((CORPORA / "TESS-original").glob("*/*.wav"))
    if not files:
        pytest.skip("needs the corpus TESS-original (ROOMTONE_CORPORA)")
    done = roomtone("classify", "--json", *files, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    summaries = [line["summary"] for line in lines if "summary" in line]
    assert [summary["file"] for summary in summaries] == [str(file) for file in files]
    for file, summary in zip(files, summaries, strict=True):
        fields = {"file", "duration_s", "emotion", "scores", "arousal", "valence", "speech_ratio", "realtime_factor"}
        assert set(summary) == fields | {"mood", "mood_confidence", "enter"}
        assert summary["duration_s"] == pytest.approx(soundfile.info(file).duration, abs=0.01)
        assert summary["speech_ratio"] > 0
        assert sum(summary["scores"].values()) == pytest.approx(1, abs=1e-3)


def test_without_the_workstations_packages_a_file_is_classified(tmp_path):
    """tensorflow, keras, librosa, numba, scipy, train and convert blocked: the sensor does not miss them."""
    soundfile.write(tmp_path / "good.flac", chirp(seconds=2), 16_000)
    script = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'tensorflow', 'keras', 'librosa', 'numba', 'scipy', 'train', 'convert'}:
            raise ImportError(f'{name} is not on a Pi')
sys.meta_path.insert(0, Blocked())
from edge.commands.cli import main
sys.exit(main(['classify', '--json', 'good.flac']))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "summary" in done.stdout.splitlines()[-1]


def test_the_same_in_the_predecessors_environment(tmp_path):
    """tflite-runtime 2.14 with numpy 1 on Python 3.11: golden replay and the same label."""
    python = python_of("tflite-runtime")
    soundfile.write(tmp_path / "good.flac", chirp(seconds=3), 16_000)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = []
    for program in (python, sys.executable):
        name = subprocess.run(
            [program, "-c", "from edge.model import runtime; print(runtime.NAME)"],
            env=environment,
            capture_output=True,
            text=True,
        )
        done = subprocess.run(
            [program, "-m", "edge", "classify", "--json", "good.flac"], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told.append((name.stdout.strip(), json.loads(done.stdout.splitlines()[-1])["summary"]))
    (old, theirs), (new, ours) = told
    assert (old, new) == ("tflite-runtime", "ai-edge-litert")
    assert theirs["emotion"] == ours["emotion"]
    for label, score in ours["scores"].items():
        assert theirs["scores"][label] == pytest.approx(score, abs=0.01)


def test_pictures_of_recordings_of_one_name_do_not_overwrite_each_other(tmp_path):
    (tmp_path / "bob").mkdir()
    (tmp_path / "anna").mkdir()
    for name in ("anna", "bob"):
        soundfile.write(tmp_path / name / "talk.wav", chirp(seconds=0.5), 16_000)
    (tmp_path / "bob-talk.png").write_text("somebody's own")
    done = roomtone("classify", "--plot", "anna/talk.wav", "bob/talk.wav", "anna/talk.wav", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    drawn = [line.split("drawn in ")[1] for line in done.stdout.splitlines() if "drawn in " in line]
    assert drawn == ["anna-talk.png", "bob-talk-2.png", "anna-talk-2.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in drawn)
    assert (tmp_path / "bob-talk.png").read_text() == "somebody's own"
