"""What in a folder is a recording, and what the folders around it say."""

import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from edge.errors import InputError
from train.__main__ import main
from train.config import TrainConfig
from train.data import index, table
from train.data.clip import reasons
from train.data.folders import recordings


@pytest.fixture
def config(tmp_path) -> TrainConfig:
    return TrainConfig(cache=str(tmp_path / "cache"))


def record(path: Path, seed: int | None = None) -> Path:
    """Write a recording unlike any other (or like those of the same seed)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-9_000, 9_000, 3_200)
    with open(path, "wb") as file:  # its name may be of any bytes
        soundfile.write(file, noise.astype(np.int16), 16_000, format=path.suffix[1:])
    return path


def names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in recordings(folder).files]


@pytest.mark.parametrize(
    "litter",
    [
        "._one.wav", ".hidden.flac", "__MACOSX/happy/one.wav", "__MACOSX/happy/._one.wav", ".ipynb_checkpoints/a.wav",
        "happy/.Trash-1000/a.wav", "happy/@eaDir/one.mp3", "#recycle/a.wav", "$RECYCLE.BIN/a.wav",
        "System Volume Information/a.wav", "lost+found/a.wav", ".git/a.wav",
    ],
)  # fmt: skip
def test_what_systems_leave_behind_is_no_recording(tmp_path, config, litter):
    folder = tmp_path / "mine"
    record(folder / "happy" / "one.wav")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / litter).parent.mkdir(parents=True, exist_ok=True)
    (folder / litter).write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    found = recordings(folder)
    assert ([path.name for path in found.files], found.left_out) == (["one.wav"], [])
    scanned = index.scan([folder], config)
    assert [(clip.label, clip.speaker) for clip in scanned.clips] == [("happy", "")]
    assert scanned.left_out == []


def test_a_corpus_in_a_hidden_place_is_one(tmp_path):
    record(tmp_path / ".cache" / "mine" / "happy" / "one.wav")
    assert names(tmp_path / ".cache" / "mine") == ["happy/one.wav"]


def test_links_are_followed_and_loops_are_not(tmp_path):
    folder = tmp_path / "mine"
    record(folder / "happy" / "one.wav")
    record(tmp_path / "elsewhere" / "two.wav")
    (folder / "sad").symlink_to(tmp_path / "elsewhere")
    (folder / "happy" / "three.wav").symlink_to(tmp_path / "elsewhere" / "two.wav")
    (folder / "happy" / "up").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (tmp_path / "elsewhere" / "back").symlink_to(folder / "happy")
    assert names(folder) == ["happy/one.wav", "happy/three.wav", "sad/two.wav"]
    (tmp_path / "link").symlink_to(folder)
    assert names(tmp_path / "link") == ["happy/one.wav", "happy/three.wav", "sad/two.wav"]


def test_a_folder_goes_by_its_own_place_where_a_link_leads_to_it_too(tmp_path):
    record(tmp_path / "mine" / "happy" / "one.wav")
    (tmp_path / "mine" / "a-link").symlink_to(tmp_path / "mine" / "happy")
    assert names(tmp_path / "mine") == ["happy/one.wav"]


def test_what_cannot_be_read_is_counted_in_a_line_per_reason(tmp_path, config):
    folder = tmp_path / "mine"
    record(folder / "happy" / "one.wav")
    for name in ("b.m4a", "a.M4A", "c.webm", "notes.txt", "cover.jpg"):
        (folder / "happy" / name).write_bytes(b"x")
    for name in ("d.wav", "e.flac"):
        (folder / "happy" / name).write_text("no sound")
    (folder / "happy" / "f.wav").symlink_to("nowhere.wav")
    os.mkfifo(folder / "happy" / "g.wav")
    found = index.scan([folder], config)
    assert [Path(clip.path).name for clip in found.clips] == ["one.wav"]
    lines = reasons(found.left_out)
    assert lines[0] == (
        f"left out: 2 files: M4A, which cannot be read here: `ffmpeg -i in.m4a out.flac` makes a sound file of it "
        f"(first: {folder}/happy/a.M4A)"
    )
    assert lines[1].startswith(f"left out: {folder}/happy/c.webm: WEBM")
    assert lines[2].startswith("left out: 2 files: not a readable sound file, but text (first: ")
    assert "d.wav" in lines[2]
    assert lines[3] == f"left out: {folder}/happy/f.wav: cannot be opened (No such file or directory)"
    assert lines[4] == f"left out: {folder}/happy/g.wav: not a file"
    assert len(lines) == 5


def test_of_a_folder_with_nothing_else_the_reason_is_said(tmp_path, config):
    folder = tmp_path / "phone"
    (folder / "happy").mkdir(parents=True)
    (folder / "happy" / "a.m4a").write_bytes(b"x")
    with pytest.raises(InputError, match=r"phone: no sound files in it that can be used: .*ffmpeg -i in.m4a out.flac"):
        index.scan([folder], config)


RAVDESS = {
    "03-02-03-01-01-01-01.wav": "song of RAVDESS",
    "03-02-03-02-01-02-01.flac": "song of RAVDESS",
    "01-01-03-01-01-01-01.mp4": "audio-visual file of RAVDESS",
    "01-01-04-01-01-01-01.wav": "audio-visual file of RAVDESS",
    "01-02-03-01-01-01-01.mp4": "audio-visual file of RAVDESS",
    "02-01-03-01-01-01-01.mp4": "video of RAVDESS",
}


def test_songs_and_videos_beside_the_speech_of_ravdess_are_called_by_their_names(tmp_path, config):
    folder = tmp_path / "RAVDESS" / "Actor_01"
    record(folder / "03-01-03-01-01-01-01.wav")
    for name in RAVDESS:
        record(folder.with_name("other") / "x.wav").replace(folder / name)
    found = index.scan([tmp_path / "RAVDESS"], config)
    assert [(clip.speaker, clip.label) for clip in found.clips] == [("01", "happy")]
    assert {Path(one.path).name: one.why for one in found.left_out} == {
        name: f"{kind}, not its speech" for name, kind in RAVDESS.items()
    }


@pytest.mark.parametrize("numbers", ["03-01-09-01-01-01-01", "04-01-03-01-01-01-01", "03-03-03-01-01-01-01"])
def test_numbers_that_mean_nothing_in_ravdess_are_not_taken_for_it(tmp_path, config, numbers):
    record(tmp_path / "mine" / f"{numbers}.wav")
    with pytest.raises(InputError, match="1 of 1 file names fit no known corpus"):
        index.scan([tmp_path / "mine"], config)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (("happy/a.wav", "Sadness/b.wav"), {("happy", ""), ("sad", "")}),
        (("happy/anna/a.wav", "sad/bob/b.wav"), {("happy", "anna"), ("sad", "bob")}),
        (("anna/happy/a.wav", "bob/sad/b.wav"), {("happy", "anna"), ("sad", "bob")}),
        (("train/happy/anna/a.wav", "test/sad/bob/b.wav"), {("happy", "anna"), ("sad", "bob")}),
        (("women/anna/happy/a.wav", "men/bob/sad/b.wav"), {("happy", "women/anna"), ("sad", "men/bob")}),
        # Somebody whose name is a word for a label.
        (("Joy/happy/a.wav", "Joy/sad/b.wav", "Bob/sad/c.wav"), {("happy", "Joy"), ("sad", "Joy"), ("sad", "Bob")}),
        (("happy/Joy/a.wav", "sad/Bob/b.wav"), {("happy", "Joy"), ("sad", "Bob")}),
    ],
)
def test_folders_name_labels_and_speakers(tmp_path, config, places, expected):
    for place in places:
        record(tmp_path / "mine" / place)
    assert {(clip.label, clip.speaker) for clip in index.scan([tmp_path / "mine"], config).clips} == expected


def test_the_folder_given_may_itself_be_a_label_or_here(tmp_path, config, monkeypatch):
    record(tmp_path / "corpora" / "sad" / "happy" / "a.wav")
    record(tmp_path / "corpora" / "sad" / "fear" / "b.wav")
    monkeypatch.chdir(tmp_path / "corpora" / "sad")
    for given in (tmp_path / "corpora" / "sad", Path()):
        assert {(clip.corpus, clip.label) for clip in index.scan([given], config).clips} == {
            ("sad", "happy"), ("sad", "fear")
        }  # fmt: skip
    (clip,) = index.scan([tmp_path / "corpora" / "sad" / "happy"], config).clips
    assert (clip.corpus, clip.label) == ("happy", "happy")


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (("anna/happy/monday/a.wav",), r"anna or monday the speaker\? If anna is a corpus, give \S*/mine/anna; else"),
        (
            ("A/happy/anna/a.wav", "A/sad/anna/b.wav", "B b/sad/bob/c.wav"),  # the folder above two corpora
            r"is A or anna the speaker\? If the folders in \S*/mine are corpora, give each of them "
            r"\(\S*/mine/A '\S*/mine/B b'\); else put",
        ),
        (("Joy/happy/a.wav", "happy/Joy/b.wav"), "Joy and happy are both labels"),
    ],
)
def test_folders_that_can_be_read_in_two_ways_are_refused(tmp_path, config, places, message):
    for place in places:
        record(tmp_path / "mine" / place)
    with pytest.raises(InputError, match=message):
        index.scan([tmp_path / "mine"], config)


def test_flat_folders_are_told_what_they_forbid(tmp_path, config):
    for place in ("happy/a.wav", "sad/b.wav", "sad/c.wav"):
        record(tmp_path / "flat" / place)
    record(tmp_path / "known" / "happy" / "anna" / "d.wav")
    config = msgspec.structs.replace(config, labels=("happy", "sad", "bored"))
    (nameless, lacking) = index.scan([tmp_path / "flat", tmp_path / "known"], config).remarks(config)
    assert nameless.startswith("flat: 3 clips without a speaker")
    assert "only the protocol random remains, and its figures are far too good" in nameless
    assert lacking.startswith("no clip is bored: ")


def test_a_name_of_any_bytes_is_a_recording_s(tmp_path, config):
    folder = tmp_path / "mine" / "happy"
    recorded = record(folder / "a.wav")
    shutil.copy(recorded, os.fsencode(folder) + b"/caf\xe9 two  blanks.wav")
    record(folder / "line\nend.wav", 1)
    recorded.unlink()
    (folder / os.fsdecode(b"bad\xff\xfe.wav")).write_text("no sound")
    found = index.scan([tmp_path / "mine"], config)
    assert len(found.clips) == 2
    table.write(tmp_path / "index.csv", found.clips)
    assert index.scan([tmp_path / "index.csv"], config).clips == found.clips
    (line,) = reasons(found.left_out)
    assert r"bad\xff\xfe.wav: not a readable sound file" in line


def test_whatever_folders_are_called_the_reports_are_written(tmp_path, config):
    corpus = tmp_path / os.fsdecode(b"B\xfccher")
    for number, place in enumerate((b"happy/J\xfcrgen", b"sad/J\xfcrgen", b"happy/\xe5\x90\x8c", b"sad/\xe5\x90\x8c")):
        record(corpus / os.fsdecode(place) / "a.wav", number)
    found = index.scan([corpus], config)
    assert {(clip.corpus, clip.speaker) for clip in found.clips} == {(r"B\xfccher", r"J\xfcrgen"), (r"B\xfccher", "同")}
    (tmp_path / "config.yaml").write_text(f"train: {{cache: {tmp_path}/cache}}")
    out, config_file = str(tmp_path / "out"), str(tmp_path / "config.yaml")
    assert main(["index", str(corpus), "--out", out, "--config", config_file]) == 0
    assert index.scan([tmp_path / "out" / "index.csv"], config).clips == found.clips


def test_a_folder_named_after_a_label_of_one_s_own_is_that_label_whatever_the_usual_list_makes_of_it(tmp_path, config):
    for place in ("calm/anna/a.wav", "tense/anna/b.wav", "joy/anna/c.wav"):
        record(tmp_path / "mine" / place)
    usual = msgspec.structs.replace(config, labels=("calm", "tense", "happy"))
    assert {clip.label for clip in index.scan([tmp_path / "mine"], usual).clips} == {"calm", "tense", "happy"}
    with pytest.raises(InputError, match=r"label 'joy' means 'happy', which .* write joy: LABEL there, or joy: null"):
        index.scan([tmp_path / "mine"], msgspec.structs.replace(config, labels=("calm", "tense")))
