"""What has not been acknowledged yet: events in memory while the broker answers, on disk from the moment it does not.

Driven by seconds of a monotonic clock, without a thread. An event is *live*, after a second *late*: it is committed to
the store (store.py), as is all at the end. Late events go out in order; live ones pass only very many of them. An event
is in one of these places, and has a `row` where the store holds it, too:
    _live     new, in memory                  _batch      late, read back from the store, next to be sent
    _unsaved  late, not in the store (yet)    _flying     sent, not acknowledged
    store     late, on disk                   _delivered  acknowledged, its row not deleted yet
"""

import logging
from collections import deque
from dataclasses import dataclass

import msgspec

from edge.delivery.store import Store
from edge.voice.payloads import Event

log = logging.getLogger("roomtone.outbox")

COMMIT_AFTER_S = 1.0
MANY = 1_000  # late events; up to here everything goes out in order
LIVE_WAIT_S = 0.5  # how long a live event stands behind more late events than that
MEMORY_EVENTS = 1_000  # late events kept where there is no store, or while it fails
_TOGETHER_S = 0.25  # events this much younger than an overdue one share its commit: each wears the card
_STORE_RETRY_S = 10.0
_BATCH = 200


@dataclass(slots=True)
class _Item:
    event: Event
    added_s: float
    late: bool = False
    row: int | None = None  # in the store


