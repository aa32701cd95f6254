"""What is said of models on MQTT: which one runs, which is offered, what became of that; and the command to install."""

from typing import Annotated, Literal

import msgspec

from edge.voice.payloads import ROOT, Payload, Time

MOST_BYTES = 250_000  # of a model that is published: sensors take packets of 256 KiB
MOST_LETTERS = 200
OFFERED = "offered"  # in place of a digest: whichever it is
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="SHA-256 of graph and manifest")]
Result = Literal["none", "offered", "trying", "installed", "refused", "went-back"]


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A model: what messages call it, when it was made, and what tells it from any other."""

    model: Annotated[str, msgspec.Meta(max_length=MOST_LETTERS)]
    created: Annotated[str, msgspec.Meta(max_length=MOST_LETTERS)]
    sha256: Digest


class Model(Payload, kw_only=True):
    """Which model runs, `since` when, and what became of the one that was offered last (retained)."""

    ts: Time
    installed: ModelFile
    since: Time
    updates: Literal["never", "ask", "auto"]
    ring: str
    offered: ModelFile | None = None
    result: Result = "none"
    reason: Annotated[str, msgspec.Meta(max_length=MOST_LETTERS)] | None = None


class Install(msgspec.Struct, frozen=True, kw_only=True):
    """The command `model/install`: the `sha256` of what is offered, or `offered` for whichever it is."""

    sha256: Annotated[str, msgspec.Meta(pattern=rf"^([0-9a-f]{{64}}|{OFFERED})$(?!\n)")]


def ring_topic(ring: str) -> str:
    """Return where the models of a ring are published, each as the bytes of its file."""
    return f"{ROOT}/models/{ring}"
