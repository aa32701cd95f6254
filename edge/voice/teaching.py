"""What is said of lessons on MQTT, and the two commands that teach and forget."""

from typing import Annotated, Literal

import msgspec

from edge.voice.payloads import Count, Label, Payload, Ratio, Time

EventId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Taught(msgspec.Struct, frozen=True, kw_only=True):
    """A lesson: at `ts` somebody said that the change `event_id` was `label`."""

    event_id: EventId
    label: Label
    ts: Time


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the last command: `done`, or not, and why. `event_id` is as it was sent; of `last`, the one that
    was meant, where there is one. `instead_of`: the label of the lesson that this one took the place of, where that was
    at another change of the same utterance."""

    command: Literal["teach", "forget"]
    event_id: EventId
    label: Label | None = None
    done: bool
    reason: str | None = None
    ts: Time
    instead_of: Label | None = None


class Lessons(Payload, kw_only=True):
    """What the sensor was taught (retained). How the model (`_before`) and the taught sensor (`_after`) answer to the
    lessons, each left out of those that its answer is made from: `right` is the share that is named rightly, `chance`
    the probability given to what they teach (geometric mean, labels weighing alike). It is in use where that rose."""

    ts: Time
    model: str
    teachable: bool
    labels: list[Label]
    per_label: dict[str, Count] = {}  # noqa: RUF012 (msgspec copies it)
    count: Count = 0
    right_before: Ratio | None = None
    right_after: Ratio | None = None
    chance_before: Ratio | None = None
    chance_after: Ratio | None = None
    in_use: bool = False
    recent: Annotated[list[Taught], msgspec.Meta(max_length=100)] = []  # noqa: RUF012
    of_other_models: Count = 0
    problem: str | None = None
    answer: Answer | None = None


class Teach(msgspec.Struct, frozen=True, kw_only=True):
    """The command `teach`: what somebody said at a change: its `event_id` or its `ts`, or `last` for the newest. `ts`
    beside it, where it is sent, is when the command was given: what waited for long on its way is not obeyed."""

    event_id: EventId
    label: Label
    ts: Time | None = None


class Forget(msgspec.Struct, frozen=True, kw_only=True):
    """The command `forget`: a lesson, by its `event_id`; `last`: the newest; `all`: every one."""

    event_id: EventId
    ts: Time | None = None
