"""The `convert` key of config.yaml: what to convert, what is measured on the way, and what an artifact must pass."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from edge.model.manifest import FORMS, PRECISIONS, Form, Precision
from edge.section import File, Ratio, Section
from train.sizes import Count

Difference = Annotated[float, msgspec.Meta(gt=0, le=1)]


MOODS = {
    "tense": ("angry", "disgust", "fear"), "bright": ("happy", "surprise"), "calm": ("neutral",), "low": ("sad",)
}  # fmt: skip


class Gates(Section, kw_only=True):
    """What an artifact must pass on the test side, in every runtime, against its own Keras model.

    agreement: share of clips with the same label. accuracy_loss, recall_loss: how far accuracy, and the recall of any
    label, may fall. probs_difference: of any probability of any clip, by precision. size_bytes: by precision.
    """

    agreement: Ratio = 0.995
    accuracy_loss: Ratio = 0.005
    recall_loss: Ratio = 0.05
    probs_difference: dict[str, Difference] = msgspec.field(
        default_factory=lambda: {"float32": 1e-3, "float16": 0.05, "dynamic": 0.5, "int8": 0.7}
    )
    size_bytes: dict[str, Count] = msgspec.field(default_factory=lambda: {"int8": 350_000})


class Entry(Section, kw_only=True):
    """Runs to convert, folders or patterns of them, in each form that the network has and each precision."""

    runs: list[File]
    forms: list[Form] = msgspec.field(default_factory=lambda: list(FORMS))
    precisions: list[Precision] = msgspec.field(default_factory=lambda: list(PRECISIONS))


class ConvertConfig(Section, kw_only=True):
    """How runs become artifacts.

    representative_clips: of the training side, whose ranges int8 is given. abstain_precision: the `enter` threshold is
    the lowest at which this share of the labels said on the validation side is right, of 20 clips or more.
    strangers_coverage: of a network of utterances, of which share of the answers to strangers a label is said.
    moods: the groups of labels that are said where no label is, from the probability on from which a share
    `mood_precision` of them is right.
    second_runtime: a Python with tflite-runtime, relative to the checkout; None leaves it out, and the report says so.
    gates: by protocol of the training, `any` for the others.
    """

    step_frames: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    representative_clips: Count = 200
    abstain_precision: Ratio = 0.7
    strangers_coverage: Ratio = 0.45
    moods: dict[str, list[str]] = msgspec.field(default_factory=lambda: {name: list(of) for name, of in MOODS.items()})
    mood_precision: Ratio = 0.65
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=604_800)] = 900.0
    second_runtime: File | None = ".venv-tflite-runtime/bin/python"
    gates: dict[str, Gates] = msgspec.field(
        default_factory=lambda: {"any": Gates(agreement=0.95, recall_loss=0.1), "random": Gates()}
    )
    out: File = "runs/artifacts"
    set: list[Entry] = msgspec.field(default_factory=list)

    def moods_of(self, labels: Sequence[str]) -> dict[str, list[str]]:
        """Return the moods of a model's labels; none where a label belongs to none."""
        grouped = {name: [label for label in members if label in labels] for name, members in self.moods.items()}
        whole = {label for members in grouped.values() for label in members} == set(labels)
        return {name: members for name, members in grouped.items() if members} if whole else {}

    def gates_for(self, protocol: str) -> Gates:
        """Return the gates for runs of a protocol."""
        return self.gates.get(protocol) or self.gates.get("any") or Gates()

    @property
    def ungated(self) -> "ConvertConfig":
        """The same for artifacts that are only judged: whatever they lost to int8 is in their figures."""
        any_ = Gates(agreement=0.0, accuracy_loss=1.0, recall_loss=1.0, probs_difference={}, size_bytes={})
        return msgspec.structs.replace(self, gates={"any": any_}, second_runtime=None)
