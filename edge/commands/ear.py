"""A moment's listening, for `doctor` and `check --live`: whether sound comes, and whether it is worth anything."""

import statistics
import time
from dataclasses import dataclass

from msgspec.structs import replace

from edge.config import Audio
from edge.sound.bandwidth import Bandwidth, narrow
from edge.sound.blocks import BLOCK_S, Block
from edge.sound.faults import explain
from edge.sound.level import clipped, level_dbfs
from edge.sound.microphone import Microphone

LISTEN_S = 2.0
PATIENCE_S, PATIENCE_WITH_COMMAND_S = 10.0, 20.0  # for the first sound
FAINT_DBFS = -75.0
SPOKEN_DB = 12.0  # so far above the quietest moment is what may have been spoken


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """words: levels and bandwidth. trouble: what is wrong and what helps, empty where all is well."""

    words: str
    trouble: str = ""
    deaf: bool = False


def listen(audio: Audio) -> Heard:
    """Listen for LISTEN_S; who speaks meanwhile learns up to which frequency the microphone hears."""
    blocks: list[Block] = []
    why = explain("starting")
    deadline_s = time.monotonic() + (PATIENCE_S if audio.command is None else PATIENCE_WITH_COMMAND_S)
    with Microphone(replace(audio, give_up_after_s=Audio().give_up_after_s)) as microphone:
        for item in microphone.blocks():
            if isinstance(item, Block):
                blocks.append(item)
            else:
                why = item.detail
            if time.monotonic() > deadline_s or len(blocks) * BLOCK_S >= LISTEN_S:
                break
    return judged(blocks) if blocks else Heard(words="no sound", trouble=why, deaf=True)


def judged(blocks: list[Block]) -> Heard:
    """Return what is to be said of blocks that were heard."""
    levels = [level_dbfs(block.samples) for block in blocks]
    bandwidth = Bandwidth(every=1)
    for block, level in zip(blocks, levels, strict=True):
        if level > max(FAINT_DBFS, min(levels) + SPOKEN_DB):
            bandwidth.add(block.samples)
    up_to = "speak to learn up to which frequency" if bandwidth.hz is None else f"up to {bandwidth.hz:,} Hz"
    seconds = len(blocks) * BLOCK_S
    words = f"{statistics.median(levels):.0f} dBFS, loudest {max(levels):.0f}, in {seconds:.1f} s, {up_to}"
    if all(block.samples.min() == block.samples.max() for block in blocks):
        return Heard(words=words, trouble=explain("constant" if blocks[0].captured[0] else "zeros"))
    if statistics.median(clipped(block.samples, block.offset) for block in blocks) > 0:
        return Heard(words=words, trouble=explain("clipped"))
    if max(levels) < FAINT_DBFS:
        return Heard(words=words, trouble="very faint: turn the capture level up (alsamixer)")
    return Heard(words=words, trouble=narrow(bandwidth.hz) or "")
