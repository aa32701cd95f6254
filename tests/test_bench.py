"""What the benches are asked for that cannot be is one line, before anything is measured."""

import argparse
import subprocess
import sys

import pytest

from edge.errors import InputError
from edge.files import PlaceError
from tests.bench import asked
from tests.support.sounds import ROOT


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "ten", "²", "nan"])
def test_sizes_that_cannot_be(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 1 on, got "):
        asked.number(text)


@pytest.mark.parametrize("text", ["0", "-1", "0.9", "", "a minute", "nan", "inf"])
def test_times_that_cannot_be(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected seconds, from 1 on, got "):
        asked.seconds(text)


def test_sizes_and_times():
    assert (asked.number("16"), asked.seconds("2.5")) == (16, 2.5)


def test_places_are_made_or_refused(tmp_path):
    assert asked.folder(tmp_path / "a" / "b").is_dir()
    assert asked.file(tmp_path / "c" / "d.json").parent.is_dir()
    (tmp_path / "file").touch()
    for wants, places in ((asked.folder, ("file", "file/a")), (asked.file, ("a", "file/a.json"))):
        for place in places:
            with pytest.raises(PlaceError, match=r"--out .*: name another place"):
                wants(tmp_path / place)


def test_corpora(tmp_path, monkeypatch):
    monkeypatch.setattr(asked, "CORPORA", tmp_path)
    (tmp_path / "TESS").mkdir()
    asked.corpora("TESS")
    with pytest.raises(InputError, match=r"no nEMO in .*: set ROOMTONE_CORPORA"):
        asked.corpora("TESS", "nEMO")


@pytest.mark.parametrize(
    ("bench", "words", "status", "said"),
    [
        ("camera", ["README.md"], 66, "camera: README.md: not a readable sound file, but text"),
        ("instances", ["--set", "NAME"], 2, "instances.py: error: argument --set: expected NAME=VALUE, got 'NAME'"),
        ("memory", ["--all"], 2, "memory.py: error: unrecognized arguments: --all"),
    ],
)
def test_a_mistake_is_one_line(bench, words, status, said):
    command = [sys.executable, "-m", f"tests.bench.{bench}", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (status, "")
    *usage, last = done.stderr.splitlines()
    assert last == said
    assert all(line.startswith(("usage: ", " ")) for line in usage)
