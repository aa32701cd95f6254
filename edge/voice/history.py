"""What a recorder is asked on `roomtone/history/get`, and what it answers."""

from typing import Annotated, Literal

import msgspec

from edge.voice.payloads import Label, Payload, Ratio, Signed, Time

Span = Literal["week", "month", "year"]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,64}$(?!\n)")]


class HistoryGet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question: how a room was, or every room; these come in the order of their names, the first after `after`."""

    span: Span
    room: Name | None = None
    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "UTC"
    after: Name | None = None


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of one length, an entry a step. `heard`: the share of it in which anybody listened; `labels`: of what
    was heard, the share of each label but quiet; null where nothing is known."""

    heard: list[Ratio]
    labels: dict[Label, list[Ratio]]
    speech_ratio: list[Ratio | None]
    level_dbfs: list[float | None]
    arousal: list[Signed | None]
    valence: list[Signed | None]


class RoomPast(msgspec.Struct, frozen=True, kw_only=True):
    """How a room was: the whole time in one step, step by step, and by the hour of the week (168 from Monday on)."""

    room: Name
    whole: Course
    course: Course
    hours_of_week: Course | None = None


class HistoryAnswer(Payload, kw_only=True):
    """`starts`: of the steps; the last ends at `ts`. `more`: the room after which to ask for further ones."""

    ts: Time
    span: Span
    time_zone: str
    starts: list[Time]
    rooms: list[RoomPast]
    more: Name | None = None
    problem: str | None = None
