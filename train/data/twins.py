"""The same sound twice: in a mirror inside its own corpus, under another name, in another container."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from edge.errors import printable
from train.data.clip import Clip, LeftOut


class Once(NamedTuple):
    """Clips of which no two hold the same samples. `twins`: paths of the same sound, the one that is kept first;
    `left_out`: sounds whose labels contradict each other."""

    clips: list[Clip]
    twins: list[list[str]]
    left_out: list[LeftOut]


def once(clips: Sequence[Clip]) -> Once:
    """Keep one clip of each sound: the first whose speaker is known, where the others were.

    A sound that stands under two labels teaches neither: all of its clips are left out.
    """
    same: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        same[clip.sound_sha256].append(clip)
    kept, twins, left_out = [], [], []
    for alike in same.values():
        best = next((clip for clip in alike if clip.speaker), alike[0])
        if len({clip.label for clip in alike}) > 1:
            said = ", ".join(f"{clip.label} in {printable(clip.path)}" for clip in alike[1:])
            why = "the same sound stands under two labels"
            left_out.append(LeftOut(path=alike[0].path, why=why, detail=f" ({alike[0].label} here, {said})"))
            left_out += [LeftOut(path=clip.path, why=why) for clip in alike[1:]]
        else:
            kept.append(best)
            if len(alike) > 1:
                twins.append([best.path, *(clip.path for clip in alike if clip is not best)])
    return Once(kept, twins, left_out)


def said(twins: Sequence[Sequence[str]]) -> str:
    """Return a line that counts them."""
    more = sum(len(paths) - 1 for paths in twins)
    first = " = ".join(dict.fromkeys(map(printable, twins[0][:2])))
    return f"{more} clip{'s are' if more > 1 else ' is'} there twice (first: {first}): each sound counts once"
