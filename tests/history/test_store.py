"""What is kept, in both kinds of stores: once, as it was said, no longer than it may be, and not what was forgotten."""

import itertools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from edge.config import EdgeConfig
from edge.history import schema
from edge.history.answers import answer
from edge.history.engine import StoreError
from edge.history.looking import HOURS_OF_WEEK, names, past, steps
from edge.history.place import opened
from edge.history.store import History
from edge.history.taken import Taken, event_of, taken
from edge.history.told.days import Day
from edge.history.told.samples import Sample
from edge.voice.payloads import Event, rfc3339
from edge.voice.sequence import uuid7

NOW_S = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
DAY_MS = 86_400_000


@pytest.fixture
def kept(store: str) -> Iterator[History]:
    history = opened(EdgeConfig(), store, create=True)
    yield history
    history.engine.close()


def event(at_s: float = NOW_S, **fields) -> Event:
    base = {"event_id": uuid7(at_s), "event_type": "happy", "ts": rfc3339(at_s), "previous": "quiet",
            "confidence": 0.7123, "previous_duration_ms": 3_280, "seq": 1, "model": "test-1"}  # fmt: skip
    return Event(**base | fields)


def packed(said: Event) -> Taken:
    found = taken(msgspec.json.encode(said))
    assert isinstance(found, Taken), found
    return found


def events(history: History) -> list[Event]:
    rows = history.engine.ask(f"SELECT {', '.join(Taken._fields)} FROM event ORDER BY ts_ms, seq")
    return [event_of(Taken._make(row)) for row in rows]


def count(history: History, table: str) -> int:
    return history.engine.ask(f"SELECT count(*) FROM {table}")[0][0]


def day(until_s: float, *spans: tuple[float, float, str]) -> tuple[Day, list[Sample]]:
    """Times of hearing in seconds before `until_s`, each with its label, and a state every 30 s."""
    heard = tuple((round(1_000 * (until_s - begin)), round(1_000 * (until_s - end)), label)
                  for begin, end, label in spans)  # fmt: skip
    states = [Sample(round(1_000 * (until_s - at)), -50.0, 0.25, 0.5, -0.5, False) for at in range(7_200, 0, -30)]
    return Day(heard, round(1_000 * until_s)), states


def test_an_event_is_kept_as_it_was_said_and_once(kept):
    whole = event(mood="bright", mood_confidence=0.8, arousal=0.55, valence=-0.4, speech_ratio=0.1, snr_db=36.9,
                  level_dbfs=-27.7, bandwidth_hz=8_000, late=True, seq=1_795_353_717_251)  # fmt: skip
    for field in msgspec.structs.fields(Event):
        set_here = field.name == "schema" or getattr(whole, field.name) != field.default
        assert set_here, f"{field.name}: give it a value here: is it kept?"
    bare = event(NOW_S + 1)
    assert kept.take([("kitchen", packed(whole)), ("attic", packed(bare)), ("kitchen", packed(whole))]) == 2
    assert kept.take([("kitchen", packed(whole))]) == 0
    assert events(kept) == [whole, bare]


@pytest.mark.parametrize("event_id", ["e1", "x" * 15, "x" * 16, "x" * 64, "01A217AC-1E7F-7D21-8C36-90DD2C35F5BF", "é"])
def test_an_id_need_not_be_one_of_ours(kept, event_id):
    said = event(event_id=event_id)
    assert kept.take([("kitchen", packed(said))]) == 1
    assert [each.event_id for each in events(kept)] == [event_id]


HOSTILE = [
    b"", b"{}", b"null", b"\xff\xfe", b"[" * 10_000, b'{"x":' + b"[" * 5_000,
    *(msgspec.json.encode(msgspec.to_builtins(event()) | fields) for fields in (
        {"seq": 2**64 - 1}, {"previous_duration_ms": 2**63}, {"bandwidth_hz": 2**31}, {"seq": -1}, {"late": "no"},
        {"event_type": "a\0b"}, {"event_type": "\u202eyppah"}, {"model": "m" * 1_000}, {"event_id": "i" * 65},
        {"model": "\x1b[2J"}, {"level_dbfs": 1e300}, {"snr_db": -1e300}, {"ts": "2026-13-45T12:00:00Z"}, {"ts": "now"},
        {"confidence": 2}, {"previous": ""},
        {"ts": "1969-12-31T23:59:59Z"},
    )),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_what_cannot_be_kept_is_no_event(number):
    assert isinstance(taken(HOSTILE[number]), str)


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b'{"span": "\xff"}', b'{"x":' + b"[" * 5_000,
                                     b'{"span": "week", "time_zone": "Mars/Olympus"}'])  # fmt: skip
