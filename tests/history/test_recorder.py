"""What rooms say is kept exactly once, whatever happens to the recorder, the broker and the disk; gaps are gaps."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import yaml

from edge.config import EdgeConfig, Mqtt
from edge.delivery.past import Writer
from edge.history.place import opened
from edge.history.taken import Taken, event_of, unpacked
from edge.history.told.days import Day
from edge.voice.payloads import Timeline, rfc3339
from tests.support.broker import HOST, Broker
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.postgres import Postgres
from tests.support.rooms import QUIET, Room, Rooms
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber
from tests.support.system import lacking

DURABLE = "autosave_on_changes true\nautosave_interval 1"  # what a broker that forgets nothing needs


class Recording:
    """`roomtone history record` as a process that can be killed, and begun again."""

    def __init__(self, folder: Path, port: int, store: str, **edge: object) -> None:
        self.store = store
        self._log = folder / "recorder.log"
        self._config = folder / "recorder.yaml"
        self._config.write_text(yaml.safe_dump({"edge": {"mqtt": {"host": HOST, "port": port}, **edge}}))
        self.process: subprocess.Popen | None = None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self, *, first: bool = False) -> None:
        command = [sys.executable, "-m", "edge", "--config", str(self._config), "history", "record"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([*command, "--store", self.store], stdout=log, stderr=log, cwd=ROOT)
        if first:
            wait_until(lambda: "hears every room" in self.log, lambda: self.log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextmanager
def recording(folder: Path, port: int, store: str, **edge: object) -> Iterator[Recording]:
    made = Recording(folder, port, store, **edge)
    made.start(first=True)
    try:
        yield made
    finally:
        made.kill()


def kept_events(store: str) -> dict[str, list[Taken]]:
    """Return what is kept, by the name of its room."""
    history = opened(EdgeConfig(), store)
    columns = ", ".join(f"event.{name}" for name in Taken._fields)
    names = dict(history.engine.ask("SELECT room, name FROM room"))
    found: dict[str, list[Taken]] = {}
    for row in map(Taken._make, history.engine.ask(f"SELECT {columns} FROM event ORDER BY ts_ms")):
        found.setdefault(names[row.room], []).append(row)
    history.engine.close()
    return found


def kept_minutes(store: str) -> dict[str, dict[int, dict[str, int]]]:
    """Return how long each label held, by room and minute, quiet too."""
    history = opened(EdgeConfig(), store)
    names = dict(history.engine.ask("SELECT room, name FROM room"))
    found: dict[str, dict[int, dict[str, int]]] = {name: {} for name in names.values()}
    for minute, room, heard_ms in history.engine.ask("SELECT minute, room, heard_ms FROM minute"):
        found[names[room]][minute] = {QUIET: heard_ms}
    for minute, room, label, ms in history.engine.ask("SELECT minute, room, label, ms FROM minute_label"):
        found[names[room]][minute][label] = ms
        found[names[room]][minute][QUIET] -= ms
    history.engine.close()
    return {name: {minute: {label: ms for label, ms in labels.items() if ms} for minute, labels in minutes.items()}
            for name, minutes in found.items()}  # fmt: skip


def all_kept(rooms: Rooms, store: str) -> bool:
    kept = kept_events(store)
    return all(len(kept.get(room.name, ())) >= len(room.said) for room in rooms.rooms)


def check_kept(rooms: Rooms, store: str) -> dict[str, int]:
    """Every event once, as it was said; every minute as it was; return the figures."""
    kept, events = kept_events(store), 0
    for room in rooms.rooms:
        found = kept.get(room.name, [])
        assert sorted(unpacked(row.event_id) for row in found) == sorted(room.said)
        for row in found:
            event, said = event_of(row), room.said[unpacked(row.event_id)]
            assert (event.ts, event.event_type, event.previous, event.previous_duration_ms, event.confidence,
                    event.arousal, event.model) == (said.ts, said.event_type, said.previous,
                    said.previous_duration_ms, said.confidence, said.arousal, said.model)  # fmt: skip
        events += len(found)
    minutes = kept_minutes(store)
    for room in rooms.rooms:
        assert minutes[room.name] == room.heard_ms()
    heard = sum(len(found) for found in minutes.values())
    spans = sum(int(room.told_until // 60 - room.runs[0][0] // 60) for room in rooms.rooms if room.runs)
    return {"events": events, "minutes": heard, "minutes that are gaps": spans - heard}


def run_kills(tmp_path: Path, store: str, *, rooms: int, kills: int, broker_kills: int) -> dict[str, int]:
    dice = random.Random(25)
    with (
        Broker(tmp_path / "broker", extra=DURABLE) as broker,
        recording(tmp_path, broker.port, store) as recorder,
        Rooms(broker.port, tmp_path / "outboxes", rooms, hour_s=8.0, begins=time.time() - 20 * 3_600) as speaking,
    ):
        plan = ["recorder"] * kills + ["broker"] * broker_kills
        dice.shuffle(plan)
        for whom in plan:
            time.sleep(dice.uniform(0.3, 3.0))
            if whom == "recorder":
                recorder.kill()
            else:
                with speaking.silent():
                    broker.kill()
            time.sleep(dice.uniform(0.0, 2.0))
            (recorder if whom == "recorder" else broker).start()
        time.sleep(1.0)
        speaking.hush()
        wait_until(speaking.delivered)
        wait_until(lambda: all_kept(speaking, store), lambda: recorder.log, every_s=0.5)
        time.sleep(1.0)  # for what comes twice
        assert recorder.stop() == 0  # which keeps the last minutes
        return check_kept(speaking, store)


def test_killed_and_killed_again_it_keeps_every_event_once(tmp_path, store):
    figures = run_kills(tmp_path, store, rooms=4, kills=3, broker_kills=1)
    assert figures["events"] > 10
    assert figures["minutes"] > 10


@pytest.mark.slow
def test_killed_twenty_times_while_fifty_rooms_speak_it_keeps_every_event_once(tmp_path, store):
    print("\n", run_kills(tmp_path, store, rooms=50, kills=20, broker_kills=10))


def test_a_second_recorder_of_a_store_is_told_of_the_first(tmp_path, broker, store):
    with recording(tmp_path, broker.port, store) as recorder:
        (tmp_path / "second").mkdir()
        second = Recording(tmp_path / "second", broker.port, store)
        second.start()
        assert second.process.wait(PATIENCE_S) == 74
        assert f"another recorder keeps this store ({'roomtone' if '://' in store else 'process'} " in second.log
        assert str(recorder.process.pid) in second.log
        assert second.log.count("\n") == 1
        recorder.kill()
        second.start(first=True)  # a claim ends with who has it
        assert second.stop() == 0


def test_a_recorder_of_another_store_that_ends_takes_nobody_with_it(tmp_path, broker, new_store):
    (tmp_path / "second").mkdir()
    with (
        recording(tmp_path, broker.port, new_store()),
        Subscriber(broker.port, "roomtone/history/recorder") as asking,
    ):
        asking.wait_for(lambda w: w.messages and w.messages[-1].payload == "online")
        with recording(tmp_path / "second", broker.port, new_store()) as second:
            assert second.stop() == 0
        asking.wait_for(lambda w: [each.payload for each in w.messages][-2:] == ["offline", "online"])
        with Subscriber(broker.port, "roomtone/history/recorder") as newcomer:
            assert newcomer.wait_for(lambda w: w.messages)[0].payload == "online"


def test_of_a_sensor_that_went_while_the_recorder_was_away_everything_told_is_kept(tmp_path, broker, new_store):
    store = new_store()
    with (
        recording(tmp_path, broker.port, store) as recorder,
        Rooms(broker.port, tmp_path / "outboxes", 1, hour_s=4.0, begins=time.time() - 20 * 3_600) as speaking,
    ):
        wait_until(lambda: sum(map(len, kept_events(store).values())) > 2)
        recorder.kill()
        time.sleep(2.0)
        speaking.hush()
        wait_until(speaking.delivered)
        [room] = speaking.rooms
        room.link.stop()
        recorder.start()
        wait_until(lambda: all_kept(speaking, store), lambda: recorder.log, every_s=0.5)
        wait_until(lambda: recorder.log.count("hears every room") == 2, lambda: recorder.log)
        time.sleep(1.0)
        assert recorder.stop() == 0
        check_kept(speaking, store)


def test_a_day_of_many_sensors_is_kept_whole(tmp_path, broker, new_store):
    """As many runs as are held at once, and no more: they are kept before their minute comes."""
    store, begin = new_store(), time.time() // 60 * 60 - 86_400
    labels = ("happy", "sad", QUIET)
    runs = [(rfc3339(begin + 60 * at), labels[at % 3], 0.8) for at in range(1_440)]
    day = msgspec.json.encode(Timeline(ts=rfc3339(begin + 86_400), runs=runs))
    names = [f"room-{number}" for number in range(35)]
    with Writer(Mqtt(host=HOST, port=broker.port), "many") as sensors:
        for name in names:
            sensors.put(f"roomtone/{name}/timeline", day)
    with recording(tmp_path, broker.port, store) as recorder:
        wait_until(lambda: len(kept_minutes(store)) == len(names), lambda: recorder.log, every_s=0.5)
        assert recorder.stop() == 0
    kept = kept_minutes(store)
    first = int(begin // 60)
    assert kept["room-7"] == {first + at: {labels[at % 3]: 60_000} for at in range(1_440)}
    assert all(kept[name] == kept["room-7"] for name in names)


def test_means_are_not_carried_over_the_time_without_a_broker(tmp_path, new_store):
    store = new_store()
    with Broker(tmp_path / "broker", extra=DURABLE) as broker, recording(tmp_path, broker.port, store) as recorder:
        room = Room.begin("attic", broker.port, tmp_path)
        began = float(int(time.time()))
        room.change(began, "happy", 0.8)
        room.state(began, level_dbfs=-33.0)
        wait_until(lambda: room.link.problem is None and kept_events(store).get("attic"), lambda: recorder.log)
        broker.kill()
        time.sleep(1.0)
        broker.start()
        wait_until(lambda: recorder.log.count("connection lost") and room.link.problem is None, lambda: recorder.log)
        lost = time.time()  # or before, in this minute or an earlier one
        room.tell_day(lost + 110)
        time.sleep(1.0)
        assert recorder.stop() == 0  # which keeps the last minutes
        history = opened(EdgeConfig(), store)
        levels = dict(history.engine.ask("SELECT minute, level_dbfs FROM minute"))
        history.engine.close()
        room.link.stop()
        assert levels[began // 60] == -33
        assert levels[lost // 60 + 1] is None


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of its own, soon full."""
    if os.geteuid() != 0:
        lacking("a small disk is mounted as root")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill a disk to its last byte; return the file that does."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1_000_000, 1_000, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return filler


