"""`roomtone teach`: lessons from recordings, or from sentences that somebody is asked for at the microphone."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from edge.commands.ear import patience_s, require_leave
from edge.commands.lessons import classroom, in_words
from edge.commands.said import counted
from edge.config import Audio, EdgeConfig
from edge.errors import InputError, RoomtoneError, UnavailableError
from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET
from edge.lessons.lesson import Lesson, as_half, as_log
from edge.lessons.teacher import RefusedError, Teacher
from edge.sound.blocks import BLOCK_S, Block, Fault, timed_blocks
from edge.sound.microphone import Microphone
from edge.sound.recording import read_recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One that the sensor would have said something of. began_at: Unix time. answer: what it made of it at the end, as
    it is taught by now; embedding and own_probs: see edge/hearing/pipeline.py."""

    began_at: float
    answer: np.ndarray
    embedding: np.ndarray
    own_probs: np.ndarray

    def lesson(self, label: str) -> Lesson:
        """Return the lesson that it was this."""
        embedding = as_half(self.embedding)
        event_id = hashlib.sha256(embedding.tobytes()).hexdigest()[:32]  # heard again, it replaces itself
        return Lesson(event_id, label, time.time(), embedding, as_log(self.own_probs))

    def heard(self, labels: Sequence[str]) -> str:
        """Return in words what it was heard as."""
        best = int(self.answer.argmax())
        return f"heard as {labels[best]}, a guess ({100 * self.answer[best]:.0f} %)"


class _Ear:
    """Takes blocks, and returns the utterance that ended with one, if it was one."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._answer: np.ndarray | None = None
        self._began_at, self._certain = 0.0, False

    def take(self, block: Block) -> Utterance | None:
        observation = self._pipeline.process(block)
        if not observation.speaking:
            return self._ended()
        if self._answer is None:
            began_s = block.end_s if observation.onset_s is None else observation.onset_s
            self._began_at = block.captured_at - (block.end_s - began_s)
        self._answer = self._answer if observation.probs is None else observation.probs
        self._certain |= observation.label != QUIET
        return None

    def end(self, now_s: float) -> Utterance | None:
        """There is no more sound."""
        self._pipeline.interrupt(now_s)
        return self._ended()

    def _ended(self) -> Utterance | None:
        answer, certain = self._answer, self._certain
        self._answer, self._certain = None, False
        if answer is None or not certain:
            return None
        pipeline = self._pipeline
        return Utterance(
            began_at=self._began_at, answer=answer, embedding=pipeline.embedding, own_probs=pipeline.own_probs
        )


def from_recordings(
    config: EdgeConfig, files: Sequence[str], label: str, *, tell: Callable[[str], None]
) -> Iterator[str | RoomtoneError]:
    """Take every utterance of recordings for a label; yield a line for each recording, or its error, then the figures.

    tell: is given a line about what of a recording is not there.
    """
    with classroom(config) as (teacher, pipeline):
        _check(label, pipeline)
        for file in files:
            try:
                heard = list(_utterances(pipeline, read_recording(file, tell)))
                if not heard:
                    raise InputError(f"{file}: nobody is heard speaking in it: nothing to learn")
                _add(teacher, heard, label)
                how = "; ".join(utterance.heard(pipeline.labels) for utterance in heard[:3])
                more = ", ..." if len(heard) > 3 else ""
                yield f"{file}: {counted(len(heard), 'utterance')} taught as {label} ({how}{more})"
            except InputError as error:
                yield error
        yield from in_words(teacher)


def guided(
    config: EdgeConfig, label: str | None, rounds: int, *, anyway: bool, tell: Callable[[str], None]
) -> Iterator[str | RoomtoneError]:
    """Ask for sentences at the microphone, and take each for what was asked; yield the lines of that conversation, and
    at its end, or when it is interrupted, the figures. label: ask for this one alone.

    Raises UnavailableError where listening is switched off (`anyway` opens the microphone all the same).
    """
    with classroom(config) as (teacher, pipeline):
        if label is not None:
            _check(label, pipeline)
        require_leave(config, anyway=anyway)
        wanted = [each for _ in range(rounds) for each in ([label] if label else pipeline.labels)]
        asked = counted(len(wanted), "sentence")
        yield f"{asked}, said as you would say it at home; Ctrl-C ends, and what was taught stays."
        try:
            with Microphone(replace(config.audio, give_up_after_s=Audio().give_up_after_s)) as microphone:
                spoken = _spoken(pipeline, microphone.blocks(), tell, patience_s(config.audio))
                for number, each in enumerate(wanted, start=1):
                    yield f"{number}/{len(wanted)}  {each}: say a sentence"
                    asked_at = time.time()
                    heard = next(utterance for utterance in spoken if utterance.began_at > asked_at - 2 * BLOCK_S)
                    _add(teacher, [heard], each)
                    yield f"     {heard.heard(pipeline.labels)}"
        except KeyboardInterrupt:
            yield ""
        yield from in_words(teacher)


def _check(label: str, pipeline: Pipeline) -> None:
    if label not in pipeline.labels:
        raise InputError(f"--label {label}: no label of the model, which are {', '.join(pipeline.labels)}")


def _add(teacher: Teacher, heard: Sequence[Utterance], label: str) -> None:
    for utterance in heard:
        teacher.ended(utterance.embedding, utterance.own_probs)  # it is part of the room's usual self
    try:
        teacher.add([utterance.lesson(label) for utterance in heard])
    except RefusedError as error:
        raise InputError(f"lessons: {error}") from error


def _utterances(pipeline: Pipeline, chunks: Iterable[np.ndarray]) -> Iterator[Utterance]:
    """Yield the utterances of a recording."""
    ear, end_s = _Ear(pipeline), 0.0
    for block in timed_blocks(chunks, started_at=time.time()):
        end_s = block.end_s
        if (heard := ear.take(block)) is not None:
            yield heard
    if (heard := ear.end(end_s)) is not None:
        yield heard


def _spoken(
    pipeline: Pipeline, items: Iterable[Block | Fault], tell: Callable[[str], None], wait_s: float
) -> Iterator[Utterance]:
    """Yield what is said at a microphone. Raises UnavailableError where it delivers nothing for so long."""
    ear, why = _Ear(pipeline), ""
    deadline_s, now_s = time.monotonic() + wait_s, 0.0
    for item in items:
        if isinstance(item, Block):
            deadline_s, now_s = time.monotonic() + wait_s, item.end_s
            heard = ear.take(item)
        else:
            heard = ear.end(now_s)
            if item.detail != why:
                why = item.detail
                tell(f"microphone: {why}")
            if time.monotonic() > deadline_s:
                raise UnavailableError(f"microphone: {why}")
        if heard is not None:
            yield heard
    raise UnavailableError("microphone: it is closed")

