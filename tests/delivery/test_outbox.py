"""The outbox against a plain list of what was made and what was acknowledged; power cuts are copies of its folder."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.config import EdgeConfig
from edge.daemon.kept import durable_outbox
from edge.delivery.outbox import COMMIT_AFTER_S, LIVE_WAIT_S, MANY, MEMORY_EVENTS, Outbox
from edge.delivery.store import Store
from edge.state_folder import state_folder
from edge.voice.payloads import Event
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT
from tests.support.system import killed_at, require_program


def make_event(number: int) -> Event:
    return Event(
        event_id=f"event-{number:06d}",
        event_type="happy" if number % 2 else "quiet",
        ts="2026-01-31T12:00:00.000Z",
        previous="quiet" if number % 2 else "happy",
        confidence=0.5,
        previous_duration_ms=1_000,
        seq=number,
        model="test-1",
    )


def make_outbox(folder: Path, *, rows: int = 10_000, size: int = 10_000_000) -> Outbox:
    return Outbox(Store(folder / "outbox.sqlite", max_rows=rows, max_bytes=size))


def drain(outbox: Outbox, now_s: float = 1e6, *, window: int = 20) -> list[Event]:
    """Take and acknowledge everything, a window at a time."""
    got: list[Event] = []
    outbox.connected(now_s)
    while True:
        sent = []
        while len(sent) < window and (event := outbox.take(now_s)) is not None:
            sent.append(event)
        for event in sent:
            outbox.acknowledged(event.event_id)
        outbox.tick(now_s)
        if not sent:
            return got
        got += sent


def numbers(events: list[Event]) -> list[int]:
    return [event.seq for event in events]


def after_a_power_cut(folder: Path, elsewhere: Path) -> Path:
    """Return a copy of the folder as the disk holds it at this moment."""
    shutil.copytree(folder, elsewhere)
    return elsewhere


def test_what_is_acknowledged_within_a_second_never_touches_the_disk(tmp_path):
    folder = tmp_path / "state"
    outbox = make_outbox(folder)
    outbox.connected(0.0)
    for number in range(100):
        outbox.add(make_event(number), float(number))
        event = outbox.take(number + 0.1)
        assert (event.seq, event.late) == (number, False)
        outbox.tick(number + 0.5)
        outbox.acknowledged(event.event_id)
        outbox.tick(number + 0.9)
        assert outbox.depth == 0
        assert outbox.due_s(number + 0.9) is None
    outbox.close(200.0)
    assert not folder.exists()


COMMITS = """
import sys
from pathlib import Path
from edge.delivery.store import Store
from tests.delivery.test_outbox import make_event
store = Store(Path(sys.argv[1]) / "outbox.sqlite", max_rows=100, max_bytes=100_000)
for number in range(20):
    store.append([make_event(number)])
