"""Tables as people, editors and spreadsheets write them."""

import csv
import os
import re

import pytest

from edge.errors import InputError
from tests.train.data.test_folders import record
from train.config import TrainConfig
from train.data import index, table

ROWS = [("path", "label", "speaker"), ("a.wav", "sad", "me"), ("b.wav", "happy", "you")]


def joined(separator: str, end: str = "\n", around: str = "{}") -> str:
    return "".join(separator.join(map(around.format, row)) + end for row in ROWS)


@pytest.fixture
def scanned(tmp_path):
    """Return what a scan makes of the bytes of a table beside recordings a.wav and b.wav."""
    record(tmp_path / "a.wav")
    record(tmp_path / "b.wav")

    def scan(data: bytes) -> index.Index:
        (tmp_path / "t.csv").write_bytes(data)
        return index.scan([tmp_path / "t.csv"], TrainConfig(cache=str(tmp_path / "cache")))

    return scan


@pytest.mark.parametrize(
    "data",
    [
        joined(",").encode(),
        joined(",", "\r\n").encode("utf-8-sig"),
        joined(",", "\r").encode(),
        joined(";", "\r\n").encode("utf-8-sig"),
        joined("\t").encode(),
        joined("|").encode(),
        joined(", ").encode(),
        joined(" ; ").encode(),
        joined(", ", around='"{}"').encode(),
        joined(",", around=" {} ").encode(),
        joined(",", around="{}\u00a0").encode(),
        f"sep=;\r\n{joined(';')}".encode(),
        joined(",").replace("path,label,speaker", "Path,LABEL,Speaker").encode(),
        joined(",").replace("\n", "\n\n , , \n").encode(),
        joined(",").replace("me\n", "me,, \n").encode(),
        joined(",").rstrip().encode(),
        b"label;speaker;notes, if any;path\nsad;me;x;a.wav\nhappy;you;;b.wav\n",
    ],
)  # fmt: skip
def test_whatever_separates_and_surrounds_the_cells_they_are_read(scanned, data):
    found = scanned(data)
    assert [(os.path.basename(clip.path), clip.label, clip.speaker) for clip in found.clips] == [
        ("a.wav", "sad", "me"), ("b.wav", "happy", "you")
    ]  # fmt: skip
    assert found.left_out == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "t.csv: not a table of clips: its first line names no column path or label (path,label[,speaker,"),
        (b"# Voices\n\nRecorded at home.\n", "t.csv: not a table of clips: its first line names no column path or"),
        (b"path,label,speaker\n", "t.csv: no readable sound with a label in it: no rows"),
        (b"path:label:speaker\na.wav:sad:me\n", "t.csv: not a table of clips: its first line names no column"),
        (b"path,speaker\na.wav,me\n", "t.csv: column label is missing (path,label[,speaker,corpus,text])"),
        (b"path,label,speaker\na.wav,sad,me,more\n", "t.csv:2: has 4 cells, the header 3; put a cell that holds ','"),
        (b"path;label\na.wav;sad\nb.wav;sad;;x;\n", "t.csv:3: has 5 cells, the header 2; put a cell that holds ';'"),
        (b"path,label,speaker,label\na.wav,sad,me,happy\n", "t.csv: column label stands twice"),
        (b"path,label,speaker\na\0.wav,sad,me\n", "t.csv: not a CSV table in UTF-8 (line 2 holds a NUL byte)"),
        (joined(",").encode("utf-16"), "t.csv: not a CSV table in UTF-8 (it begins as UTF-16)"),
        (b"path,label,speaker\na.wav,sad,J\xfcrgen\n", "t.csv:2: speaker is not UTF-8"),
        (b'path,label,speaker\n"a.wav,sad,me\nb.wav,sad,me\n', "t.csv:3: not a CSV table (unexpected end of data)"),
        (b"path,label,speaker\na.wav,sad\n", "t.csv:2: has 2 cells, the header 3"),
        (b"path,label,speaker\na.wav,sad,me\n,sad,me\n", "t.csv:3: the path is missing"),
        (b"path,label,speaker\na.wav, ,me\n", "t.csv:2: the label is missing"),
        (b"sep=;\npath;label;speaker\n\na.wav;bewildered;me\n", "t.csv:4: label 'bewildered' is neither one of"),
        (b"path,label,speaker\n" + b"x" * 200_000 + b",sad,me\n", "t.csv:2: not a CSV table (field larger than"),
        (b"path,label,speaker\nnowhere.wav,sad,me\n", "nowhere.wav: cannot be opened (No such file or directory)"),
        (b"path,label,speaker\n" + b"x" * 300 + b",sad,me\n", "cannot be opened (File name too long)"),
        (b"path,label,speaker\n/dev/zero,sad,me\n", "/dev/zero: not a file"),
        (b"path,label,speaker\n.,sad,me\n", "not a file"),
        (b"path,label,speaker\nt.csv,sad,me\n", "t.csv: not a readable sound file"),
    ],
)
def test_what_is_no_table_of_clips_is_one_line(scanned, data, message):
    with pytest.raises(InputError) as caught:
        scanned(data)
    assert message in str(caught.value)
    assert caught.value.exit_status == 66