def run_full_disk(tmp_path: Path, store: str, disk: Path, mend: Callable[[], None]) -> None:
    """Fill the store's disk while rooms speak, kill the recorder, and `mend` what else a full disk ended."""

    def all_is_kept() -> bool:
        if recorder.process.poll() is not None:  # it gave up, now or later: its service starts it again
            recorder.start()
        return all_kept(speaking, store)

    with (
        Broker(tmp_path / "broker", extra=DURABLE) as broker,
        recording(tmp_path, broker.port, store) as recorder,
        Rooms(broker.port, tmp_path / "outboxes", 4, hour_s=4.0, begins=time.time() - 20 * 3_600) as speaking,
    ):
        wait_until(lambda: sum(map(len, kept_events(store).values())) > 5)
        filler = fill(disk)
        wait_until(lambda: "waits at the broker" in recorder.log, lambda: recorder.log)
        time.sleep(3.0)
        recorder.kill()  # and what it had taken comes again
        recorder.start()
        time.sleep(1.0)
        filler.unlink()
        mend()
        speaking.hush()
        wait_until(speaking.delivered)
        wait_until(all_is_kept, lambda: recorder.log, every_s=0.5)
        assert recorder.stop() == 0
        check_kept(speaking, store)


def test_what_is_too_old_goes_once_a_sensor_agrees_what_time_it_is(tmp_path, broker, store):
    """A clock that is years ahead would otherwise cost the whole history."""
    history = opened(EdgeConfig(), store, create=True)
    then = round(1_000 * (time.time() - 500 * 86_400))
    history.take_days({"cellar": (Day(((then - 600_000, then, "happy"),), then), [])})
    history.engine.close()
    with recording(tmp_path, broker.port, store, history={"minutes_days": 400}):
        time.sleep(3.0)
        assert kept_minutes(store)["cellar"]
        with Rooms(broker.port, tmp_path / "outboxes", 1, hour_s=1.0, begins=time.time() - 3_600):
            wait_until(lambda: not kept_minutes(store)["cellar"])


