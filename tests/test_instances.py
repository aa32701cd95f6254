"""Several sensors on one machine, as deploy/install.sh lays them out: which there are, and what they must not share."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from edge import instances
from edge.commands.cli import main
from tests.sound.test_devices import kernel
from tests.support.sounds import ROOT


class House:
    """A folder that stands for a machine with sensors."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._wants = root / "etc/systemd/system/multi-user.target.wants"
        self._wants.mkdir(parents=True)

    def add(self, name: str, *, enabled: bool = True, device: str | None = None, **edge) -> Path:
        """Install a sensor; an empty name: the first."""
        file = self.root / "etc/roomtone" / f"{name or 'config'}.yaml"
        (self.root / "etc/roomtone" / (f"{name}.credentials" if name else "credentials")).mkdir(parents=True)
        state = self.root / "var/lib" / (f"roomtone-{name}" if name else "roomtone")
        state.mkdir(parents=True)
        file.write_text(yaml.safe_dump({"edge": {"device": {"id": device or name or "hall"}, **edge}}))
        if enabled:
            (self._wants / f"{f'roomtone@{name}' if name else 'roomtone'}.service").symlink_to("../unit")
        return file

    def check(self, file: Path, capsys) -> tuple[int, str]:
        """Return the status of a check, and what it says of the rooms, or complains of."""
        status = main(["check", str(file)])
        said = capsys.readouterr()
        lines = [line.removeprefix("rooms: ") for line in said.out.splitlines() if line.startswith("rooms: ")]
        return status, "\n".join([*lines, *said.err.splitlines()])


@pytest.fixture
def house(tmp_path, monkeypatch) -> House:
    monkeypatch.setattr(instances, "ROOT", tmp_path)
    for name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY"):  # which --instance sets
        monkeypatch.setenv(name, str(tmp_path))
    return House(tmp_path)


MICROPHONES = [{"audio": {"microphone": name}} for name in ("One", "Two")]
COMMAND = {"audio": {"command": ["arecord", "-t", "raw"]}}


def test_rooms_are_those_that_are_enabled_and_no_other_file_is_one(house):
    house.add("")
    house.add("kitchen", enabled=False)
    house.add("attic")
    (house.root / "etc/roomtone/backup.yaml").write_text("edge: {}\n")
    (house.root / "etc/roomtone/config.credentials").mkdir()
    (house.root / "etc/roomtone/empty.credentials").mkdir()
    assert [one.unit for one in instances.instances()] == ["roomtone", "roomtone@attic"]


def test_where_none_is_enabled_they_are_all_that_are_there(house):
    assert instances.instances() == []
    for name in ("kitchen", "", "attic"):
        house.add(name, enabled=False)
    assert [one.unit for one in instances.instances()] == ["roomtone", "roomtone@attic", "roomtone@kitchen"]


@pytest.mark.parametrize("name", ["kitchen", "living-room", "a", "9", "a" * 23,
                                  "config", "Kitchen", "-a", "a-", "a" * 24, "", "a/b", "a\n"])  # fmt: skip
def test_what_is_a_rooms_name_the_installer_and_the_command_agree(name):
    script = f'units=x; . {ROOT}/deploy/rooms.sh; is_name "$1"'
    asked = subprocess.run(["bash", "-c", script, "bash", name], capture_output=True)
    assert instances.is_name(name) == (asked.returncode == 0)
    assert asked.stderr == b""


def test_where_a_room_has_its_things_the_installer_and_the_command_agree(house):
    for name in ("", "living-room"):
        room = instances.Instance(name=name, root=Path("/r"))
        script = f"""units=x config=/r/etc/roomtone state=/r/var/lib/roomtone; . {ROOT}/deploy/rooms.sh
            place {room.unit}; echo "$settings $secrets $kept" """
        told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
        assert told.split() == [str(room.config), str(room.credentials), str(room.state)]


def test_alone_nothing_is_said_of_others(house, capsys):
    assert house.check(house.add(""), capsys) == (0, "")


def test_rooms_that_share_nothing(house, capsys):
    file = house.add("", **MICROPHONES[0])
    house.add("kitchen", **MICROPHONES[1])
    house.add("attic", **COMMAND)
    words = "roomtone@attic, roomtone@kitchen beside this one, each with an id and a microphone of its own"
    assert house.check(file, capsys) == (0, words)


