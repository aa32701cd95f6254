"""What may be read, and where something can be kept: asked before anything relies on it."""

import os
import re
import subprocess
import sys
import threading

import pytest

from edge.errors import ConfigError
from edge.files import PlaceError, contents, output, unwritable
from edge.state_folder import require_state_folder, state_folder
from tests.support.sounds import ROOT

# Root may do everything: without these two powers it is like anybody else.
_POWERLESS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
LIKE_ANYBODY = _POWERLESS if os.geteuid() == 0 else []


def test_a_small_file_is_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"\x00\xff")
    (tmp_path / "link").symlink_to("secret")
    assert contents(tmp_path / "secret") == contents(tmp_path / "link") == b"\x00\xff"


def test_what_never_ends_or_may_block_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(1_000_001))
    (tmp_path / "loop").symlink_to("loop")
    found = {
        tmp_path / "pipe": "a pipe (FIFO), expected a file",
        "/dev/zero": "a device, expected a file",
        tmp_path: "a folder, expected a file",
        tmp_path / "large": "larger than 1 MB",
        tmp_path / "nowhere": "No such file or directory",
        tmp_path / ("x" * 300): "File name too long",
        tmp_path / "loop": "Too many levels of symbolic links",
    }
    for path, words in found.items():
        with pytest.raises(OSError, match=re.escape(words)):
            contents(path)


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("place", ["here", "here/and/there", "sub", ".", "~"])
def test_where_something_can_be_kept_nothing_is_left_behind(tmp_path, monkeypatch, folder, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    if not folder and place in ("sub", "."):
        place += "/file"
    assert unwritable(place, folder=folder) is None
    assert unwritable(tmp_path / place, folder=folder) is None
    assert os.listdir() == ["sub"]
    assert os.listdir("sub") == []


PLACES = {
    "file": "file is no folder",
    "file/in/it": "file is no folder",
    "dangling/x": "dangling is no folder",
    "x" * 300: "nothing can be written there (File name too long)",
    "new/" + "x" * 300: "a name in it is longer than",
    "loop/x": "nothing can be written there (Too many levels of symbolic links)",
    "/proc/x": "nothing can be written there (No such file or directory)",
    "/proc/x/y": "nothing can be written there (No such file or directory)",
    "/dev/null": "/dev/null is no folder",
    "/dev/null/x": "/dev/null is no folder",
}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[:12])
def test_where_nothing_can_be_kept_it_is_said_why(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert (unwritable(place, folder=True) or "").startswith(PLACES[place])
    with pytest.raises(ConfigError, match=r"^edge\.state_folder: .*: name a folder that this user may write to$"):
        require_state_folder(place)
    with pytest.raises(PlaceError, match=r"^--out .*: name another place$") as raised:
        output(place, "--out")
    assert raised.value.exit_status == 73


def test_a_file_is_put_where_no_folder_pipe_or_device_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "old").write_text("replaced")
    assert output(tmp_path / "old", "--out", folder=False) == tmp_path / "old"
    for path, kind in {tmp_path: "a folder", tmp_path / "pipe": "a pipe (FIFO)", "/dev/null": "a device"}.items():
        assert unwritable(path, folder=False) == f"{kind}, expected a file"


def test_an_output_in_a_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert output("~/runs", "--out") == tmp_path / "runs"
    assert not os.listdir(tmp_path)


def test_where_two_look_at_a_place_at_once_both_may(tmp_path):
    told = []
    both = [
        threading.Thread(target=lambda: told.extend(unwritable(tmp_path / "new", folder=True) for _ in range(50)))
        for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert told == [None] * 100


def ask(code: str, *arguments: object) -> str:
    """Return what a program says that may do no more than anybody."""
    done = subprocess.run(
        [*LIKE_ANYBODY, sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("mode", [0o000, 0o500, 0o400, 0o600])
def test_a_folder_that_is_not_ours(tmp_path, mode):
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(mode)
    try:
        for place in ("closed", "closed/in", "closed/in/it"):
            told = ask("import sys; from edge.files import unwritable; print(unwritable(sys.argv[1], folder=True))",
                       tmp_path / place)  # fmt: skip
            assert told == "nothing can be written there (Permission denied)"
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_without_a_home_there_is_no_state_folder(monkeypatch):
    monkeypatch.setattr("edge.state_folder.state_folder", lambda configured: None)
    assert require_state_folder(None) is None
    assert state_folder("/mine") is not None
