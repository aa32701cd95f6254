"""A fold's sides, and what they must keep apart."""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from edge.errors import InputError
from train.data.clip import Clip

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
    """Raise InputError where a side is empty, or a clip, its twin (the same sound in another file), or what `apart`
    says of it, is on two sides."""
    for side in ("train", "test"):
        if not split.side(side):
            raise InputError(
                f"{split.where}: the {side} side is empty: give more speakers or corpora, or another --protocol"
            )
    indices = [index for side in SIDES for index in split.side(side)]
    if len(indices) != len(set(indices)):
        raise InputError(f"{split.where}: a clip stands on two sides")
    for first, second in _across(split, clips, lambda clip: clip.sound_sha256 or clip.sha256 or None):
        twins = " and ".join(clips[index].path for _, index in (first, second))
        raise InputError(f"{split.where}: {twins} are the same sound, on the {first[0]} and the {second[0]} side")
    for first, (side, index) in _across(split, clips, apart or (lambda clip: None)):
        raise InputError(
            f"{split.where}: {apart(clips[index])} is on both the {first[0]} and the {side} side "
            f"(first: {clips[index].path})"
        )


def _across(
    split: Split, clips: Sequence[Clip], of: Callable[[Clip], object]
) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """Yield side and index of clips of whom `of` says the same (but None) although they are on two sides."""
    owner: dict[object, tuple[str, int]] = {}
    for side in SIDES:
        for index in split.side(side):
            if (key := of(clips[index])) is not None and owner.setdefault(key, (side, index))[0] != side:
                yield owner[key], (side, index)


def unheard_labels(split: Split, clips: Sequence[Clip]) -> list[str]:
    """Return the labels that only clips of the other sides have: no training clip teaches them."""
    trained = {clips[index].label for index in split.train}
    return sorted({clips[index].label for side in SIDES[1:] for index in split.side(side)} - trained)


def require_labels(split: Split, clips: Sequence[Clip]) -> None:
    """Raise InputError where there is one label only to train on."""
    labels = {clips[index].label for index in split.train}
    if len(labels) < 2:
        raise InputError(f"{split.where}: every clip to train on is {min(labels)}; there is nothing to tell apart")