def test_a_question_that_makes_no_sense_is_answered_so(kept, payload):
    told = answer(kept, payload, NOW_S)
    assert told.rooms == []
    assert "unknown time zone" in told.problem if b"Mars" in payload else told.problem.startswith("no question: ")


def test_whatever_passes_for_an_event_every_store_takes(kept):
    """The largest, the smallest and the strangest that `taken` lets through."""
    strange = [
        event(
            NOW_S, seq=2**63 - 1, previous_duration_ms=2**63 - 1, bandwidth_hz=2**31 - 1, level_dbfs=1e9, snr_db=-1e9
        ),
        event(0.0, event_type="ü" * 64, model="'; DROP TABLE event; --", seq=0),
        event(253_402_300_799.0, event_type="幸せ", previous="\\", seq=2),
    ]
    assert kept.take([("kitchen", packed(each)) for each in strange]) == len(strange)
    assert sorted(each.seq for each in events(kept)) == sorted(each.seq for each in strange)


def test_a_day_that_is_told_again_adds_what_is_new(kept):
    first = day(NOW_S - 600, (3_600, 1_800, "happy"), (1_800, 0, "quiet"))
    again = day(NOW_S, (4_200, 2_400, "happy"), (2_400, 0, "quiet"))
    assert kept.take_days({"kitchen": first}) == 60
    assert kept.take_days({"kitchen": first}) == 0
    assert kept.take_days({"kitchen": again}) == 10
    assert count(kept, "minute") == 70
    assert kept.engine.ask("SELECT sum(ms) FROM minute_label") == [(1_800_000,)]


