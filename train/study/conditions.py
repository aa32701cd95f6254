"""Strangers in rooms where hearing is harder: in noise, at a distance, by a narrow line, by another microphone."""

import io
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import soundfile

from edge.features.baseline import Baseline, Prior
from edge.features.functionals import names
from edge.features.mfcc import MfccSpec, mfcc
from edge.model.utterance import ANSWER_BLOCKS
from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording
from train.augmentation.channel import banded, coloured
from train.data.clip import Clip
from train.data.features import Cache, key_of
from train.data.windows import speech_bounds
from train.rooms.heard_before import JUDGED, judged_rooms
from train.rooms.utterances import Utterances, functionals_along, of_frames
from train.study import robustness

CONDITIONS = (robustness.CLEAN, "10 dB", "3 m", "4 kHz", "Opus 16 kbit/s")
MICROPHONES = ("another microphone", "a third microphone")
MOVED = (0, 5, 10, 20)  # utterances that another microphone has heard since it took the place of the first one
_VOICES, _CLIPS, _FEW, _CLIPS_OF_FEW = 10, 45, 4, 200  # of a corpus, and of each voice; of each of fewer than _FEW
_OPUS_LEVEL = 0.955  # libsndfile's, for 16 kbit/s


def some(clips: Sequence[Clip]) -> list[Clip]:
    """Return the clips of a corpus that are heard under conditions: some of some voices, always the same."""
    chance = np.random.default_rng(5)
    voices: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        voices[clip.speaker].append(clip)
    drawn = chance.permutation(sorted(voices))[:_VOICES]
    count = _CLIPS if len(drawn) >= _FEW else _CLIPS_OF_FEW
    return [voices[voice][place] for voice in drawn for place in chance.permutation(len(voices[voice]))[:count]]


def heard_under(
    clips: Sequence[Clip], noises: dict[str, np.ndarray], spec: MfccSpec, cache: Cache,
    tell: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> Utterances:  # fmt: skip
    """Return whole utterances, cut where speech is in the clean ones; the places are CONDITIONS, then MICROPHONES."""
    rows: list[list[np.ndarray]] = [[] for _ in (*CONDITIONS, *MICROPHONES)]
    for number, clip in enumerate(clips, start=1):
        for place, condition in zip(rows, (*CONDITIONS, *MICROPHONES), strict=True):
            made_of = sorted(noises) if condition.endswith(" dB") else None
            key = key_of("condition", clip.sha256, spec, names(spec), ANSWER_BLOCKS, condition, made_of)
            place.append(cache.of(clip.corpus).get(key, lambda c=clip, name=condition: _whole(c, name, noises, spec)))
        tell(number, len(clips), clip.corpus)
    return Utterances(rows)


def worth(
    uar: Callable[[np.ndarray, np.ndarray], float], clips: Sequence[Clip], heard: Utterances, prior: Prior
) -> dict[str, dict[str, float]]:
    """Return UAR by condition, which the room's past was heard under, too; and after so many utterances by a microphone
    that took the place of the first one, the mean of MICROPHONES.

    uar: of what a network is given, float32 (n, functionals + 1), for clips, int (n,). heard: as of `heard_under`.
    """
    among = judged_rooms(clips, range(len(clips)), JUDGED)
    asked = np.concatenate([room.judged for room in among])

    def given(*pasts: tuple[int, int | None], place: int) -> np.ndarray:
        baseline = Baseline(prior, rooms=len(among))
        for past, count in pasts:
            for functionals in np.stack([heard.whole(room.past[:count], past) for room in among], axis=1):
                baseline.hear(functionals)
        rooms = np.repeat(np.arange(len(among)), [len(room.judged) for room in among])
        return baseline.against(heard.whole(asked, place), rooms)

    others = range(len(CONDITIONS), len(CONDITIONS) + len(MICROPHONES))
    return {
        "conditions": {name: uar(given((place, None), place=place), asked) for place, name in enumerate(CONDITIONS)},
        "moved": {
            str(count): float(np.mean([uar(given((0, None), (place, count), place=place), asked) for place in others]))
            for count in MOVED
        },
    }


def _whole(clip: Clip, condition: str, noises: dict[str, np.ndarray], spec: MfccSpec) -> np.ndarray:
    """Return a clip's functionals at its end: float32 (1, functionals)."""
    samples = load_recording(clip.path)
    first, last = speech_bounds(mfcc(samples, spec), spec)
    if condition != robustness.CLEAN:
        samples = _heard(clip, samples, condition, noises).astype(np.float32)
    return functionals_along(of_frames(samples, first, last, spec), spec)[-1:]


def _heard(clip: Clip, samples: np.ndarray, condition: str, noises: dict[str, np.ndarray]) -> np.ndarray:
    if condition in MICROPHONES:
        return coloured(samples, np.random.default_rng(1 + MICROPHONES.index(condition)))
    if condition.endswith("kHz"):
        return banded(samples, 1_000 * float(condition.removesuffix(" kHz")))
    if not condition.startswith("Opus"):
        return robustness.heard_in(clip, condition, noises)
    box = io.BytesIO()
    form = {"format": "OGG", "subtype": "OPUS", "compression_level": _OPUS_LEVEL}
    soundfile.write(box, np.clip(samples, -1, 1), SAMPLE_RATE_HZ, **form)
    box.seek(0)
    coded, _ = soundfile.read(box, dtype="float32")
    return np.pad(coded, (0, max(0, len(samples) - len(coded))))[: len(samples)]
