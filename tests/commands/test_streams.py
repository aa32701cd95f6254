"""Standard streams that are closed, full or gone, names that are options, and pipes in which nobody writes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from edge.commands.demo import RECORDING
from edge.errors import printable
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT

PROGRAMS = {
    "roomtone": [["classify", "ok.wav"], ["classify", "--json", "ok.wav"], ["--help"], ["check"], ["model", "info"]],
    "train": [["fit", "--help"]],
    "convert": [["--help"]],
    "convert.unheard": [["--help"]],
}
VERBS = [(program, arguments) for program, several in PROGRAMS.items() for arguments in several]


@pytest.fixture
def folder(tmp_path) -> Path:
    samples, rate_hz = soundfile.read(RECORDING, frames=32_000)
    soundfile.write(tmp_path / "ok.wav", samples, rate_hz)
    return tmp_path


def shell(folder: Path, program: str, arguments: list[str], redirected: str, **options) -> subprocess.CompletedProcess:
    """Run a program as a shell starts it, with its streams redirected."""
    module = {"roomtone": "edge"}.get(program, program)
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirected}', "sh", sys.executable, "-m", module, *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=PATIENCE_S, **options,
    )  # fmt: skip


@pytest.mark.parametrize(("program", "arguments"), VERBS, ids=lambda value: " ".join(value) if value else "")
@pytest.mark.parametrize(("redirected", "why"), [(">/dev/full", b"No space left on device"), (">&-", b"it is closed")])
def test_output_that_cannot_be_written_is_one_line_and_74(folder, program, arguments, redirected, why):
    done = shell(folder, program, arguments, redirected)
    called = b"roomtone" if program == "roomtone" else b"error"
    assert done.stderr == called + b": standard output: cannot be written (" + why + b")\n"
    assert done.returncode == 74


@pytest.mark.parametrize(("program", "arguments"), VERBS[:1] + VERBS[-2:], ids=str)
def test_a_reader_who_goes_away_is_no_trouble(folder, program, arguments):
    out, into = os.pipe()
    os.close(out)
    module = {"roomtone": "edge"}.get(program, program)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=into, stderr=subprocess.PIPE, timeout=PATIENCE_S,
    )  # fmt: skip
    os.close(into)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-"])
def test_where_nothing_can_be_said_the_status_says_it(folder, redirected):
    done = shell(folder, "roomtone", ["classify", "gone.wav"], redirected)
    assert (done.returncode, done.stdout) == (66, b"gone.wav\n")


def test_standard_input_that_is_closed_is_one_line(folder):
    done = shell(folder, "roomtone", ["run", "--input", "-"], "<&-")
    assert done.returncode == 66
    assert done.stderr.splitlines()[-1] == b"roomtone: standard input: cannot be read (it is closed)"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["classify", "-"], 66, b"-: no such file; standard input is heard by `roomtone run --input -`"),
        (["classify", ""], 66, b": no such file: its name is empty"),
        (["classify", "-dash.wav"], 64, b"(a file is named so: write it as ./-dash.wav)"),
        (["run", "--input", "-dash.wav"], 64, b"(a file is named so: write it as ./-dash.wav)"),
        (["classify", "nothing.wav"], 66, b"nothing.wav: not a readable sound file: it is empty"),
    ],
)
def test_a_name_that_is_none_is_told_what_helps(folder, arguments, status, says):
    (folder / "-dash.wav").write_bytes((folder / "ok.wav").read_bytes())
    (folder / "nothing.wav").write_bytes(b"")
    done = shell(folder, "roomtone", arguments, "")
    assert done.returncode == status
    assert says in done.stderr.splitlines()[-1]


def test_a_pipe_in_which_nobody_writes_yet_is_waited_for_aloud_and_then_heard(folder):
    os.mkfifo(folder / "fifo")
    with subprocess.Popen(
        [sys.executable, "-m", "edge", "classify", "fifo"], cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr.readline() == b"roomtone: fifo: waiting for something to write into this pipe\n"
        (folder / "fifo").write_bytes((folder / "ok.wav").read_bytes())
        out, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, b"")
    assert b"2.0 s" in out


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb\tc\r.wav", r"a\nb\tc\r.wav"), ("a\x1b[2Jb", r"a\x1b[2Jb"), ("x\u202evaw.exe", r"x\u202evaw.exe"),
        ("a\u2066b\u2028c\x9bd\u200f", r"a\u2066b\u2028c\x9bd\u200f"), ("caf\udce9", r"caf\xe9"),
        ("\u0645\u06cc\u200c\u0634\u0648\u062f", "\u0645\u06cc\u200c\u0634\u0648\u062f"), ("\ud800", r"\ud800"),
    ],
)  # fmt: skip
def test_what_no_terminal_may_see_is_escaped_and_nothing_else(name, shown):
    assert printable(name) == shown
    assert printable(shown) == shown
