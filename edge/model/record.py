"""What is written down of installed models: which one runs, which before it, and how a trial stands."""

from typing import Annotated

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An installed model."""

    digest: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    model_id: str
    created: str

    @property
    def file(self) -> str:
        return f"{self.digest}.tflite"


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the sensor went back from, and why."""

    entry: Entry
    reason: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What runs (None: the bundled model), what ran before, and how the trial stands (None: there is none).

    `previous` has passed its trial. During one, `older` is what ran before `previous`, for when the trial fails.
    """

    current: Entry | None = None
    previous: Entry | None = None
    older: Entry | None = None
    trial_starts: int | None = None
    newest: str = ""  # when the newest model that passed its trial was made
    rejected: Rejection | None = None


def name(entry: Entry | None) -> str:
    """Return what to call a model in a message."""
    return "the bundled model" if entry is None else entry.model_id