def test_minutes_that_come_after_their_hour_was_summed_up_are_in_it(kept):
    kept.sum_up(int(NOW_S // 3_600))
    kept.take_days({"attic": day(NOW_S, (7_200, 5_400, "sad"), (5_400, 3_600, "quiet"))})
    assert kept.engine.ask("SELECT heard_ms, level_dbfs, speech_permille, arousal_permille FROM hour") == [
        (3_600_000, -50, 250, 500)
    ]
    assert kept.engine.ask("SELECT label, ms FROM hour_label") == [("sad", 1_800_000)]


def filled(kept: History) -> None:
    for name in ("kitchen", "attic"):
        kept.take([(name, packed(event(NOW_S - 86_400 * back, seq=back))) for back in range(5)])
        for back in (3, 0):
            until_s = NOW_S - 86_400 * back
            kept.take_days({name: day(until_s, (7_200, 3_600, "happy"), (3_600, 0, "quiet"))})
    kept.sum_up(int(NOW_S // 3_600))


def told(kept: History, name: str) -> tuple[int, int, int]:
    """Return how many rows there are of a room; where it has no name any more, of those that have none."""
    named = names(kept.engine)
    of = [room for room, known in named.items() if known == name]
    which = f"= {of[0]}" if of else f"NOT IN ({', '.join(map(str, [-1, *named]))})"
    return tuple(kept.engine.ask(f"SELECT count(*) FROM {table} WHERE room {which}")[0][0]
                 for table in ("event", "minute", "hour"))  # fmt: skip


def test_a_room_that_is_forgotten_is_gone_and_stays_so_and_no_other(kept):
    filled(kept)
    before = told(kept, "attic")
    gone = kept.forget("kitchen", before_ms=None, now_ms=round(1_000 * NOW_S))
    assert gone == {
        "event": 5,
        "minute": 240,
        "minute_label": 120,
        "hour": 4,
        "hour_label": 2,
        "day": 2,
        "day_label": 2,
    }
    assert told(kept, "kitchen") == (0, 0, 0)
    assert told(kept, "attic") == before == (5, 240, 4)
    # The broker still has the last day, and a sensor what it could not deliver.
    kept.take_days({"kitchen": day(NOW_S + 90, (7_200, 0, "happy"))})
    kept.take([("kitchen", packed(event(NOW_S - 5))), ("kitchen", packed(event(NOW_S + 5)))])
    assert told(kept, "kitchen")[:2] == (1, 2)


def test_the_last_minute_of_a_sensor_that_went_is_kept_as_far_as_it_is_told(kept):
    def last() -> list[tuple]:
        both = "minute JOIN minute_label USING (room, minute)"
        sql = f"SELECT heard_ms, level_dbfs, label, ms FROM {both} WHERE minute = {round(NOW_S / 60)}"
        return kept.engine.ask(sql)

    at_39_s = day(NOW_S + 39, (1_239, 0, "happy"))
    kept.take_days({"kitchen": at_39_s})
    assert last() == [(39_000, -50, "happy", 39_000)]
    kept.take_days({"kitchen": (at_39_s[0], [])})  # as a recorder that was begun anew is told of it
    assert last() == [(39_000, -50, "happy", 39_000)]
    kept.take_days({"kitchen": day(NOW_S + 51, (1_251, 6, "happy"))})
    assert last() == [(45_000, -50, "happy", 45_000)]
    kept.sum_up(round(NOW_S / 3_600) + 1)
    kept.take_days({"kitchen": day(NOW_S + 61, (1_261, 1, "happy"))})
    assert last() == [(60_000, -50, "happy", 60_000)]
    assert told(kept, "kitchen")[1] == 21
    assert kept.engine.ask("SELECT sum(heard_ms) FROM hour") == [(1_260_000,)]


def test_the_name_of_a_forgotten_room_is_gone_until_it_says_something_new(kept):
    filled(kept)
    kept.forget("kitchen", before_ms=None, now_ms=round(1_000 * NOW_S))
    assert list(names(kept.engine).values()) == ["attic"]
    assert "kitchen" not in [name for (name,) in kept.engine.ask("SELECT name FROM room")]
    # What the broker still has names nobody: a timeline of before, and an event that could not be delivered.
    kept.take_days({"kitchen": day(NOW_S - 90, (7_200, 0, "happy"))})
    kept.take([("kitchen", packed(event(NOW_S - 5)))])
    assert list(names(kept.engine).values()) == ["attic"]
    kept.take([("kitchen", packed(event(NOW_S + 5)))])
    assert list(names(kept.engine).values()) == ["attic", "kitchen"]
    assert kept.forget("kitchen", before_ms=None, now_ms=round(1_000 * NOW_S) + 10_000)["event"] == 1
    kept.take_days({"kitchen": day(NOW_S + 150, (7_200, 0, "happy"))})
    assert told(kept, "kitchen")[:2] == (0, 2)  # what was forgotten before it was forgotten again stays so


def test_what_was_before_a_day_is_forgotten_and_what_came_after_is_not(kept):
    filled(kept)
    midnight_ms = round(1_000 * datetime(2026, 11, 24, tzinfo=UTC).timestamp())
    gone = kept.forget("kitchen", before_ms=midnight_ms, now_ms=round(1_000 * NOW_S))
    assert (gone["event"], gone["minute"], gone["hour"]) == (3, 120, 2)
    assert told(kept, "kitchen") == (2, 120, 2)
    kept.take([("kitchen", packed(event(NOW_S - 3 * 86_400)))])
    assert told(kept, "kitchen") == (2, 120, 2)


def test_nothing_of_what_is_forgotten_is_left_in_the_file(tmp_path):
    path = tmp_path / "history.sqlite"
    kept = opened(EdgeConfig(), str(path), create=True)
    kept.take([("kitchen", packed(event(NOW_S + at, model="tell-tale", seq=at))) for at in range(2_000)])
    size = kept.engine.size_bytes()

    def found() -> bool:
        everything = b"".join(each.read_bytes() for each in tmp_path.glob("history.sqlite*"))
        return b"tell-tale" in everything or b"kitchen" in everything

    assert found()
    kept.forget("kitchen", before_ms=None, now_ms=round(1_000 * NOW_S))
    assert not found()
    assert kept.engine.size_bytes() < size / 4
    assert path.stat().st_mode & 0o777 == 0o600
    kept.engine.close()


def test_what_is_older_than_it_may_be_goes(kept):
    filled(kept)
    now_ms = round(1_000 * NOW_S)
    kept.expire({"event": now_ms - DAY_MS - 1, "minute": now_ms - DAY_MS, "minute_label": now_ms - DAY_MS, "hour": 0,
                 "hour_label": 0})  # fmt: skip
    assert told(kept, "kitchen") == (2, 120, 4)
    assert count(kept, "minute_label") == 120


def test_a_store_of_version_1_becomes_one_of_now(store):
    old = opened(EdgeConfig(), store, create=True).engine  # makes the file, or the database's tables
    with old.writing() as work:
        for table in ("kept", "room", "event", "minute", "minute_label", "hour", "hour_label", "day", "day_label",
                      "roomtone_history"):  # fmt: skip
            work.do(f"DROP TABLE {table}")
    schema.prepare(old, schema.VERSIONS[:1])
    assert old.ask("SELECT version FROM roomtone_history") == [(1,)]
    with old.writing() as work:
        work.do("INSERT INTO kept VALUES (1, 'roomtone-history-old', 7)")
        work.do("INSERT INTO room (room, name, until_minute) VALUES (1, 'kitchen', ?)", (round(NOW_S // 60) - 10,))
        said = event(seq=5)
        work.each(f"INSERT INTO event VALUES ({', '.join('?' * len(Taken._fields))})", [packed(said)._replace(room=1)])
        hours = [(1, 24 * 7 + hour, 3_600_000, 0, -50 - hour, 10, None, None) for hour in (3, 5, 25)]
        work.each("INSERT INTO hour VALUES (?, ?, ?, ?, ?, ?, ?, ?)", hours)
        work.each("INSERT INTO hour_label VALUES (1, ?, 'sad', 1000)", [(hour,) for _, hour, *_ in hours])
    old.close()
    now = opened(EdgeConfig(), store)
    assert now.engine.ask("SELECT version FROM roomtone_history") == [(len(schema.VERSIONS),)]
    assert now.client_id == "roomtone-history-old"
    assert events(now) == [said]
    assert now.engine.ask("SELECT day, heard_ms, level_dbfs FROM day ORDER BY day") == [(7, 7_200_000, -54),
                                                                                       (8, 3_600_000, -75)]  # fmt: skip
    assert now.engine.ask("SELECT day, ms FROM day_label ORDER BY day") == [(7, 2_000), (8, 1_000)]
    assert now.take_days({"kitchen": day(NOW_S, (7_200, 0, "quiet"))}) == 10
    now.forget("kitchen", before_ms=None, now_ms=round(1_000 * NOW_S))
    assert told(now, "kitchen") == (0, 0, 0)
    now.engine.close()


def test_a_store_of_a_later_version_is_left_alone(store):
    made = opened(EdgeConfig(), store, create=True)
    with made.engine.writing() as work:
        work.do("UPDATE roomtone_history SET version = 99")
    made.engine.close()
    with pytest.raises(StoreError, match="a history of version 99, and this roomtone knows"):
        opened(EdgeConfig(), store)


def test_a_file_that_is_no_history_is_said_to_be(tmp_path):
    path = tmp_path / "history.sqlite"
    path.write_bytes(b"no database at all " * 300)
    with pytest.raises(StoreError, match="damaged, or no history"):
        opened(EdgeConfig(), str(path))
    assert path.read_bytes().startswith(b"no database")
    with pytest.raises(StoreError, match="no history is kept there"):
        opened(EdgeConfig(), str(tmp_path / "another.sqlite"))
    assert not (tmp_path / "another.sqlite").exists()


def test_a_question_is_answered_in_local_time_over_the_change_of_clocks(kept):
    """Against sums made minute by minute, in Berlin around 25 October 2026, when an hour came twice."""
    zone, dice = ZoneInfo("Europe/Berlin"), random.Random(3)
    now_s = datetime(2026, 10, 27, 18, 30, tzinfo=UTC).timestamp()
    by_day: dict[str, dict[str, int]] = {}
    by_hour: dict[int, dict[str, int]] = {}
    for back in range(5, -1, -1):
        until_s, at_s, spans = now_s - 86_400 * back, 86_400.0, []
        while at_s > 0:
            label, lasts_s = dice.choice(("happy", "sad", "quiet", "gap")), 60 * dice.randrange(1, 40)
            if label != "gap":
                spans.append((at_s, max(0.0, at_s - lasts_s), label))
            for minute in range(int(until_s - at_s) // 60, int(until_s - max(0.0, at_s - lasts_s)) // 60):
                local = datetime.fromtimestamp(60 * minute, UTC).astimezone(zone)
                if label != "gap":
                    for sums, at in ((by_day, f"{local:%a %d %b}"), (by_hour, 24 * local.weekday() + local.hour)):
                        found = sums.setdefault(at, {"heard": 0})
                        found["heard"] += 1
                        found[label] = found.get(label, 0) + 1
            at_s -= lasts_s
        kept.take_days({"kitchen": day(until_s, *spans)})
        kept.sum_up(int(until_s // 3_600) - 2)  # the last hours are still asked of minutes
    asked = steps(now_s, 4, 24, zone)
    [found] = past(kept.engine, names(kept.engine), asked, by_week=True)
    assert asked.local_starts() == ["Sat 24 Oct", "Sun 25 Oct", "Mon 26 Oct", "Tue 27 Oct"]
    assert asked.lengths() == [24, 25, 24, 19.5]
    for at, start in enumerate(asked.local_starts()):
        minutes = by_day[start]
        assert found.course.heard[at] == pytest.approx(minutes["heard"] / 60 / asked.lengths()[at], abs=1e-3)
        for label in ("happy", "sad"):
            assert found.course.labels[label][at] == pytest.approx(minutes[label] / minutes["heard"], abs=1e-3)
    twice = found.hours_of_week.heard[6 * 24 + 2]  # Sunday, between two and three
    assert twice == pytest.approx(by_hour[6 * 24 + 2]["heard"] / 120, abs=1e-3)
    assert len(found.hours_of_week.heard) == HOURS_OF_WEEK
    assert found.hours_of_week.heard[3 * 24] == 0.0  # no Thursday was asked for
    assert found.whole.heard[0] == pytest.approx(
        sum(by_day[start]["heard"] for start in asked.local_starts()) / 60 / 92.5, abs=1e-3
    )


def test_a_question_reads_its_own_hours_alone(tmp_path):
    """SQLite says of each table whether it is searched, or scanned from one end to the other."""
    kept = opened(EdgeConfig(), str(tmp_path / "history.sqlite"), create=True)
    filled(kept)
    engine, rooms, asked = kept.engine, names(kept.engine), []

    class Listening:
        def ask(self, sql, parameters=()):
            asked.append((sql, parameters))
            return engine.ask(sql, parameters)

    for days, hours, meant in ((7, 1, dict([next(iter(rooms.items()))])), (7, 24, rooms), (365, HOURS_OF_WEEK, rooms)):
        past(Listening(), meant, steps(NOW_S, days, hours, ZoneInfo("Europe/Berlin")))
    plans = [line for sql, parameters in asked for *_, line in engine.ask(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    engine.close()
    assert any(line.startswith("SEARCH hour") for line in plans)
    assert not [line for line in plans if line.startswith(("SCAN hour", "SCAN minute", "SCAN day"))]


def effort(history: History, work: Callable[[], object]) -> int:
    """How many instructions SQLite's own machine needs for it, in hundreds."""
    steps = itertools.count()
    history.engine._database.set_progress_handler(lambda: next(steps) and None, 100)
    work()
    history.engine._database.set_progress_handler(None, 0)
    return next(steps)


def test_what_a_room_costs_does_not_grow_with_the_number_of_rooms(tmp_path):
    labels = ("happy", "sad")
    whole = day(NOW_S, *((at, at - 1_800, labels[at // 1_800 % 2]) for at in range(86_400, 0, -1_800)))
    costs = []
    for others in (4, 40):
        kept = opened(EdgeConfig(), str(tmp_path / f"{others}.sqlite"), create=True)
        kept.sum_up(int(NOW_S // 3_600))  # as a recorder does when it starts: every hour that comes is added to
        kept.take_days({f"room-{number}": whole for number in range(others)})
        costs.append([effort(kept, lambda: kept.take_days({"attic": whole})),  # noqa: B023
                      effort(kept, lambda: kept.take([("attic", packed(event()))]))])  # noqa: B023  # fmt: skip
        assert kept.engine.ask("SELECT sum(heard_ms) FROM hour WHERE room = ?", (others + 1,)) == [(86_400_000,)]
        kept.engine.close()
    for few, many in zip(*costs, strict=True):
        assert many <= 1.3 * few + 1


def test_nor_does_what_an_hour_costs_with_the_years_that_are_kept(tmp_path):
    costs = []
    for days in (10, 200):
        kept = opened(EdgeConfig(), str(tmp_path / f"{days}.sqlite"), create=True)
        now = int(NOW_S // 3_600)
        kept.take_days({name: day(NOW_S, (1_800, 0, "happy")) for name in ("attic", "cellar")})
        with kept.engine.writing() as work:
            work.each("INSERT INTO hour VALUES (?, ?, 3600000, 0, -50, 0, NULL, NULL)",
                      [(room, now - back) for room in (1, 2) for back in range(1, 24 * days)])  # fmt: skip
            work.do("UPDATE kept SET rolled_hour = ?", (now - 1,))
        costs.append(effort(kept, lambda: kept.sum_up(now)))  # noqa: B023
        kept.engine.close()
    assert costs[1] <= 1.3 * costs[0] + 1


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_year_of_every_room_is_that_of_each(kept, zone):
    """Asked of days, which are UTC's, against the same asked of hours: in UTC the same, else within half a day."""
    dice = random.Random(5)
    for name in ("kitchen", "attic"):
        for back in range(40, -1, -1):
            if dice.random() < 0.8:
                begin, label = dice.randrange(30_000, 86_400), dice.choice(("happy", "sad"))
                kept.take_days({name: day(NOW_S - 86_400 * back, (begin, begin / 2, label), (begin / 2, 0, "quiet"))})
            kept.sum_up(int(NOW_S - 86_400 * back) // 3_600)
    asked = steps(NOW_S, 35, HOURS_OF_WEEK, ZoneInfo(zone))
    rooms = names(kept.engine)
    together = past(kept.engine, rooms, asked)
    alone = [past(kept.engine, {room: name}, asked)[0] for room, name in rooms.items()]
    assert [each.room for each in together] == ["attic", "kitchen"]
    within = 0.0 if zone == "UTC" else 0.5 / 7 + 0.01
    for all_rooms, one in zip(together, alone, strict=True):
        assert all_rooms.course.heard[1:-1] == pytest.approx(one.course.heard[1:-1], abs=within + 1e-3)
        assert sum(all_rooms.course.heard) == pytest.approx(sum(one.course.heard), abs=2 * within + 1e-3)
        if zone == "UTC":
            assert all_rooms == one


def test_two_processes_may_write_at_once(store):
    one, other = (opened(EdgeConfig(), store, create=True) for _ in range(2))
    assert one.client_id == other.client_id
    for number in range(20):
        one.take([("kitchen", packed(event(NOW_S + number, seq=number)))])
        other.forget("attic" if number % 2 else "cellar", before_ms=None, now_ms=1)
    assert len(events(other)) == 20
    for each in (one, other):
        each.engine.close()


def test_where_it_is_follows_option_configuration_and_state_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    assert opened(EdgeConfig(), None, create=True).engine.place == str(tmp_path / "state" / "history.sqlite")
    assert opened(EdgeConfig(), str(tmp_path / "x.sqlite"), create=True).engine.place == str(tmp_path / "x.sqlite")
    assert Path(tmp_path / "state").stat().st_mode & 0o777 == 0o700
