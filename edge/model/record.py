"""What is written down of installed models: which one runs, which before it, and how a trial stands."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from edge.errors import ArtifactError
from edge.model.artifact import Artifact


class NotPermittedError(ArtifactError):
    """A model is refused for what a setting of edge.model_store, `permitted_by`, would permit."""

    def __init__(self, message: str, permitted_by: str) -> None:
        super().__init__(message)
        self.permitted_by = permitted_by


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


def entry_of(artifact: Artifact) -> Entry:
    """Return what stands in a record of an artifact."""
    manifest = artifact.manifest
    return Entry(digest=artifact.digest, model_id=manifest.model_id, created=manifest.provenance.created)


def instant(created: str) -> str:
    """Return a time in a form whose order is that of time. Raises ArtifactError."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError as error:
        raise ArtifactError(f"manifest: provenance.created: expected a time (RFC 3339), got {created!r}") from error
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC).isoformat(timespec="microseconds")
