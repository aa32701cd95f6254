"""Whether the sensor may listen: what people switched, quiet hours, and nothing before the switch is known."""

import logging
import threading
import time

from edge.daemon.listening import Listening
from edge.daemon.quiet_hours import QuietClock
from edge.daemon.switch import Switch, setting_of
from edge.delivery.packets import Word
from edge.sound.blocks import Fault
from edge.sound.faults import explain

log = logging.getLogger("roomtone")

# Who may forbid it.
SWITCH = "switch"  # people, by the command `listening/set`
NOT_KNOWN = "not known"  # nobody yet, but the broker may know of somebody
QUIET_HOURS = "quiet hours"
CLOCK_EVERY_S = 1.0
WAITING = Fault(reason="starting", detail="waiting for the broker to tell whether listening is on")


class Permission:
    """Opens and closes a source by `listening`. None of those: there is no microphone, and nothing to wait for."""

    def __init__(self, listening: Listening | None, switch: Switch | None, clock: QuietClock) -> None:
        self._listening = listening or Listening()
        self._waits = listening is not None
        self._switch, self._switching = switch or Switch(None), threading.Lock()
        self._quiet_clock, self._clock_due_s = clock, 0.0

    def begin(self) -> None:
        """Forbid what is to be forbidden from the start. Only after this may a microphone be opened."""
        self._look_at_the_clock()
        if self._switch.setting is not None:
            self._obey()
        elif self._waits:
            self._listening.set(NOT_KNOWN, False)
            log.info("microphone: %s", WAITING.detail)

    def obey(self, word: bytes) -> str | None:
        """People switch it, which then holds over a restart; return why a word says neither. From any thread."""
        if word not in (b"ON", b"OFF"):
            return "neither ON nor OFF, which is all it takes"
        self._switch_to(on=word == b"ON")
        return None

    def recall(self, retained: Word | None) -> None:
        """The broker answered: this is what it had retained on `listening`."""
        with self._switching:
            self._switch.recall(setting_of(retained))
            self._obey()

    def quiet(self, clock: QuietClock) -> None:
        """These are the quiet hours from now on."""
        self._quiet_clock, self._clock_due_s = clock, 0.0

    def refusal(self) -> Fault | None:
        """Return why nobody may listen now; None where the sensor may."""
        self._look_at_the_clock()
        if self._listening.on:
            return None
        if self._listening.forbids(NOT_KNOWN):
            return WAITING
        if self._listening.forbids(SWITCH):
            other = self._switch.left_by
            return Fault(reason="off", detail=explain("off", f"as the sensor {other} of this machine" if other else ""))
        return Fault(reason="quiet-hours", detail=explain("quiet-hours", self._quiet_clock.words))

    def word(self) -> Word:
        """Return what is to be retained on `listening`, once it is known. Waits for what is being written."""
        with self._switching:
            return self._switch.setting.word()

    def _switch_to(self, *, on: bool) -> None:
        with self._switching:
            if not on:
                self._listening.set(SWITCH, False)  # before anything else is done
            self._switch.turn(on=on)
            self._obey()

    def _obey(self) -> None:
        self._listening.set(SWITCH, self._switch.setting.on)
        self._listening.set(NOT_KNOWN, True)

    def _look_at_the_clock(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._clock_due_s:
            self._clock_due_s = now_s + CLOCK_EVERY_S
            self._listening.set(QUIET_HOURS, not self._quiet_clock.quiet(time.time()))
            self._switch.keep(now_s)
