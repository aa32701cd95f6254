"""The four ways a user's input can be wrong, each with its exit status (sysexits.h numbers).

Everything else that goes wrong is a fault of ours (70). Messages are one line: what, where, what to do.
"""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def printable(text: object) -> str:
    """Return a text, such as a file's name, as UTF-8 can hold it and a terminal may see it.

    Bytes that are no UTF-8 (`\\xe9`), lone surrogates and control characters other than line ends are escaped.
    """
    try:
        said = str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        said = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", said)


class RoomtoneError(Exception):
    """A mistake or circumstance the user can mend; `exit_status` is what the process returns."""

    exit_status = 70

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(printable(message).split()))


class ConfigError(RoomtoneError):
    """The configuration is wrong."""

    exit_status = 78


class InputError(RoomtoneError):
    """An input (recording, corpus, table) is missing or cannot be read."""

    exit_status = 66


class ArtifactError(RoomtoneError):
    """A model file is damaged, altered, or does not behave as its manifest says."""

    exit_status = 65


class UnavailableError(RoomtoneError):
    """A service or device (broker, microphone, system program) is not there."""

    exit_status = 69
