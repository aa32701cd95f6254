"""How commands say things: lines on standard output, complaints on standard error."""

from collections.abc import Iterable
from dataclasses import dataclass

from edge.entry import complain
from edge.errors import RoomtoneError

CALLED = "roomtone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was looked at. remedy: empty where all is well."""

    words: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.words}: {self.remedy}" if self.remedy else self.words


def complained(message: str, status: int) -> int:
    """Say what is wrong; return the exit status."""
    return complain(CALLED, message, status)


def remark(remark: str) -> None:
    """Say something that is no answer."""
    complained(remark, 0)


def counted(number: int, what: str) -> str:
    """Return so many of a thing in words, whose plural has an s."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def say(found: Iterable[str | RoomtoneError]) -> int:
    """Print lines and complain of errors as they come; return the first error's status, 0 without one."""
    status = 0
    for each in found:
        if isinstance(each, str):
            print(each, flush=True)
        else:
            status = complained(str(each), status or each.exit_status)
    return status