@pytest.mark.parametrize(
    ("mine", "theirs", "source"),
    [
        ({}, {}, "the default one"),
        (MICROPHONES[0], {"audio": {"microphone": "ONE"}}, "One"),
        (COMMAND, COMMAND, "the command arecord"),
    ],
)
def test_two_that_want_the_same_microphone_are_told_so(house, capsys, mine, theirs, source):
    house.add("", **theirs)
    status, said = house.check(house.add("kitchen", **mine), capsys)
    assert status == 0
    assert said == f"roomtone wants the same microphone ({source}): name another in edge.audio, here or there"


def test_and_so_are_two_that_call_the_same_card_by_different_names(house, capsys, monkeypatch):
    proc, dev = kernel(house.root / "kernel")
    monkeypatch.setattr("edge.commands.check.card_of", lambda selector: card_of(selector, proc=proc, dev=dev))
    from edge.sound.portaudio.devices import card_of

    house.add("", audio={"microphone": "USB PnP"})
    _, said = house.check(house.add("kitchen", audio={"microphone": "Device"}), capsys)
    assert "roomtone wants the same microphone (Device)" in said


def test_one_that_is_switched_off_wants_nothing(house, capsys):
    file = house.add("")
    house.add("kitchen", enabled=False)
    assert house.check(file, capsys) == (0, "")


def test_two_with_the_same_id_are_an_error_in_either(house, capsys):
    first, kitchen = house.add("", device="hall"), house.add("kitchen", device="hall", **COMMAND)
    for file, other, unit in ((first, kitchen, "roomtone@kitchen"), (kitchen, first, "roomtone")):
        status, said = house.check(file, capsys)
        assert status == 78
        why = "and the broker would take one for the other: give each its own"
        assert said == f"roomtone: {file}: edge.device.id: hall is also that of {unit} ({other}), {why}"


def test_a_copy_of_a_configuration_elsewhere_is_no_second_sensor(house, capsys, tmp_path):
    copy = tmp_path / "new.yaml"
    copy.write_text(house.add("").read_text())
    assert house.check(copy, capsys) == (0, "")


def test_a_neighbour_whose_configuration_is_wrong_is_named(house, capsys):
    file, wrong = house.add(""), house.add("kitchen", sensitivity=101)
    why = "edge.sensitivity: expected int <= 100, got 101"
    said = f"roomtone@kitchen: {wrong}: {why}: `sudo roomtone --instance kitchen check`"
    assert house.check(file, capsys) == (0, said)


def test_an_instance_is_its_configuration_its_state_and_its_secrets(house, capsys):
    house.add("kitchen", mqtt={"host": "h", "username": "u", "password_file": "password"})
    (house.root / "etc/roomtone/kitchen.credentials/password").write_text("secret")
    # As the installed command has it, with the first's own before what a user adds.
    status = main(["--config", "/etc/roomtone/config.yaml", "--instance", "kitchen", "check"])
    said = capsys.readouterr().out
    assert status == 0
    assert f"{house.root}/etc/roomtone/kitchen.yaml: valid" in said
    assert f"{house.root}/var/lib/roomtone-kitchen: can be written" in said
    assert os.environ["CREDENTIALS_DIRECTORY"] == f"{house.root}/etc/roomtone/kitchen.credentials"


def test_an_instance_that_is_not_there_is_69_and_no_name_is_64(house, capsys):
    house.add("attic")
    assert main(["--instance", "kitchen", "check"]) == 69
    missing = f"{house.root}/etc/roomtone/kitchen.yaml"
    said = f"roomtone: --instance kitchen: there is no {missing} (rooms with a name here: attic)\n"
    assert capsys.readouterr().err == said
    with pytest.raises(SystemExit) as ended:
        main(["--instance", "../x", "check"])
    assert ended.value.code == 64


def test_doctor_looks_at_all_and_a_wrong_configuration_hides_no_other(house, capsys):
    assert main(["doctor", "--all"]) == 69
    assert "no sensor is installed on this machine" in capsys.readouterr().err
    house.add("", sensitivity=101)
    for number, name in enumerate(("kitchen", "living")):
        house.add(name, **MICROPHONES[number])
    status = main(["doctor", "--all"])
    lines = capsys.readouterr().out.splitlines()
    subjects = [line[6:].partition(":")[0] for line in lines]
    assert status != 0
    assert [line for line in lines if line[6:].startswith("configuration: ")] == [
        f"FAIL  configuration: {house.root}/etc/roomtone/config.yaml: edge.sensitivity: expected int <= 100, got 101",
        f"ok    configuration: {house.root}/etc/roomtone/kitchen.yaml is valid",
        f"ok    configuration: {house.root}/etc/roomtone/living.yaml is valid",
    ]
    assert subjects.count("service") == 3
    assert any(re.match("warn  rooms: roomtone: .*: `sudo roomtone check`$", line) for line in lines)
