"""What an SD card makes of its FAT partition at each start: deploy/sdcard/card.sh on folders of the test's own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.sounds import ROOT


class Board:
    """A card in a board: `card`, its FAT partition, and `made`, what a start made of it."""

    def __init__(self, folder: Path, serial: str | None) -> None:
        self.card, self.state, self.made = folder / "card", folder / "state", folder / "made"
        for made in (self.card / "credentials", self.card / "roomtone", self.state):
            made.mkdir(parents=True)
        self._serial = folder / "serial-number"
        if serial is not None:
            self._serial.write_text(serial)

    def start(self) -> None:
        env = {**os.environ, "CARD": self.card, "STATE": self.state, "MADE": self.made, "BOARD": self._serial}
        subprocess.run([ROOT / "deploy" / "sdcard" / "card.sh"], env=env, check=True)


@pytest.fixture
def board(tmp_path) -> Board:
    return Board(tmp_path, "10000000c0ffee42\x00")


def test_it_is_called_by_the_board_and_without_an_id_so_is_the_sensor(board):
    board.start()
    assert (board.made / "name").read_text() == "roomtone-ee42\n"
    assert (board.made / "etc" / "config.yaml").read_text() == "edge: {}\n"
    assert (board.made / "environment").read_text() == (
        "ROOMTONE_DEVICE__ID=roomtone-ee42\nROOMTONE_DEVICE__NAME=roomtone-ee42\n"
    )


def test_a_board_without_a_number_keeps_the_one_it_drew(tmp_path):
    board = Board(tmp_path, None)
    board.start()
    name = (board.made / "name").read_text()
    board.start()
    assert (board.made / "name").read_text() == name
    assert (board.state / "number").read_text().endswith(name.strip().removeprefix("roomtone-"))


def test_text_loses_the_line_ends_of_windows_and_a_model_no_byte(board):
    (board.card / "roomtone.yaml").write_bytes("edge:\r\n  device: {id: küche}\r\n".encode())
    (board.card / "credentials" / "password").write_bytes("gemütlich\r\n".encode("latin-1"))
    model = bytes(range(256)) + b"\r\n"
    (board.card / "roomtone" / "mine.tflite").write_bytes(model)
    (board.card / "wifi.conf").write_bytes(b"country=DE\r\nnetwork={\r\n}\r\n")
    board.start()
    made = board.made / "etc"
    assert (made / "config.yaml").read_bytes() == "edge:\n  device: {id: küche}\n".encode()
    assert (board.made / "environment").read_text() == ""
    assert (made / "credentials" / "password").read_bytes() == "gemütlich\n".encode("latin-1")
    assert (made / "credentials" / "password").stat().st_mode & 0o777 == 0o600
    assert (made / "mine.tflite").read_bytes() == model
    assert (board.made / "wifi.conf").read_bytes() == b"country=DE\nnetwork={\n}\n"


def test_networks_that_are_only_an_example_are_none(board):
    (board.card / "wifi.conf").write_bytes((ROOT / "deploy" / "sdcard" / "wifi.conf").read_bytes())
    board.start()
    assert not (board.made / "wifi.conf").exists()
