"""`roomtone classify FILE...`: a recording's emotions, as fast as they can be computed."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge.config import EdgeConfig
from edge.errors import InputError, utf8
from edge.hearing.affect import affect
from edge.hearing.decision import settings
from edge.hearing.mood import Moods, fields_of
from edge.hearing.observation import Observation
from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET, UNKNOWN
from edge.model.graph import Model
from edge.model.manifest import Manifest
from edge.sound.blocks import SAMPLE_RATE_HZ, Block, timed_blocks
from edge.sound.recording import read_recording


def nobody(block: Block, observation: Observation) -> None:
    """Listen to nothing."""


def classify(
    path: str | Path,
    model: Model,
    manifest: Manifest,
    config: EdgeConfig,
    *,
    also: Callable[[Block, Observation], None] = nobody,
    tell: Callable[[str], None] = lambda remark: None,
) -> Iterator[dict[str, Any]]:
    """Yield a dict per event, then `{"summary": {...}}`; `also` is given every block and observation on the way,
    and `tell` a line about what of the recording is not there.

    Raises InputError for a recording that cannot be read.
    """
    pipeline = Pipeline(model, manifest, gate=config.gate, decision=config.decision, sensitivity=config.sensitivity)
    summary = _Summary(manifest.labels, pipeline.moods, settings(manifest.decision, config.decision).enter)
    start_s = time.process_time()
    for block in timed_blocks(summary.measured(read_recording(path, tell)), started_at=0.0):
        observation = pipeline.process(block)
        summary.add(observation)
        also(block, observation)
        if observation.change is not None:
            yield {"file": utf8(path), **event(pipeline, observation)}
    if not summary.blocks:
        raise InputError(f"{path}: too short: less than one block of 80 ms")
    duration_s = summary.duration_s
    yield {
        "summary": {
            "file": utf8(path),
            "duration_s": round(duration_s, 3),
            **summary.result(),
            "realtime_factor": round((time.process_time() - start_s) / duration_s, 5),
        }
    }


def event(pipeline: Pipeline, observation: Observation) -> dict[str, Any]:
    """Return a change with the wire's names, but seconds of the recording for times."""
    change, scores = observation.change, observation.scores_of(pipeline.labels)
    return {
        "event_type": change.label,
        "t_s": round(change.at_s, 2),
        "previous": change.previous,
        "confidence": round(change.confidence, 4),
        "previous_duration_ms": round(1_000 * change.previous_duration_s),
        **fields_of(pipeline.moods.of(change.label, change.confidence, observation.scores)),
        "scores": scores,
        **affect(scores),
    }


class _Summary:
    """What a whole recording amounts to: the mean of the model's probabilities over speech."""

    def __init__(self, labels: list[str], moods: Moods, enter: float) -> None:
        self._labels, self._moods, self._enter = labels, moods, enter
        self._total = np.zeros(len(labels))
        self._answers = self._spoken = self.blocks = 0
        self.duration_s = 0.0

    def measured(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass the recording through, and know its whole duration at the end."""
        for chunk in chunks:
            self.duration_s += len(chunk) / SAMPLE_RATE_HZ
            yield chunk

    def add(self, observation: Observation) -> None:
        self.blocks += 1
        self._spoken += observation.speech
        if observation.probs is not None and observation.speech:
            self._total += observation.probs
            self._answers += 1

    def result(self) -> dict[str, Any]:
        mean = self._total / max(1, self._answers)
        best = int(mean.argmax())
        scores = {label: round(float(p), 4) for label, p in zip(self._labels, mean, strict=True)}
        said = self._labels[best] if scores[self._labels[best]] >= self._enter else UNKNOWN
        emotion = said if self._answers else QUIET
        return {
            "emotion": emotion,
            "enter": self._enter,
            **fields_of(self._moods.of(emotion, float(mean[best]) if self._answers else 1.0, mean)),
            "scores": scores,
            **affect(scores if self._answers else {}),
            "speech_ratio": round(self._spoken / self.blocks, 3),
        }


def as_json(line: dict[str, Any]) -> str:
    """Return a line for programs, in ASCII: no terminal's encoding can spoil it."""
    return json.dumps(line)


def as_text(line: dict[str, Any]) -> str:
    """Return a line for people."""
    if "summary" in line:
        told = line["summary"]
        heard = ""
        if told["emotion"] != QUIET:
            best = max(told["scores"], key=told["scores"].get)
            score = told["scores"][best]
            means = [f"{best} {score:.2f}"]
            if told["emotion"] == UNKNOWN:  # all digits there are: what is too little must not look like enough
                means = [f"{best} {score:g}, below {told['enter']:g}"]
            means += [f"{name} {told[name]:+.2f}" for name in ("arousal", "valence") if told[name] is not None]
            heard = f" (mean over speech: {', '.join(means)})"
        faster = 1 / max(told["realtime_factor"], 1e-6)
        return (
            f"  in all: {told['emotion']}{heard}; {told['duration_s']:.1f} s, {told['speech_ratio']:.0%} speech, "
            f"{faster:.0f} times faster than real time"
        )
    return f"  {line['t_s']:7.2f} s  {line['previous']} -> {line['event_type']}  {line['confidence']:.2f}"
