"""Sound that flows but is worth nothing."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from edge.sound.blocks import BLOCK_S, BLOCK_SAMPLES, SAMPLE_RATE_HZ, Block
from edge.sound.signal_check import CLIPPED_S, DEAD_S, SignalCheck
from tests.support.ears import listening
from tests.support.sounds import chirp
from tests.support.virtual_microphone import VirtualMicrophone


def blocks_of(samples: np.ndarray) -> Iterator[Block]:
    for end in range(BLOCK_SAMPLES, len(samples) + 1, BLOCK_SAMPLES):
        yield Block(
            samples=samples[end - BLOCK_SAMPLES : end].astype(np.float32), end_s=end / SAMPLE_RATE_HZ, captured_at=0
        )


ROOM = 1e-4 * np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ * 12)


@pytest.mark.parametrize(
    ("sound", "reason", "after_s"),
    [
        (np.zeros(12 * SAMPLE_RATE_HZ), "zeros", DEAD_S),
        (np.full(12 * SAMPLE_RATE_HZ, -0.25), "constant", DEAD_S),
        (np.clip(40 * chirp(seconds=12.0) + 0.1 * np.sign(ROOM), -1, 1), None, None),
        (np.clip(1e5 * ROOM, -1, 1), "clipped", CLIPPED_S),
        (ROOM, None, None),
        (chirp(seconds=12.0), None, None),
    ],
    ids=["zeros", "constant", "loud speech with pauses", "overdriven", "quiet room", "speech"],
)
def test_sound_without_worth_is_told_after_seconds_and_taken_back_when_it_is_well(
    sound: np.ndarray, reason: str | None, after_s: float | None
) -> None:
    check = SignalCheck()
    told = [(block.end_s, check.process(block)) for block in blocks_of(sound)]
    if reason is None:
        assert {code for _, code in told} == {None}
        return
    assert {code for _, code in told} == {None, reason}
    # With the block that completes the time: not one earlier, not one later.
    assert 0 <= next(end_s for end_s, code in told if code) - after_s < BLOCK_S
    well = [check.process(block) for block in blocks_of(ROOM)]
    assert abs(well.index(None) * BLOCK_S - (CLIPPED_S if reason == "clipped" else 0.0)) < BLOCK_S
    assert set(well[well.index(None) :]) == {None}


def test_a_pause_between_two_silences_begins_the_count_anew() -> None:
    check = SignalCheck()
    silence = np.zeros(int(0.9 * DEAD_S * SAMPLE_RATE_HZ))
    sound = np.concatenate([silence, ROOM[:BLOCK_SAMPLES], silence])
    assert {check.process(block) for block in blocks_of(sound)} == {None}


def test_sound_that_is_clipped_on_and_off_stays_clipped() -> None:
    check, overdriven = SignalCheck(), np.clip(1e5 * ROOM, -1, 1)
    on_and_off = np.concatenate([overdriven[: SAMPLE_RATE_HZ * 4], ROOM[: SAMPLE_RATE_HZ * 2]] * 4)
    told = [check.process(block) for block in blocks_of(on_and_off)]
    assert set(told[: told.index("clipped")]) == {None}
    assert set(told[told.index("clipped") :]) == {"clipped"}


def test_after_an_interruption_the_count_begins_anew() -> None:
    check, silence = SignalCheck(), np.zeros(int(0.9 * DEAD_S * SAMPLE_RATE_HZ))
    for _ in range(2):
        assert {check.process(block) for block in blocks_of(silence)} == {None}
        check.reset()


@pytest.mark.parametrize(
    ("sound", "then"),
    [(np.zeros_like(ROOM), "zeros"), (np.full_like(ROOM, 0.25), "constant"), (np.clip(1e5 * ROOM, -1, 1), None)],
    ids=["zeros", "constant", "overdriven"],
)
def test_what_was_dead_before_an_interruption_and_is_no_better_is_so_at_once(sound, then) -> None:
    check = SignalCheck()
    assert [check.process(block) for block in blocks_of(sound)][-1] is not None
    check.reset()
    assert check.process(next(blocks_of(sound))) == then
    assert check.process(next(blocks_of(ROOM))) is None


@pytest.mark.parametrize(("percent", "reason"), [(0.5, None), (2, "clipped")])
def test_a_few_samples_at_full_scale_are_no_clipping(percent: float, reason: str | None) -> None:
    samples = ROOM[:BLOCK_SAMPLES].copy()
    samples[: round(percent / 100 * BLOCK_SAMPLES)] = 1.0
    check = SignalCheck()
    assert [check.process(block) for block in blocks_of(np.tile(samples, 60))][-1] == reason


@pytest.mark.parametrize(
    ("level", "offset", "reason"), [(-0.25, 0.25, "zeros"), (0.0, 0.25, "constant"), (0.25, 0.25, "constant")]
)
def test_what_counts_is_the_sound_before_its_offset_was_taken_away(level: float, offset: float, reason: str) -> None:
    check, samples = SignalCheck(), np.full(BLOCK_SAMPLES, level, np.float32)
    blocks = [Block(samples=samples, end_s=0.08 * n, captured_at=0, offset=offset) for n in range(1, 130)]
    assert [check.process(block) for block in blocks][-1] == reason


def test_full_scale_is_that_of_the_converter() -> None:
    samples = ROOM[:BLOCK_SAMPLES].astype(np.float32)
    samples[:50] = 0.75  # as captured: 1.0
    check = SignalCheck()
    told = [check.process(Block(samples=samples, end_s=0.08 * n, captured_at=0, offset=0.25)) for n in range(1, 60)]
    assert told[-1] == "clipped"


@pytest.mark.slow
def test_zeros_constant_and_clipping_through_the_microphone(virtual_microphone: VirtualMicrophone) -> None:
    loud = np.clip(1e9 * ROOM, -32_768, 32_767).astype(np.int16)
    check, heard = SignalCheck(), set()
    with listening(keep_blocks=True) as ears:
        ears.until_block(0.0)
        time.sleep(DEAD_S + 1)
        virtual_microphone.play(np.concatenate([np.full(12 * SAMPLE_RATE_HZ, 77, np.int16), loud]))
    for block in ears.blocks:
        heard.add(check.process(block))
    assert heard == {None, "zeros", "constant", "clipped"}