@pytest.mark.parametrize("columns", ["path,label", "label;path", "path\tlabel\tcorpus", "path,label,speaker"])
def test_who_speaks_may_not_be_known(scanned, columns):
    """As with folders without speakers: read, and said what cannot be tested."""
    separator = next(one for one in ",;\t" if one in columns)
    rows = [
        {"path": "a.wav", "label": "sad", "corpus": "t", "speaker": ""},
        {"path": "b.wav", "label": "happy", "corpus": "t", "speaker": ""},
    ]
    lines = [columns, *(separator.join(row[column] for column in columns.split(separator)) for row in rows)]
    found = scanned("\n".join(lines).encode())
    assert [(os.path.basename(clip.path), clip.speaker, clip.corpus) for clip in found.clips] == [
        ("a.wav", "", "t"), ("b.wav", "", "t")
    ]  # fmt: skip
    assert any(line.startswith("t: 2 clips without a speaker, so nothing") for line in found.remarks(TrainConfig()))


def test_a_bad_row_costs_that_row(scanned, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    found = scanned(joined(",").encode() + b"pipe.wav,sad,me\nnowhere.wav,sad,me\n/dev/null,sad,me\n")
    assert len(found.clips) == 2
    assert [one.why for one in found.left_out] == ["not a file", "cannot be opened", "not a file"]


def test_a_device_given_for_a_table_does_not_fill_the_memory(tmp_path):
    with pytest.raises(InputError, match="/dev/zero: a device, expected a table"):
        index.scan(["/dev/zero"], TrainConfig(cache=str(tmp_path / "cache")))


def test_a_recording_given_for_a_table_is_one_line(tmp_path):
    sound = record(tmp_path / "a.wav")
    with pytest.raises(InputError, match=r"a\.wav: not a CSV table in UTF-8"):
        index.scan([sound], TrainConfig(cache=str(tmp_path / "cache")))


def test_what_is_known_of_a_voice_and_what_listeners_heard(scanned, tmp_path):
    found = scanned(
        b"path,label,speaker,sex,age,intensity,votes_anger,votes_angry,votes_sad,votes_boredom\n"
        b"a.wav,sad,me,Female,51,strong,1,2,,5\nb.wav,happy,you,?,,,0,0,0,\n"
    ).clips
    assert [(clip.sex, clip.age, clip.intensity) for clip in found] == [("f", "51", "strong"), ("", "", "")]
    assert [clip.votes for clip in found] == [{"angry": 3.0}, {}]  # boredom is left out by train.words
    table.write(tmp_path / "again.csv", found, side=["train", "test"])
    with open(tmp_path / "again.csv", newline="") as file:
        assert [table.written(row) for row in csv.DictReader(file)] == found
    assert index.scan([tmp_path / "again.csv"], TrainConfig(cache=str(tmp_path / "cache"))).clips == found


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("votes_sad,many", "votes_sad is 'many', expected how many listeners heard it"),
        ("votes_sad,-1", "votes_sad is '-1', expected how many"),
        ("votes_sad,inf", "votes_sad is 'inf', expected how many"),
        ("votes_bored,1", "column votes_bored: label 'bored' is neither one of"),
    ],
)
def test_votes_that_are_none_are_one_line(scanned, cells, message):
    column, cell = cells.split(",")
    with pytest.raises(InputError, match=f"t.csv:2: {re.escape(message)}"):
        scanned(f"path,label,{column}\na.wav,sad,{cell}\n".encode())