class Outbox:
    """The events that wait, in the order of `seq`. Without a store, late ones wait in memory."""

    def __init__(self, store: Store | None) -> None:
        self.problem: str | None = None  # why late events are not safe on disk
        self.lost = 0  # events that were neither delivered nor safe at the end
        self._store = store
        self._dropped = 0
        self._live: deque[_Item] = deque()
        self._unsaved: deque[_Item] = deque()
        self._batch: deque[_Item] = deque()
        self._flying: dict[str, _Item] = {}  # by event id
        self._delivered: list[int] = []  # rows
        self._generation = 0  # of the store's file
        self._read_to, self._unread = 0, False  # the row up to which the store was read back; whether there are more
        self._online_s = self._store_due_s = 0.0
        if store is not None:
            self._try(store.open_existing, 0.0)
            self._unread = store.rows > 0 or self.problem is not None

    @property
    def depth(self) -> int:
        """How many events are not acknowledged."""
        flying = sum(item.row is None for item in list(self._flying.values()))  # a copy: others ask, too
        stored = self._store.rows - len(self._delivered) if self._store else 0
        return len(self._live) + len(self._unsaved) + flying + stored

    @property
    def last_seq(self) -> int:
        """The highest `seq` that an earlier life left, 0 without one."""
        return self._store.last_seq if self._store else 0

    @property
    def dropped(self) -> int:
        """How many were given up, oldest first, because no more could be kept."""
        return self._dropped + (self._store.dropped if self._store else 0)

    @property
    def idle(self) -> bool:
        """Whether nothing waits that is not safe in the store."""
        return not self._live and not self._unsaved and all(item.row is not None for item in self._flying.values())

    def oldest_seq(self) -> int | None:
        """Return the lowest `seq` that an earlier life left, None without one."""
        found = self._try(lambda: self._store.read(0, 1), 0.0) if self._store else None
        return found[0][1].seq if found else None

    def add(self, event: Event, now_s: float) -> None:
        """Take a new event."""
        self._live.append(_Item(event, now_s))

    def connected(self, now_s: float) -> None:
        """The broker can be spoken to (again)."""
        self._online_s = now_s

    def disconnected(self) -> None:
        """The connection is gone: what is not acknowledged will be sent again."""
        items, self._flying = list(self._flying.values()), {}
        self._return(items)

    def take(self, now_s: float) -> Event | None:
        """Return the next event to send, None if there is none."""
        late = self._late(now_s)
        if self._live and (not late or (self._many() and now_s >= self._live_turn_s())):
            late = self._live
        if not late:
            return None
        item = late.popleft()
        self._flying[item.event.event_id] = item
        return msgspec.structs.replace(item.event, late=True) if item.late else item.event

    def acknowledged(self, event_id: str) -> None:
        """The broker has it."""
        item = self._flying.pop(event_id, None)
        if item is not None and item.row is not None:
            self._delivered.append(item.row)

    def refused(self, event_id: str) -> None:
        """The broker will not have it: keep it."""
        item = self._flying.pop(event_id, None)
        if item is not None:
            self._return([item])

    def tick(self, now_s: float) -> None:
        """Commit what is overdue, and forget what was delivered."""
        if self._live and now_s >= self._live[0].added_s + COMMIT_AFTER_S:
            while self._live and now_s >= self._live[0].added_s + COMMIT_AFTER_S - _TOGETHER_S:
                self._keep(self._live.popleft())
        self._save(now_s, all_flying=False)
        if self._deletable():
            self._forget(now_s)

    def due_s(self, now_s: float) -> float | None:
        """Return when, after a `tick` at `now_s`, the next has something to do; None if nothing will by itself."""
        disk = [item.added_s + COMMIT_AFTER_S for item in self._flying.values() if item.row is None]
        if self._unsaved or self._unread or self._deletable():
            disk.append(now_s)
        times = [max(time_s, self._store_due_s) for time_s in disk] if self._store else []
        if self._live:
            times += [self._live[0].added_s + COMMIT_AFTER_S]
            times += [self._live_turn_s()] if self._many() else []
        return min((time_s for time_s in times if time_s > now_s), default=None)

    def close(self, now_s: float) -> None:
        """Commit all that waits."""
        while self._live:
            self._keep(self._live.popleft())
        self._store_due_s = 0.0
        self._forget(now_s)
        self._save(now_s, all_flying=True)
        if self._store is not None:
            self._store.close()
        self.lost = len(self._unsaved) + sum(item.row is None for item in self._flying.values())
        if self.lost:
            log.error("%d events that were not delivered are lost: %s", self.lost, self.problem or "no state folder")

    def _many(self) -> bool:
        return self._store is not None and self._store.rows - len(self._delivered) > MANY

    def _live_turn_s(self) -> float:
        return max(self._live[0].added_s, self._online_s) + LIVE_WAIT_S

    def _deletable(self) -> bool:
        """Whether rows are worth a commit to delete: many, or the last that were in hand."""
        in_hand = self._batch or any(item.row is not None for item in self._flying.values())
        return len(self._delivered) >= _BATCH or (bool(self._delivered) and not in_hand)

    def _late(self, now_s: float) -> deque[_Item]:
        """Return the queue whose first is the oldest late event; an empty one if there is none."""
        if not self._batch and self._unread and now_s >= self._store_due_s:
            self._forget(now_s)
            found = self._try(lambda: self._store.read(self._read_to, _BATCH), now_s)
            self._unread = found is None or bool(found)
            for row, event in found or ():
                self._read_to = row
                if event.event_id not in self._flying:
                    self._batch.append(_Item(event, now_s, late=True, row=row))
        return self._batch or self._unsaved

    def _keep(self, item: _Item) -> None:
        item.late = True
        self._unsaved.append(item)

    def _return(self, items: list[_Item]) -> None:
        """Take back what flew: what the store holds is read again, the rest goes where it came from."""
        rows = [item.row for item in (*items, *self._batch) if item.row is not None]
        if rows:
            self._batch.clear()
            self._read_to, self._unread = min(rows) - 1, True
        late = [item for item in items if item.row is None and item.late]
        live = [item for item in items if item.row is None and not item.late]
        self._unsaved = deque(sorted([*self._unsaved, *late], key=_seq))
        self._live = deque(sorted([*self._live, *live], key=_seq))

    def _save(self, now_s: float, *, all_flying: bool) -> None:
        """Commit the late events, flying ones too (those may yet be acknowledged)."""
        flying = [
            item
            for item in self._flying.values()
            if item.row is None and (all_flying or now_s >= item.added_s + COMMIT_AFTER_S)
        ]
        items = sorted([*self._unsaved, *flying], key=_seq)
        if items and self._store is not None and now_s >= self._store_due_s:
            dropped = self._store.dropped
            rows = self._try(lambda: self._store.append([item.event for item in items]), now_s)
            if rows is not None:
                for item, row in zip(items, rows, strict=True):
                    item.row = row
                self._unread = self._unread or bool(self._unsaved)
                self._unsaved = deque(item for item in self._unsaved if item.row is None)
                if self._store.dropped > dropped == 0:
                    log.error("the outbox is full (edge.outbox): the oldest events are dropped")
        while len(self._unsaved) > MEMORY_EVENTS:
            if self._dropped == 0:
                log.error("%d late events in memory and no disk to put them on: the oldest are dropped", MEMORY_EVENTS)
            self._unsaved.popleft()
            self._dropped += 1

    def _forget(self, now_s: float) -> None:
        if self._delivered and self._try(lambda: self._store.delete(self._delivered) or True, now_s):
            self._delivered.clear()

    def _try(self, action, now_s: float):
        """Run something on the store; None, with `problem` set and the store left alone for a while, if it fails."""
        try:
            done = action()
        except OSError as error:
            problem = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            if problem != self.problem:
                log.error("late events stay in memory only: %s", problem)
            self.problem, self._store_due_s = problem, now_s + _STORE_RETRY_S
            return None
        if self._store.generation != self._generation:
            self._start_over()
        if self.problem is not None and self.problem != self._store.damaged:
            log.info("%s can be used again", self._store.path)
        self.problem = self._store.damaged
        return done

    def _start_over(self) -> None:
        """The store's file is a new one: rows of the old one mean nothing any more, what is in memory still does."""
        self._generation = self._store.generation
        self._delivered.clear()
        self._read_to, self._unread = 0, self._store.rows > 0
        for item in (*self._batch, *self._flying.values()):
            item.row = None
        self._unsaved = deque(sorted([*self._unsaved, *self._batch], key=_seq))
        self._batch.clear()


def _seq(item: _Item) -> int:
    return item.event.seq
