"""Blocks in, observations out: gates, MFCC, model and decision in one deterministic chain.

No clock, no thread, no file: the same blocks always give the same observations.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from edge.config import Decision as DecisionOverrides
from edge.config import Gate
from edge.errors import ArtifactError
from edge.features.mfcc import MfccExtractor
from edge.hearing import gate as gates
from edge.hearing.decision import Change, Decision, settings
from edge.hearing.layer import Layer
from edge.hearing.listener import listener_of
from edge.hearing.mood import Moods
from edge.hearing.observation import Observation
from edge.hearing.recent import Recent
from edge.hearing.sensitivity import MIDDLE, tuned
from edge.lessons.personal import Personal
from edge.model.graph import Model
from edge.model.manifest import Manifest
from edge.model.utterance import UtteranceModel
from edge.sound.blocks import BLOCK_S, BLOCK_SAMPLES, SAMPLE_RATE_HZ, Block
from edge.sound.level import clipped, level_dbfs

GAP_BLOCKS = 2  # a level that falls for no longer than this has not fallen: consonants are short of sound
LATE_BLOCKS = 2  # how late the speech gate is: what to date an onset back by where the level tells nothing
RECENT_BLOCKS = round(10.0 / BLOCK_S)  # speech_ratio and clipped_ratio look back 10 s


class _Attended(NamedTuple):
    """A block that was looked at: the samples before it, its own, and its MFCC frames."""

    before: np.ndarray
    samples: np.ndarray
    frames: np.ndarray


_NO_SOUND = np.zeros(BLOCK_SAMPLES, np.float32)


class Pipeline:
    """The sensor's ear and judgement. Feed it every block of a source in order.

    own_probs: the last answer of the model itself, (labels,), None before there is one.
    """

    def __init__(
        self,
        model: Model | UtteranceModel,
        manifest: Manifest,
        *,
        gate: Gate | None = None,
        decision: DecisionOverrides | None = None,
        speech_gate: gates.SpeechGate | None = None,
        sensitivity: int = MIDDLE,
    ) -> None:
        self._gate, self._rules = gate or Gate(), settings(manifest.decision, decision or DecisionOverrides())
        gate, rules = tuned(self._gate, self._rules, sensitivity)
        spec = manifest.features
        if (spec.sample_rate_hz, spec.block_samples) != (SAMPLE_RATE_HZ, BLOCK_SAMPLES):
            raise ArtifactError(
                f"manifest: features: the sensor works on blocks of {BLOCK_SAMPLES} samples at {SAMPLE_RATE_HZ} Hz, "
                f"the model on {spec.block_samples} at {spec.sample_rate_hz} Hz"
            )
        self.labels = manifest.labels
        self._listener = listener_of(model, manifest)
        self._extractor = MfccExtractor(spec)
        self._overlap = spec.overlap_samples
        self._level_gate = gates.LevelGate(margin_db=gate.margin_db, floor_window_s=gate.floor_window_s)
        self._speech_gate = speech_gate or gates.load_speech_gate(spec)
        self._certain_blocks_needed = round(gate.certain_ms / 1_000 / BLOCK_S)
        self._hang_over_blocks = max(1, round(gate.hang_over_ms / 1_000 / BLOCK_S))
        self._decision = Decision(manifest.labels, rules)
        self.moods = Moods(manifest.labels, manifest.moods, rules)
        self._pre_roll: deque[_Attended] = deque(maxlen=max(1, round(gate.pre_roll_ms / 1_000 / BLOCK_S) + 1))
        self._before = _NO_SOUND  # the block before
        self._spoken, self._clipped = Recent(RECENT_BLOCKS), Recent(RECENT_BLOCKS)
        self._attended_blocks = 0  # in a row: the extractor runs, and its frames follow on each other
        self._low_blocks = 0  # in a row, the last ones, while attending
        self._layer = Layer()
        self.own_probs: np.ndarray | None = None
        self._speaking = False
        self._onset_s: float | None = None
        self._silent_blocks = self._certain_blocks = 0  # of the utterance
        self._speech_level_dbfs: float | None = None
        self.tune(sensitivity)

    def tune(self, sensitivity: int, *, restless_db: float = 0.0) -> None:
        """Hear as readily as that (0 to 100) from the next block on, in a room whose noise rises so far by itself."""
        gate, rules = tuned(self._gate, self._rules, sensitivity)
        self._level_gate.margin_db = max(gate.margin_db, restless_db)
        self._rule = gates.SpeechRule(
            sure=gate.speech_probability,
            doubtful=gate.doubtful_probability,
            strong_margin_db=max(gate.strong_margin_db, restless_db),
        )
        self._certain_probability = gate.certain_probability
        self._decision.settings = self.moods.settings = rules

    def believe(self, floor_dbfs: float) -> None:
        """Take this for the room's noise floor until it is known better."""
        self._level_gate.believe(floor_dbfs)

    def process(self, block: Block) -> Observation:
        """Return what is known after a block."""
        samples = block.samples
        level = level_dbfs(samples)
        loud = self._level_gate.process(level)
        speech, probs, change = 0.0, None, None
        if self._attends(loud):
            frames = self._frames(samples)
            speech = self._speech_gate.process(samples, frames)
            self._pre_roll.append(_Attended(before=self._before, samples=samples, frames=frames))
        self._before = samples
        is_speech = self._rule.holds(
            speech, loud=loud, above_floor_db=self._level_gate.above_floor_db, speaking=self._speaking
        )
        if is_speech:
            self._hear(level)
        self._segment(is_speech, block.end_s)
        self._certain_blocks += self._speaking and speech >= self._certain_probability
        if self._speaking:
            probs = self._answer()
            change = self._decision.speech(probs, block.end_s, certain=self._certain)
        else:
            change = self._decision.quiet(1.0 - speech if loud else 1.0, block.end_s)
        return Observation(
            at_s=block.end_s,
            label=self._decision.label,
            confidence=self._decision.confidence,
            since_s=self._decision.since_s,
            change=change,
            speaking=self._speaking,
            speech=is_speech,
            probs=probs,
            scores=self._decision.scores,
            speech_ratio=self._spoken.mean_with(is_speech),
            snr_db=None if self._speech_level_dbfs is None else self._speech_level_dbfs - self._level_gate.floor_dbfs,
            level_dbfs=level,
            clipped_ratio=self._clipped.mean_with(clipped(samples, block.offset)) / BLOCK_SAMPLES,
            onset_s=self._onset_s,
            above_floor_db=self._level_gate.above_floor_db,
        )

    def take_up(self, personal: Personal) -> None:
        """Answer with what lessons make of the model's answers from now on. From any thread."""
        self._layer.take_up(personal)

    @property
    def embedding(self) -> np.ndarray | None:
        """That of the utterance under way, or else of the last one: see `Listener.embedding`."""
        return self._listener.embedding

    @property
    def room_utterances(self) -> int | None:
        """How many utterances the model knows the room by; None where it knows nothing of rooms."""
        return self._listener.room_utterances

    @property
    def _certain(self) -> bool:
        return self._certain_blocks >= self._certain_blocks_needed

    def interrupt(self, now_s: float) -> Change | None:
        """There is no more sound: end the utterance, and return the change to `quiet` that this is, if it is one.

        What was said of it is no utterance of the room's: a plug was pulled, or somebody did not want to be heard.
        """
        self._end_utterance(was_speech=False)
        self._ignore()
        self._before = _NO_SOUND
        self._spoken.forget()
        self._clipped.forget()
        return self._decision.interrupt(now_s)

    def _attends(self, loud: bool) -> bool:
        """Return whether the block is looked at: it is loud, or the level fell only just now, or somebody speaks."""
        self._low_blocks = 0 if loud else self._low_blocks + 1
        attends = loud or self._speaking or (self._attended_blocks > 0 and self._low_blocks <= GAP_BLOCKS)
        if not attends:
            self._ignore()
        return attends

    def _ignore(self) -> None:
        self._attended_blocks = 0
        self._pre_roll.clear()

    def _frames(self, samples: np.ndarray) -> np.ndarray:
        """Return the block's own frames; the samples before it stand in for the past when attention begins."""
        if not self._attended_blocks:
            history = self._before[-self._overlap :]
            self._extractor.reset(history=history)
            self._speech_gate.reset(history)
        self._attended_blocks += 1
        return self._extractor.process(samples)

    def _answer(self) -> np.ndarray | None:
        if (probs := self._listener.take(*self._unheard())) is None:
            return None
        self.own_probs = probs
        return self._layer.answer(probs, self._listener, self._attended_blocks)

    def _unheard(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the utterance's samples and frames (n, coefficients) that were not heard yet, a block's except at
        onset."""
        first, *more = self._pre_roll
        self._pre_roll.clear()
        if not more:
            return first.samples, first.frames
        blocks = (first, *more)
        return np.concatenate([each.samples for each in blocks]), np.concatenate([each.frames for each in blocks])

    def _segment(self, is_speech: bool, now_s: float) -> None:
        """Keep `speaking` from the first speech block to the end of the hang-over."""
        if is_speech:
            self._silent_blocks = 0
            if not self._speaking:
                self._speaking = True
                self._date_back(now_s)
                self._listener.begin(self._pre_roll[0].before)
                self._layer.begin()
                self._decision.onset(self._onset_s)
        elif self._speaking:
            self._silent_blocks += 1
            if self._silent_blocks >= self._hang_over_blocks:
                self._end_utterance(was_speech=self._certain)

    def _date_back(self, now_s: float) -> None:
        """Let the utterance begin where the level rose; where it rose too long ago, by how late the gate usually is."""
        if self._attended_blocks > self._pre_roll.maxlen:
            while len(self._pre_roll) > LATE_BLOCKS + 1:
                self._pre_roll.popleft()
        self._onset_s = now_s - len(self._pre_roll) * BLOCK_S

    def _end_utterance(self, *, was_speech: bool) -> None:
        if self._speaking:
            self._listener.end(was_speech=was_speech)
        self._speaking = False
        self._onset_s = self._speech_level_dbfs = None
        self._silent_blocks = self._certain_blocks = 0

    def _hear(self, level: float) -> None:
        """Follow the level of speech over about five blocks."""
        known = self._speech_level_dbfs
        self._speech_level_dbfs = level if known is None else known + 0.2 * (level - known)
