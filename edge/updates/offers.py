"""The sensor's side: what is published to its ring is judged, installed or offered, and said on `model`.

One `Updates` lives as long as its sensor runs one model: with a new one, all begins anew.
"""

import hashlib
import logging
import threading
import time
from collections import deque
from contextlib import suppress

from edge.config import EdgeConfig
from edge.delivery.brokers.first import Command
from edge.delivery.link import Link
from edge.errors import printable
from edge.model.record import Entry, entry_of
from edge.model.store import Store, store_of
from edge.model.trial import Chosen, Trial
from edge.updates.admission import Asked, Verdict, judge
from edge.voice.models import MOST_BYTES, MOST_LETTERS, OFFERED, Install, Model, ModelFile, ring_topic
from edge.voice.payloads import decoded, rfc3339

log = logging.getLogger("roomtone.models")

LONGEST_BYTES = 200  # of a command
_ENDING_S = 5.0
_AGAIN_S = 600.0  # after something that kept a model from being judged, and may pass
# Whoever may publish could keep the sensor's processor busy: so many are judged in such a time.
_MOST, _WITHIN_S = 20, 1_200.0


class Updates:
    """Says which model runs, and takes those that are offered. `turned` and `end` belong to the sensor's thread.

    takes: whether it may, and is configured to; else it only says.
    """

    def __init__(self, config: EdgeConfig, chosen: Chosen, *, takes: bool) -> None:
        self._settings = config.model_store
        self._store: Store | None = store_of(config) if config.model is None else None
        self.takes = takes and self._settings.updates != "never" and self._store is not None
        self._running = entry_of(chosen.artifact)
        self._trial: Trial | None = chosen.trial
        self._since = time.time()
        self._link: Link | None = None
        self._saying, self._waking = threading.Lock(), threading.Condition()
        self._newest: bytes | None = None  # what came last from the ring, and waits to be judged
        self._again: bytes | None = None  # what could not be judged, and will be
        self._seen = b""  # the hash of what was judged last
        self._kept = b""  # what `model/install` may ask for
        self._insists = self._ended = self._due = False  # insists: somebody did ask
        self._judged_s: deque[float] = deque(maxlen=_MOST)  # when
        self._thread: threading.Thread | None = None
        self._verdict = self._at_first()

    @property
    def due(self) -> bool:
        """Whether another model was installed than the one that runs: it wants to be begun with."""
        return self._due

    @property
    def commands(self) -> dict[str, Command]:
        """What obeys, by topic, or says why it does not."""
        return {"model/install": self._obey if self.takes else lambda payload: "refused: none is taken over the air"}

    def attach(self, link: Link) -> None:
        """Say how it stands, and hear of what is offered. Before the link starts."""
        self._link = link
        if self.takes:
            link.listen(ring_topic(self._settings.ring), self.offer)
        self._tell()

    def turned(self) -> None:
        """The sensor's loop turned: a trial may be over."""
        if self._trial is not None and self._trial.over:
            self._trial = None
            self._since = time.time()
            self._conclude(Verdict(result="installed", entry=self._running))
            with self._waking:
                self._waking.notify_all()

    def end(self) -> None:
        """The sensor ends, or begins anew."""
        with self._waking:
            self._ended = True
            self._waking.notify_all()
        if self._thread is not None:
            self._thread.join(_ENDING_S)

    def offer(self, data: bytes) -> None:
        """This is what the ring has now; nothing where it was taken away. From any thread."""
        with self._waking:
            self._newest = data
            self._waking.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="models", daemon=True)
                self._thread.start()

    def _obey(self, payload: bytes) -> str | None:
        """Take `model/install`, from any thread; return why it is not obeyed."""
        try:
            told = decoded(payload if len(payload) <= LONGEST_BYTES else b"", Install)
        except ValueError:
            return 'not as the contract has it: {"sha256": "offered"}, or that of the model'
        with self._waking:
            verdict = self._verdict
            if verdict.result not in ("offered", "went-back") or not self._kept:
                return "refused: no model is offered"
            if told.sha256 not in (OFFERED, verdict.entry.digest):
                return "refused: another model is offered by now"
            self._insists = True
            self._waking.notify_all()
        return None

    def _work(self) -> None:
        while (job := self._next()) is not None:
            data, insists = job
            mark = hashlib.sha256(data).digest()
            if insists or mark != self._seen:
                self._seen = mark
                self._consider(data, insists=insists)

    def _next(self) -> tuple[bytes, bool] | None:
        """Return what is to be judged, and whether somebody insists on it; None at the end. Nothing during a trial."""

        def ready() -> bool:
            settled = self._trial is None and not self._due
            return self._ended or (settled and (self._newest is not None or self._insists))

        with self._waking:
            if len(self._judged_s) == _MOST:
                rest_s = self._judged_s[0] + _WITHIN_S - time.monotonic()
                self._waking.wait_for(lambda: self._ended or self._insists, max(0.0, rest_s))
            waited = self._waking.wait_for(ready, None if self._again is None else _AGAIN_S)
            if self._ended:
                return None
            if self._insists:
                self._insists = False
                return self._kept, True
            data = self._newest if waited else self._again
            self._newest = self._again = None
            return data, False

    def _consider(self, data: bytes, *, insists: bool) -> None:
        if not data:
            self._kept = b""
            if self._verdict.result in ("offered", "refused"):
                self._conclude(Verdict(result="none"))
            return
        if len(data) > MOST_BYTES:
            verdict = Verdict(result="refused", reason=f"larger than {MOST_BYTES} bytes")
        elif self._runs(data):
            verdict = Verdict(result="installed", entry=self._running)
        else:
            asked = Asked(
                folder=str(self._store.folder), trusted_keys=self._settings.trusted_keys, running=self._running.digest,
                install=insists or self._settings.updates == "auto", insist=insists,
            )  # fmt: skip
            self._judged_s.append(time.monotonic())
            verdict = judge(asked, data)
        self._kept = data if verdict.result in ("offered", "went-back") else b""
        if verdict.passing:
            self._again, self._seen = data, b""
        self._conclude(verdict)
        self._due = verdict.result == "trying"

    def _runs(self, data: bytes) -> bool:
        """Return whether this is the file of the model that runs, which needs no second look at every start."""
        with suppress(OSError):
            return (self._store.folder / self._running.file).read_bytes() == data
        return False

    def _at_first(self) -> Verdict:
        """Return how it stands where nothing was offered yet in this life."""
        if self._trial is not None:
            return Verdict(result="trying", entry=self._running)
        rejected = self._store.read().rejected if self._store is not None else None
        if rejected is not None:
            return Verdict(result="went-back", entry=rejected.entry, reason=rejected.reason)
        return Verdict(result="none")

    def _conclude(self, verdict: Verdict) -> None:
        if verdict != self._verdict:
            what = "what was offered" if verdict.entry is None else f"model {_file(verdict.entry).model}"
            level = logging.WARNING if verdict.result in ("refused", "went-back") else logging.INFO
            log.log(level, "%s: %s%s", what, verdict.result, f": {printable(verdict.reason)}" if verdict.reason else "")
        self._verdict = verdict
        self._tell()

    def _tell(self) -> None:
        with self._saying:
            verdict = self._verdict
            self._link.retain("model", Model(
                ts=rfc3339(time.time()),
                installed=_file(self._running),
                since=rfc3339(self._since),
                updates=self._settings.updates if self.takes else "never",
                ring=self._settings.ring,
                offered=verdict.entry and _file(verdict.entry),
                result=verdict.result,
                reason=verdict.reason and printable(verdict.reason)[:MOST_LETTERS],
            ))  # fmt: skip


def _file(entry: Entry) -> ModelFile:
    """Return a model as it is told: what its maker wrote into it is bounded."""
    called, created = (printable(text)[:MOST_LETTERS] for text in (entry.model_id, entry.created))
    return ModelFile(model=called, created=created, sha256=entry.digest)
