"""Settings that change while the sensor runs: taken from `settings/set`, put into effect, and said on `settings`."""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from edge.config import EdgeConfig
from edge.daemon.permission import Permission
from edge.daemon.preferences import MOST_BYTES, Preferences
from edge.delivery.packets import Word
from edge.errors import ConfigError, printable
from edge.hearing.observation import Observation
from edge.hearing.pipeline import Pipeline
from edge.section import explain
from edge.voice.payloads import Calibration, Settings, SettingsAnswer, SettingsCommand, decoded, rfc3339

log = logging.getLogger("roomtone.settings")

CALIBRATION_S = 30.0
_LONGEST_REASON = 200  # characters
_SPOKEN = 0.02  # of the blocks: more, and the room was not empty
_RARELY = 0.99  # of the blocks are not louder than the noise that the gate is to ignore
_ABOVE_DB, _MOST_RESTLESS_DB = 1.0, 20.0


class Tuning:
    """Holds a sensor's preferences and puts them into effect. say: publishes what holds, once `recall` was called:
    before, it would replace what the broker has of an earlier life.

    `obey` may be called from any thread; all else from the sensor's own.
    """

    def __init__(
        self,
        preferences: Preferences,
        pipeline: Pipeline,
        permission: Permission,
        say: Callable[[Settings], None],
    ) -> None:
        self._preferences, self._pipeline, self._permission, self._say = preferences, pipeline, permission, say
        self._level_before = logging.getLogger().level
        self._calibration = preferences.kept.calibration
        self._began_s: float | None = None  # in seconds of sound; None: not under way
        self._levels: list[float] = []
        self._spoken = 0
        self._asked = self._cancelled = False
        self._answer: SettingsAnswer | None = None
        self._answered = self._taken = False  # since the last turn
        self._recalled = False
        if self._calibration.floor_dbfs is not None:
            pipeline.believe(self._calibration.floor_dbfs)

    @property
    def config(self) -> EdgeConfig:
        return self._preferences.config

    def obey(self, payload: bytes) -> str | None:
        """Take a command; return in words why it is refused, None where it was taken and is remembered. The next `turn`
        puts it into effect, and says what became of it."""
        if not payload:  # how a retained command is taken off the broker
            return "empty"
        why = self._refusal(payload)
        self._answer = SettingsAnswer(done=why is None, reason=why, ts=rfc3339(time.time()))
        self._taken = self._taken or why is None
        self._answered = True
        return why and f"refused: {why}"

    def recall(self, *retained: Word | None) -> None:
        """Brokers answered: this is what each had retained on `settings`. What the state folder has lost of it holds
        again, as the later one has it."""
        first, self._recalled = not self._recalled, True
        if self._takes_up(retained):
            self.apply()
        elif first:
            self._tell()

    def _takes_up(self, retained: Iterable[Word | None]) -> bool:
        """Return whether something of what brokers had retained holds from now on."""
        told = []
        for word in filter(None, retained):
            try:
                told.append(decoded(word.word, Settings))
            except ValueError as error:
                log.warning("settings: what the broker has of them is not taken: %s", printable(str(error)))
        try:
            if not told or not self._preferences.recall(max(told, key=lambda settings: settings.ts)):
                return False
        except (ConfigError, ValueError) as error:
            log.warning("settings: what the broker has of them is not taken: %s", printable(str(error)))
            return False
        log.info("settings: as the broker has them, for there were none here: %s", self._preferences.words)
        if (floor_dbfs := self._preferences.kept.calibration.floor_dbfs) is not None:
            self._pipeline.believe(floor_dbfs)
        return True

    def turn(self) -> None:
        """Put into effect what was obeyed since the last time: however much that was, once."""
        if not self._answered:
            return
        self._answered = False  # first: what is obeyed meanwhile is for the next turn, if it is not seen in this one
        if self._taken:
            self._taken = False
            self.apply()
        else:
            self._tell()

    def _refusal(self, payload: bytes) -> str | None:
        if len(payload) > MOST_BYTES:
            return f"larger than {MOST_BYTES} bytes"
        try:
            command = msgspec.convert(_with_integers(msgspec.json.decode(payload)), SettingsCommand)
            if command.calibrate and (silence := self._permission.refusal()) is not None:
                raise ConfigError(f"calibrate: {silence.detail}, so nothing is heard")
            self._preferences.take(command)
        except (msgspec.MsgspecError, ConfigError, ValueError, RecursionError) as error:
            return printable(_in_words(error, payload))[:_LONGEST_REASON]
        self._asked = self._asked or command.calibrate
        back = command.reset
        self._cancelled = self._cancelled or back is True or (isinstance(back, list) and "calibration" in back)
        return None

    def apply(self) -> None:
        """Put into effect what holds, and say so."""
        config, kept = self.config, self._preferences.kept
        if self._cancelled:
            self._cancelled, self._began_s = False, None
        if self._began_s is None:
            self._calibration = kept.calibration
        self._pipeline.tune(config.sensitivity, restless_db=kept.calibration.restless_db or 0.0)
        self._permission.quiet(self._preferences.quiet_clock)
        level = config.log_level.upper() if "log_level" in self._preferences.names else self._level_before
        logging.getLogger().setLevel(level)
        if self._asked:
            self._asked, self._began_s = False, -1.0  # the next block begins it
            self._levels, self._spoken = [], 0
            self._calibration = replace(kept.calibration, state="running", ts=rfc3339(time.time()))
        self._tell()

    def hear(self, observation: Observation) -> None:
        """Take part in a calibration, where one is under way."""
        if self._began_s is None:
            return
        if self._began_s < 0:
            self._began_s = observation.at_s
        self._levels.append(observation.level_dbfs)
        self._spoken += observation.speech
        if observation.at_s - self._began_s >= CALIBRATION_S:
            self._finish()

    def interrupted(self) -> None:
        """Nothing is heard any more."""
        if self._began_s is not None:
            self._end("interrupted")

    def _finish(self) -> None:
        if self._spoken > _SPOKEN * len(self._levels):
            self._end("spoken")
            return
        floor = float(np.clip(min(self._levels), -120.0, 0.0))
        loudest = float(np.quantile(self._levels, _RARELY))
        restless = min(_MOST_RESTLESS_DB, max(0.0, loudest - floor + _ABOVE_DB))
        known = Calibration(
            state="done", ts=rfc3339(time.time()), floor_dbfs=round(floor, 1), restless_db=round(restless, 1)
        )
        self._preferences.calibrated(known)
        self._pipeline.believe(floor)
        self._end("done")

    def _end(self, how: str) -> None:
        self._began_s = None
        kept = self._preferences.kept.calibration
        if how != "done":
            log.warning("calibration: %s; what was known before holds", how)
        self.apply()
        self._calibration = kept if how == "done" else replace(kept, state=how, ts=rfc3339(time.time()))
        self._tell()

    def _tell(self) -> None:
        if self._recalled:
            self._say(self._preferences.said(self._calibration, self._answer))


def _with_integers(value: Any) -> Any:
    """Return what was decoded of JSON with 60.0 as 60: to JSON, and to the schema's `integer`, they are one number."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _with_integers(inner) for key, inner in value.items()}
        case list():
            return [_with_integers(inner) for inner in value]
    return value


def _in_words(error: Exception, payload: bytes) -> str:
    """Return what is wrong with a command, as the same mistake in the configuration would be told."""
    words = str(error)
    if isinstance(error, msgspec.ValidationError):
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            words = explain(words, "", msgspec.json.decode(payload), SettingsCommand).lstrip(".: ")
    return " ".join(words.split())