def test_a_full_disk_costs_nothing_once_there_is_room_again(tmp_path):
    with small_disk(tmp_path / "disk", 4) as disk:
        run_full_disk(tmp_path, str(disk / "history.sqlite"), disk, lambda: None)


def test_nor_does_that_of_a_database(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg is not installed (roomtone[postgres])")
    with small_disk(tmp_path / "disk", 160) as disk, Postgres(disk / "server") as server:

        def mend() -> None:
            if not server.runs:  # where there was no place for its log; its service starts it again
                server.start()

        run_full_disk(tmp_path, server.address, disk, mend)


def test_a_database_that_goes_away_costs_nothing(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg is not installed (roomtone[postgres])")
    with (
        Postgres(tmp_path / "server") as server,
        Broker(tmp_path / "broker", extra=DURABLE) as broker,
        recording(tmp_path, broker.port, server.address) as recorder,
        Rooms(broker.port, tmp_path / "outboxes", 4, hour_s=4.0, begins=time.time() - 20 * 3_600) as speaking,
    ):
        for _ in range(2):
            said = recorder.log.count("waits at the broker")
            server.kill()
            wait_until(lambda: recorder.log.count("waits at the broker") > said, lambda: recorder.log)  # noqa: B023
            server.start()
            wait_until(lambda: recorder.log.count("keeps history again") > 0, lambda: recorder.log)
        speaking.hush()
        wait_until(speaking.delivered)
        wait_until(lambda: all_kept(speaking, server.address), lambda: recorder.log, every_s=0.5)
        assert recorder.stop() == 0
        check_kept(speaking, server.address)