"""


def test_every_commit_is_on_the_disk_itself(tmp_path):
    strace = require_program("strace", "strace")
    trace = tmp_path / "trace"
    command = [strace, "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(trace), sys.executable, "-c", COMMITS]
    subprocess.run([*command, str(tmp_path)], check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert sum("outbox.sqlite-wal" in line for line in trace.read_text().splitlines()) >= 20


@pytest.mark.parametrize("sent", [False, True])
def test_after_a_second_an_event_survives_a_power_cut(tmp_path, sent):
    outbox = make_outbox(tmp_path / "state")
    outbox.connected(0.0)
    outbox.add(make_event(7), 0.0)
    if sent:
        outbox.take(0.0)
    assert outbox.due_s(0.5) <= COMMIT_AFTER_S
    outbox.tick(COMMIT_AFTER_S - 0.01)
    assert not (tmp_path / "state").exists()
    outbox.tick(COMMIT_AFTER_S)
    revived = make_outbox(after_a_power_cut(tmp_path / "state", tmp_path / "copy"))
    assert revived.last_seq == revived.oldest_seq() == 7
    assert [(event.seq, event.late) for event in drain(revived)] == [(7, True)]
    assert list((tmp_path / "copy").iterdir()) != []  # the file goes with the process that closes it
    revived.close(0.0)
    assert list((tmp_path / "copy").iterdir()) == []


def test_an_orderly_end_commits_even_the_youngest(tmp_path):
    outbox = make_outbox(tmp_path)
    outbox.connected(0.0)
    for number in range(5):
        outbox.add(make_event(number), 0.0)
    outbox.take(0.0)
    outbox.close(0.1)
    assert numbers(drain(make_outbox(tmp_path))) == [0, 1, 2, 3, 4]


def test_a_few_late_events_come_first_however_long_it_takes(tmp_path):
    outbox = make_outbox(tmp_path)
    for number in range(MANY):
        outbox.add(make_event(number), 0.0)
    outbox.tick(2.0)
    outbox.connected(10.0)
    outbox.add(make_event(5_000), 10.0)
    got = drain(outbox, 10.9)
    assert numbers(got) == [*range(MANY), 5_000]
    assert [event.late for event in got] == [True] * MANY + [False]


def test_many_late_events_come_in_order_but_never_hold_up_a_live_one(tmp_path):
    outbox = make_outbox(tmp_path)
    for number in range(2 * MANY):
        outbox.add(make_event(number), 0.0)
    outbox.tick(2.0)
    outbox.connected(10.0)
    assert numbers([outbox.take(10.0) for _ in range(3)]) == [0, 1, 2]
    outbox.add(make_event(5_000), 10.0)
    assert outbox.take(10.0 + LIVE_WAIT_S / 2).seq == 3
    live = outbox.take(10.0 + LIVE_WAIT_S)
    assert (live.seq, live.late) == (5_000, False)
    late = outbox.take(10.0 + LIVE_WAIT_S)
    assert (late.seq, late.late) == (4, True)


def test_beyond_the_bounds_the_oldest_go_and_are_counted(tmp_path):
    by_rows = make_outbox(tmp_path / "rows", rows=10)
    by_size = make_outbox(tmp_path / "size", size=3_000)
    for number in range(25):
        for outbox in (by_rows, by_size):
            outbox.add(make_event(number), float(number))
            outbox.tick(number + COMMIT_AFTER_S)
    assert (by_rows.dropped, by_rows.depth) == (15, 10)
    assert numbers(drain(by_rows)) == list(range(15, 25))
    kept = numbers(drain(by_size))
    assert kept == list(range(25 - len(kept), 25))
    assert 5 <= len(kept) <= 15
    assert by_size.dropped == 25 - len(kept)


def test_what_is_under_way_or_delivered_is_not_sent_again(tmp_path):
    outbox = make_outbox(tmp_path)
    outbox.connected(0.0)
    for number in range(4):
        outbox.add(make_event(number), 0.0)
    flying = [outbox.take(0.0) for _ in range(4)]
    outbox.tick(1.0)  # committed while they are under way
    outbox.add(make_event(4), 1.0)
    outbox.tick(2.0)  # and this one behind them
    assert outbox.take(2.0).seq == 4
    assert outbox.take(2.0) is None
    outbox.acknowledged(flying[2].event_id)  # before its elders
    outbox.disconnected()
    assert numbers(drain(outbox, 3.0)) == [0, 1, 3, 4]


def test_a_refused_event_is_kept(tmp_path):
    outbox = make_outbox(tmp_path)
    outbox.connected(0.0)
    for number in range(3):
        outbox.add(make_event(number), 0.0)
    taken = [outbox.take(0.0) for _ in range(3)]
    for event in taken:
        outbox.refused(event.event_id)
    outbox.tick(20.0)
    assert outbox.depth == 3
    assert numbers([outbox.take(60.0) for _ in range(3)]) == [0, 1, 2]


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "garbage":
        data = bytearray(random.Random(1).randbytes(50_000))
    elif how == "truncated":
        del data[len(data) // 2 :]
    else:
        for at in range(100, len(data), 97):
            data[at] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["garbage", "truncated", "flipped"])
def test_a_damaged_file_is_moved_aside_and_said(tmp_path, how, caplog):
    caplog.set_level("INFO")
    first = make_outbox(tmp_path)
    for number in range(500):
        first.add(make_event(number), 0.0)
    first.close(1.0)
    damage(tmp_path / "outbox.sqlite", how)
    outbox = make_outbox(tmp_path)
    outbox.add(make_event(1_000), 0.0)
    outbox.tick(2.0)
    assert "moved aside to outbox.sqlite.damaged" in outbox.problem
    assert sum("moved aside" in record.message for record in caplog.records) == 1
    assert not any("can be used again" in record.message for record in caplog.records)
    assert (tmp_path / "outbox.sqlite.damaged").exists()
    assert numbers(drain(outbox)) == [1_000]


MOVES_ASIDE = """
import sys
from pathlib import Path
import msgspec
from edge.delivery.store import Store
from edge.voice.payloads import Event
event = msgspec.json.decode(sys.argv[2], type=Event)
Store(Path(sys.argv[1]), max_rows=100, max_bytes=10**6).append([event])
"""


@pytest.mark.parametrize("call", ["rename", "unlink"])
def test_a_kill_while_a_damaged_file_is_moved_aside_leaves_none_of_it_in_the_new_one(tmp_path, call):
    """Killed by strace as it enters the n-th such call, for every n there is; the old file's log lies beside it."""
    old = tmp_path / "old"
    for first in (1_000, 1_300):  # the first are in the file itself, the others in its log
        store = Store(old / "outbox.sqlite", max_rows=10_000, max_bytes=10_000_000)
        store.append([make_event(number) for number in range(first, first + 300)])
        if first == 1_000:
            store.close()
    folder = tmp_path / "state"
    shutil.copytree(old, folder)  # as a power cut leaves it: with its log
    store.close()
    assert (folder / "outbox.sqlite-wal").stat().st_size > 0
    (folder / "outbox.sqlite").write_bytes(random.Random(1).randbytes(50_000))
    shutil.copytree(folder, tmp_path / "kept")
    for number in range(1, 20):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "kept", folder)
        done = subprocess.run(
            [*killed_at(call, number), sys.executable, "-c", MOVES_ASIDE, folder / "outbox.sqlite",
             msgspec.json.encode(make_event(2))], cwd=ROOT, timeout=PATIENCE_S, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        outbox = make_outbox(folder)
        outbox.add(make_event(3), 0.0)
        outbox.tick(2.0)
        assert numbers(drain(outbox)) in ([3], [2, 3])
        assert (folder / "outbox.sqlite.damaged").exists()
        if done.returncode == 0:
            break
    assert (done.returncode, number > 1) == (0, True)


def test_a_file_damaged_while_in_use_loses_nothing_that_is_in_memory(tmp_path):
    outbox = make_outbox(tmp_path)
    for number in range(300):
        outbox.add(make_event(number), 0.0)
    outbox.tick(2.0)
    outbox.connected(3.0)
    flying = [outbox.take(3.0) for _ in range(20)]
    # Close and damage behind its back, as a dying card would.
    outbox._store._database.close()
    (tmp_path / "outbox.sqlite-wal").unlink(missing_ok=True)
    damage(tmp_path / "outbox.sqlite", "garbage")
    outbox._store._database = sqlite3.connect(tmp_path / "outbox.sqlite")
    outbox.add(make_event(900), 3.0)
    outbox.tick(5.0)
    assert "damaged" in outbox.problem
    outbox.disconnected()
    assert {event.seq for event in flying} | {900} <= set(numbers(drain(outbox)))


def test_without_a_usable_folder_late_events_wait_in_memory(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    outbox = make_outbox(tmp_path / "file" / "state")
    for number in range(MEMORY_EVENTS + 10):
        outbox.add(make_event(number), 0.0)
    for second in range(1, 60):
        outbox.tick(float(second))
    assert "Not a directory" in outbox.problem
    assert sum("in memory only" in record.message for record in caplog.records) == 1
    assert (outbox.depth, outbox.dropped) == (MEMORY_EVENTS, 10)
    got = drain(outbox, 60.0)
    assert numbers(got) == list(range(10, MEMORY_EVENTS + 10))
    assert all(event.late for event in got)


def test_memory_alone_is_enough_without_a_store():
    outbox = Outbox(None)
    outbox.add(make_event(1), 0.0)
    outbox.tick(5.0)
    assert [(event.seq, event.late) for event in drain(outbox)] == [(1, True)]
    assert outbox.due_s(100.0) is None


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_nothing_and_is_used_again_when_there_is_room(small_disk, tmp_path):
    (small_disk / "ballast").write_bytes(bytes(950_000))
    outbox = make_outbox(small_disk)
    for number in range(600):
        outbox.add(make_event(number), number / 100)
        outbox.tick(number / 100)
    outbox.tick(8.0)
    assert "full" in outbox.problem or "No space left" in outbox.problem
    assert outbox.depth == 600
    (small_disk / "ballast").unlink()
    outbox.tick(30.0)
    assert outbox.problem is None
    revived = make_outbox(after_a_power_cut(small_disk, tmp_path / "copy"))
    got = numbers(drain(revived))
    assert got == sorted(got)
    assert numbers(drain(outbox, 31.0)) == list(range(600))


def test_a_read_only_folder_is_said_and_used_again_when_it_is_not(small_disk):
    outbox = make_outbox(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for number in range(50):
        outbox.add(make_event(number), 0.0)
    outbox.tick(2.0)
    assert "read-only" in outbox.problem.lower() or "unable to open" in outbox.problem
    assert outbox.depth == 50
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    outbox.tick(20.0)
    assert outbox.problem is None
    assert numbers(drain(make_outbox(after_a_power_cut(small_disk, small_disk / "copy")))) == list(range(50))
    assert numbers(drain(outbox)) == list(range(50))


def test_the_state_folder_is_systemds_or_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert state_folder(None) == Path("/home/somebody/.local/state/roomtone")
    assert "`~/.local/state/roomtone/`" in (ROOT / "deploy" / "privacy.md").read_text()  # what to wipe
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert state_folder(None) == Path("/xdg/roomtone")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/roomtone:/other")
    assert state_folder(None) == Path("/var/lib/roomtone")
    assert state_folder("/mine") == Path("/mine")
    assert durable_outbox(EdgeConfig(state_folder=str(tmp_path / "none"))).depth == 0
    assert not (tmp_path / "none").exists()


class OutboxMachine(RuleBasedStateMachine):
    """Everything that can happen to an outbox, in any order, against lists of what was made and acknowledged."""

    @initialize(tmp=st.just(None))
    def begin(self, tmp):
        self.folder = Path(tempfile.mkdtemp(prefix="outbox-"))
        self.outbox = make_outbox(self.folder / "state")
        self.now_s = 0.0
        self.made = 0
        self.at_risk: set[int] = set()  # made less than a second ago
        self.flying: list[int] = []
        self.acknowledged: set[int] = set()  # in this life
        self.first_heard: list[int] = []
        self.online = False
        self.lives = 0

    def hear(self, event: Event) -> None:
        if event.seq not in self.first_heard:
            self.first_heard.append(event.seq)

    @rule(count=st.integers(1, 30))
    def make(self, count):
        for _ in range(count):
            self.outbox.add(make_event(self.made), self.now_s)
            self.at_risk.add(self.made)
            self.made += 1

    @rule(seconds=st.sampled_from([0.1, 0.4, 1.0, 3.0]))
    def wait(self, seconds):
        self.now_s += seconds
        self.outbox.tick(self.now_s)
        if seconds >= COMMIT_AFTER_S:
            self.at_risk.clear()

    @rule()
    def connect(self):
        self.online = True
        self.outbox.connected(self.now_s)

    @precondition(lambda self: self.online)
    @rule(count=st.integers(1, 20))
    def send(self, count):
        while len(self.flying) < count and (event := self.outbox.take(self.now_s)) is not None:
            assert event.seq not in self.flying
            assert event.seq not in self.acknowledged
            self.flying.append(event.seq)

    @precondition(lambda self: self.flying)
    @rule(count=st.integers(1, 20))
    def acknowledge(self, count):
        for number in self.flying[:count]:
            event = make_event(number)
            self.hear(event)
            self.outbox.acknowledged(event.event_id)
            self.acknowledged.add(number)
        del self.flying[:count]

    @precondition(lambda self: self.online)
    @rule(heard=st.integers(0, 20))
    def lose_connection(self, heard):
        for number in self.flying[:heard]:
            self.hear(make_event(number))
        self.flying.clear()
        self.online = False
        self.outbox.disconnected()

    @rule(orderly=st.booleans())
    def restart(self, orderly):
        if orderly:
            self.outbox.close(self.now_s)
            folder = self.folder / "state"
        else:
            lost = self.at_risk - set(self.first_heard)
            self.first_heard += sorted(lost)  # promised to nobody
            if self.lives > 40:
                return
            folder = self.folder / f"life-{self.lives}"
            if (self.folder / "state").exists():
                shutil.copytree(self.folder / "state", folder)
                self.outbox._store._database and self.outbox._store._database.close()
                shutil.rmtree(self.folder / "state")
                shutil.move(folder, self.folder / "state")
        self.lives += 1
        self.at_risk.clear()
        self.acknowledged.clear()
        self.flying.clear()
        self.online = False
        self.outbox = make_outbox(self.folder / "state")

    @invariant()
    def nothing_is_lost(self):
        if not hasattr(self, "outbox"):
            return
        assert self.outbox.depth >= self.made - len(self.first_heard)

    def teardown(self):
        if not hasattr(self, "outbox"):
            return
        self.outbox.disconnected()
        for event in drain(self.outbox, self.now_s + 100.0):
            self.hear(event)
        assert sorted(self.first_heard) == list(range(self.made))
        assert self.outbox.depth == 0
        self.outbox.close(0.0)
        shutil.rmtree(self.folder)


OutboxMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)
TestOutboxMachine = OutboxMachine.TestCase
