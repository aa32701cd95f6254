"""A clip, and what was left out beside it."""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from edge.errors import printable


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """One recording: what is said by whom, and how it feels.

    sha256: of the file; sound_sha256: of its samples as the sensor hears them, whatever holds them. What may be known
    besides: `sex` (f or m) and `age` (in years) of the speaker, `intensity` with which it was meant, and `votes`, how
    many listeners heard which label.
    """

    path: str
    corpus: str
    speaker: str
    label: str
    text: str = ""
    duration_s: float = 0.0
    rate_hz: int = 0
    sha256: str = ""
    sound_sha256: str = ""
    sex: str = ""
    age: str = ""
    intensity: str = ""
    votes: dict[str, float] = {}

    def __hash__(self) -> int:
        return hash((self.path, self.sha256))  # votes have none


LEAST_WORDS = 3  # of a split by words: a side each


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not used. `why` is the kind of reason, which many files may share; `detail` is this file's own."""

    path: str
    why: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.why}{self.detail}"


def left_out(path: str, error: Exception) -> LeftOut:
    """Return what an InputError says of a file: the kind of reason is what stands before the first bracket."""
    why, bracket, detail = str(error).removeprefix(f"{printable(path)}: ").partition(" (")
    return LeftOut(path=path, why=why, detail=bracket + detail)


def reasons(files: Iterable[LeftOut], what: str = "left out") -> list[str]:
    """Return a line per kind of reason: how many files, and the first of them; `what` became of them."""
    kinds: dict[str, list[LeftOut]] = defaultdict(list)
    for file in files:
        kinds[file.why].append(file)
    return [
        f"{what}: {alike[0]}" if len(alike) == 1
        else f"{what}: {len(alike)} files: {why} (first: {printable(alike[0].path)}{alike[0].detail})"
        for why, alike in kinds.items()
    ]  # fmt: skip


def counted(count: int, what: str) -> str:
    """Return `1 clip`, `2 clips`."""
    return f"{count} {what}{'s' if count != 1 else ''}"


def words_of(clips: Iterable[Clip]) -> list[str]:
    """Return the words (texts) that are said, sorted; none where those of some clips are not known."""
    words = {clip.text for clip in clips}
    return [] if "" in words else sorted(words)
