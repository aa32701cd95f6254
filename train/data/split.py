"""A fold's sides, and what they must keep apart."""

from collections.abc import Callable, Sequence

import msgspec

from edge.errors import InputError
from train.data.index import Clip

SIDES = ("train", "validation", "test")


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """A fold of a protocol: indices into the clips per side; `fold` names it."""

    protocol: str
    fold: str
    seed: int
    train: list[int]
    validation: list[int]
    test: list[int]

    def side(self, name: str) -> list[int]:
        return getattr(self, name)

    @property
    def where(self) -> str:
        """What errors call it."""
        return f"protocol {self.protocol}, fold {self.fold}"


def require_apart(split: Split, clips: Sequence[Clip], apart: Callable[[Clip], object] | None) -> None:
    """Raise InputError where a side is empty, or a clip, or what `apart` says of it, is on two sides."""
    for side in ("train", "test"):
        if not split.side(side):
            raise InputError(f"{split.where}: the {side} side is empty")
    indices = [index for side in SIDES for index in split.side(side)]
    if len(indices) != len(set(indices)):
        raise InputError(f"{split.where}: a clip stands on two sides")
    if apart is None:
        return
    owner: dict[object, str] = {}
    for side in SIDES:
        for index in split.side(side):
            key = apart(clips[index])
            if owner.setdefault(key, side) != side:
                raise InputError(
                    f"{split.where}: {key} is on both the {owner[key]} and the {side} side (first: {clips[index].path})"
                )


def require_labels(split: Split, clips: Sequence[Clip]) -> None:
    """Raise InputError where there is one label only to train on."""
    labels = {clips[index].label for index in split.train}
    if len(labels) < 2:
        raise InputError(f"{split.where}: every clip to train on is {min(labels)}; there is nothing to tell apart")
