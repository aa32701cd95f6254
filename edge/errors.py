"""The ways a user's input can be wrong, each with its exit status (sysexits.h numbers).

Everything else that goes wrong is a fault of ours (70). Messages are one line: what, where, what to do.
"""

import difflib
import re
from collections.abc import Iterable

# What would act on a terminal, or write backwards, instead of being shown: ISO 6429's controls, line ends, Unicode's
# marks of direction. Joiners, which some scripts are spelled with, are none of them.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def utf8(text: object) -> str:
    """Return a text, such as a file's name, as UTF-8 can hold it, for programs: bytes that are none (`\\xe9`) and lone
    surrogates are escaped."""
    try:
        return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def printable(text: object) -> str:
    """Return a text for people: one line, whatever is in it; what no terminal may see is escaped."""
    return _UNSEEN.sub(lambda found: _SHORT.get(found[0]) or ascii(found[0])[1:-1], utf8(text))


def nearest(word: str, known: Iterable[str]) -> str:
    """Return in words which of those there are was probably meant; empty where none is like it."""
    like = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {like[0]}?" if like else ""


class RoomtoneError(Exception):
    """A mistake or circumstance the user can mend; `exit_status` is what the process returns."""

    exit_status = 70

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UsageError(RoomtoneError):
    """The words of the command line are none that there are, or make no sense together."""

    exit_status = 64


class ConfigError(RoomtoneError):
    """The configuration is wrong."""

    exit_status = 78


class InputError(RoomtoneError):
    """An input (recording, corpus, table) is missing or cannot be read."""

    exit_status = 66


class ArtifactError(RoomtoneError):
    """A model file or a bundle is damaged, altered, not signed as it must be, or no such thing."""

    exit_status = 65


class UnavailableError(RoomtoneError):
    """A service or device (broker, microphone, system program) is not there."""

    exit_status = 69


class OutputError(RoomtoneError):
    """Standard output cannot be written: it is closed, or its disk is full."""

    exit_status = 74
