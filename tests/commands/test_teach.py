"""Teaching from a terminal: from recordings and at the microphone, and what is done with lessons."""

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from edge.commands.demo import RECORDING
from tests.commands.test_cli import complaint, roomtone
from tests.support.artifacts import STEP, WINDOW
from tests.support.broker import free_port
from tests.support.patience import wait_until
from tests.support.sounds import chirp, to_int16
from tests.support.terminal import Terminal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration whose state lies beside it, two recordings of somebody who speaks, and silence."""
    edge = {"state_folder": str(tmp_path / "state"), "mqtt": {"port": free_port()}}  # where no sensor runs
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"edge": edge}))
    sound, rate = soundfile.read(RECORDING, dtype="float32")
    for number, seconds in enumerate([(0, 6), (6, 14)]):
        soundfile.write(tmp_path / f"talk-{number}.wav", sound[rate * seconds[0] : rate * seconds[1]], rate)
    soundfile.write(tmp_path / "silence.wav", np.zeros(3 * 16_000, np.float32), 16_000)
    return tmp_path


def kept(folder: Path) -> list[dict]:
    return json.loads(next((folder / "state").glob("lessons-room/*.json")).read_text())["lessons"]


def test_recordings_are_taught_listed_and_forgotten(folder):
    done = roomtone("teach", "talk-0.wav", "talk-1.wav", "--label", "happy", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "talk-0.wav: 1 utterance taught as happy (heard as " in done.stdout
    assert "too few to tell yet whether they help; five of each label help most: the sensor answers " in done.stdout
    taught = kept(folder)
    assert {lesson["label"] for lesson in taught} == {"happy"}
    again = roomtone("teach", "talk-0.wav", "--label", "sad", cwd=folder)
    assert again.returncode == 0
    assert len(kept(folder)) == len(taught), "the same recording, said to be something else, is the same lesson"
    assert [lesson["label"] for lesson in kept(folder)].count("sad") == 1
    listed = roomtone("lessons", "list", cwd=folder).stdout
    assert all(lesson["event_id"] in listed for lesson in taught)
    forgotten = roomtone("lessons", "forget", taught[0]["event_id"], cwd=folder)
    assert forgotten.stdout.startswith("1 forgotten\n")
    assert taught[0]["event_id"] not in roomtone("lessons", "list", cwd=folder).stdout
    assert roomtone("lessons", "forget", "all", cwd=folder).stdout.endswith("no lessons\n")
    assert list((folder / "state").glob("lessons-room/*")) == []


def test_lessons_that_tell_enough_are_counted_before_and_after(folder):
    assert roomtone("teach", "talk-0.wav", "--label", "happy", cwd=folder).returncode == 0
    assert roomtone("lessons", "export", "lessons.json", cwd=folder).returncode == 0
    whole = json.loads((folder / "lessons.json").read_text())
    [lesson] = whole["lessons"]
    labels = ("happy", "sad", "happy", "sad", "happy", "sad")
    whole["lessons"] = [{**lesson, "event_id": f"x{i}", "label": label} for i, label in enumerate(labels)]
    (folder / "lessons.json").write_text(json.dumps(whole))
    told = roomtone("lessons", "import", "lessons.json", cwd=folder).stdout.splitlines()
    assert told[1].startswith("7 lessons: happy 4, sad 3")
    assert re.fullmatch(r"best guess right, of the 7 lessons: [0-7] before, [0-7] after", told[2])
    assert "also where the sensor says unknown" in told[3]
    assert re.search(r"chance of \d+ % before, \d+ % after: the sensor answers ", told[5])


@pytest.mark.parametrize("command", [[], ["lessons"], ["history"], ["model"]])
def test_a_verb_that_is_left_out_is_told_with_those_there_are(folder, command):
    done = roomtone(*command, cwd=folder)
    assert done.returncode == 64
    some = {"lessons": "list, forget, export, import", "history": "record, show, export", "model": "info, verify"}
    assert f", one of {some[command[0]] if command else 'run, demo'}" in done.stderr


def test_what_is_exported_is_taken_in_elsewhere_and_by_no_other_model(folder, tmp_path_factory):
    assert roomtone("teach", "talk-0.wav", "--label", "sad", cwd=folder).returncode == 0
    assert roomtone("lessons", "export", "lessons.json", cwd=folder).returncode == 0
    piped = roomtone("lessons", "export", "-", cwd=folder).stdout
    assert json.loads(piped) == json.loads((folder / "lessons.json").read_text())
    assert set(json.loads(piped)["lessons"][0]) == {"event_id", "label", "at", "embedding", "log_probs"}
    other = tmp_path_factory.mktemp("elsewhere")
    (other / "config.yaml").write_text("edge: {state_folder: state}")
    assert "1 lesson taken in" in roomtone("lessons", "import", folder / "lessons.json", cwd=other).stdout
    assert kept(other) == kept(folder)
    (other / "config.yaml").write_text(yaml.safe_dump({"edge": {"state_folder": "state", "model": str(WINDOW)}}))
    refused = complaint(roomtone("lessons", "import", folder / "lessons.json", cwd=other), 66)
    assert "lessons of the model default-" in refused
    assert "besides, 1 of the model default-" in roomtone("lessons", "list", cwd=other).stdout


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["teach", "nowhere.wav", "--label", "sad"], 66, "nowhere.wav: no such file"),
        (["teach", "silence.wav", "--label", "sad"], 66, "silence.wav: nobody is heard speaking in it"),
        (["teach", "talk-0.wav", "--label", "merry"], 66, "--label merry: no label of the model, which are angry,"),
        (["teach", "--guided", "--label", "merry"], 66, "--label merry: no label of the model"),
        (["lessons", "forget", "nothing"], 66, "nothing: no such lesson"),
        (["lessons", "export", "x.json"], 66, "lessons export: there are none"),
        (["lessons", "import", "talk-0.wav"], 66, "talk-0.wav: no lessons that this version can read"),
        (["lessons", "import", "nowhere.json"], 66, "nowhere.json: cannot be read (No such file"),
        (["lessons", "import", "."], 66, ".: cannot be read (a folder, expected a file)"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(folder, arguments, status, says):
    assert says in complaint(roomtone(*arguments, cwd=folder), status)
    assert not (folder / "state").exists()


@pytest.mark.parametrize(
    "arguments", [["teach"], ["teach", "talk-0.wav"], ["teach", "talk-0.wav", "--guided"], ["teach", "--label", "sad"],
                  ["teach", "--guided", "--rounds", "0"], ["lessons"]]
)  # fmt: skip
def test_what_is_not_asked_for_rightly_is_said_by_the_parser(folder, arguments):
    done = roomtone(*arguments, cwd=folder)
    assert done.returncode == 64
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"roomtone {arguments[0]}: ")


def test_a_model_without_an_embedding_cannot_be_taught(folder):
    (folder / "config.yaml").write_text(yaml.safe_dump({"edge": {"state_folder": "state", "model": str(STEP)}}))
    assert "cannot be taught" in complaint(roomtone("teach", "talk-0.wav", "--label", "sad", cwd=folder), 65)
    assert "cannot be taught" in complaint(roomtone("lessons", "list", cwd=folder), 65)


def test_one_recording_that_cannot_be_read_keeps_no_other_from_being_taught(folder):
    done = roomtone("teach", "nowhere.wav", "talk-0.wav", "--label", "sad", cwd=folder)
    assert "nowhere.wav" in complaint(done, 66)
    assert len(kept(folder)) == 1


def test_a_state_folder_that_cannot_be_written_is_said(folder):
    (folder / "state").write_text("in the way")
    complained = complaint(roomtone("teach", "talk-0.wav", "--label", "sad", cwd=folder), 78)
    assert "edge.state_folder: " in complained


def test_it_asks_at_the_microphone_and_ends_with_figures(folder, virtual_microphone):
    sentence, _ = soundfile.read(folder / "talk-0.wav", dtype="int16")
    config = str(folder / "config.yaml")
    with Terminal("--config", config, "teach", "--guided", "--label", "sad", "--rounds", "2") as terminal:
        for number in (1, 2):
            terminal.wait_for(f"{number}/2  sad: say a sentence")
            # With a little noise: the same sentence twice would be one lesson.
            noise = np.random.default_rng(number).integers(-30, 30, len(sentence))
            virtual_microphone.play((sentence // 2 + noise).astype(np.int16))
        terminal.wait_for("2 lessons: sad 2")
        assert terminal.process.wait() == 0
        assert terminal.text.count("heard as ") == 2
    assert [lesson["label"] for lesson in kept(folder)] == ["sad", "sad"]


def test_whoever_interrupts_it_keeps_what_was_taught(folder, virtual_microphone):
    sentence, _ = soundfile.read(folder / "talk-0.wav", dtype="int16")
    with Terminal("--config", str(folder / "config.yaml"), "teach", "--guided") as terminal:
        terminal.wait_for("21 sentences, said as you would say it at home")
        terminal.wait_for("1/21  angry: say a sentence")
        virtual_microphone.play(sentence)
        terminal.wait_for("2/21  disgust: say a sentence")
        stat = Path(f"/proc/{terminal.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")  # it listens: no longer writes that
        os.kill(terminal.process.pid, signal.SIGINT)
        terminal.wait_for("1 lesson: angry 1")
        assert terminal.process.wait() == 0
    assert [lesson["label"] for lesson in kept(folder)] == ["angry"]


def test_without_a_microphone_it_ends_and_says_why(folder):
    config = {"edge": {"state_folder": "state", "audio": {"microphone": "No Such Device"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    done = roomtone("teach", "--guided", cwd=folder, PULSE_SERVER="unix:/nowhere")
    assert done.returncode == 69
    assert "No Such Device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_chirp_is_no_sentence_that_anybody_knows(folder):
    soundfile.write(folder / "chirp.wav", to_int16(chirp(seconds=0.3)), 16_000)
    complaint(roomtone("teach", "chirp.wav", "--label", "sad", cwd=folder), 66)
