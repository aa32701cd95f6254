"""What the benches are asked for: sizes that can be measured, recordings that are there, places that can be written.

A mistake is one line and an exit status (sysexits.h's; of what argparse finds, 2), before anything is measured.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from edge.errors import InputError, RoomtoneError
from edge.files import output
from tests.support.sounds import CORPORA


def number(text: str) -> int:
    """Read how many of something: one at least. Raises ArgumentTypeError."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Read how long: a second at least. Raises ArgumentTypeError."""
    try:
        read = float(text)
    except ValueError:
        read = 0.0
    if not 1.0 <= read < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, from 1 on, got {text!r}")
    return read


def folder(path: Path) -> Path:
    """Return a folder for results, made where it is not there. Raises PlaceError."""
    made = output(path, "--out")
    made.mkdir(parents=True, exist_ok=True)
    return made


def file(path: Path) -> Path:
    """Return a file for results, the folders around it made. Raises PlaceError."""
    wanted = output(path, "--out", folder=False)
    wanted.parent.mkdir(parents=True, exist_ok=True)
    return wanted


def corpora(*names: str) -> None:
    """Raise InputError where one of the corpora is not there."""
    for name in names:
        if not (CORPORA / name).is_dir():
            raise InputError(f"no {name} in {CORPORA}: set ROOMTONE_CORPORA to the folder of the corpora")


def answer(main: Callable[[], int | None]) -> NoReturn:
    """Do it and end: what is wrong with what was asked is one line."""
    try:
        status = main()
    except RoomtoneError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        status = error.exit_status
    sys.exit(status)
