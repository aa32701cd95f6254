"""Whether the sensor may listen: what people switched, quiet hours, and nothing before the switch is known."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from edge.daemon.listening import Listening
from edge.daemon.quiet_hours import QuietClock
from edge.daemon.switch import Switch, latest, setting_of
from edge.delivery.brokers.first import Came
from edge.delivery.packets import Word
from edge.errors import UnavailableError
from edge.sound.blocks import Block, Fault
from edge.sound.faults import explain
from edge.voice.payloads import unix_s

log = logging.getLogger("roomtone")

# Who may forbid it.
SWITCH = "switch"  # people, by the command `listening/set`
NOT_KNOWN = "not known"  # nobody yet, but the broker may know of somebody
QUIET_HOURS = "quiet hours"
CLOCK_EVERY_S = 1.0
_TOLD_WITHIN_S, _ASKS_EVERY_S = 20.0, 0.05  # whether listening is on
WAITING = Fault(reason="starting", detail="waiting for the broker to tell whether listening is on")


class Permission:
    """Opens and closes a source by `listening`. None of those: it is nobody's room, and nothing is waited for."""

    def __init__(self, listening: Listening | None, switch: Switch | None, clock: QuietClock) -> None:
        self._listening = listening or Listening()
        self._waits = listening is not None
        self._switch, self._switching = switch or Switch(None), threading.Lock()
        self._quiet_clock, self._clock_due_s = clock, 0.0
        self._recalled = False

    def begin(self) -> None:
        """Forbid what is to be forbidden from the start. Only after this may a microphone be opened."""
        self._look_at_the_clock()
        if self._switch.setting is not None:
            self._obey()
        elif self._waits:
            self._listening.set(NOT_KNOWN, False)
            log.info("microphone: %s", WAITING.detail)

    @property
    def known(self) -> bool:
        """Whether it is known if people want it, so that sound that waits need wait no longer."""
        return not self._listening.forbids(NOT_KNOWN)

    def obey(self, word: bytes, came: Came) -> str | None:
        """People switch it, which then holds over a restart; return why it is not done. From any thread."""
        if word not in (b"ON", b"OFF"):
            return "neither ON nor OFF, which is all it takes"
        if word == b"ON" and self._switch.off_elsewhere(came.broker, came.waited_since_s):
            return "ON, but had waited at one broker while it was switched OFF through the other: send it again"
        when = "" if self._recalled else ", which may have waited at the broker while the sensor was away"
        log.info("microphone: switched %s by a command on listening/set%s", word.decode(), when)
        self._switch_to(on=word == b"ON", broker=came.broker)
        return None

    def recall(self, *retained: Word | None) -> None:
        """Brokers answered: this is what each had retained on `listening`."""
        with self._switching:
            self._recalled = True
            self._switch.recall(latest(*map(setting_of, retained)))
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

    @property
    def off_since_s(self) -> float | None:
        """Since when, in Unix seconds, people have it switched off; None where they have not, or nobody knows."""
        setting = self._switch.setting
        return None if setting is None or setting.on or setting.ts is None else min(unix_s(setting.ts), time.time())

    def word(self) -> Word:
        """Return what is to be retained on `listening`, once it is known. Waits for what is being written."""
        with self._switching:
            return self._switch.setting.word()

    def _switch_to(self, *, on: bool, broker: str | None) -> None:
        with self._switching:
            if not on:
                self._listening.set(SWITCH, False)  # before anything else is done
            self._switch.turn(on=on, broker=broker)
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


def once_known(
    permission: Permission, begun: Callable[[], Iterator[Block]], stopping: Callable[[], bool], broker: str
) -> Iterator[Block | Fault]:
    """Yield a recording's blocks: as a microphone, it is not begun before the switch is known. Raises UnavailableError
    where the broker does not tell, for whoever plays one waits for its end."""
    until_s = time.monotonic() + _TOLD_WITHIN_S
    while not permission.known and not stopping():
        if time.monotonic() > until_s:
            silence = f"did not tell within {_TOLD_WITHIN_S:.0f} s whether listening is on"
            raise UnavailableError(f"broker {broker}: {silence}: nothing was heard")
        yield WAITING
        time.sleep(_ASKS_EVERY_S)
    yield from begun()
