"""`roomtone history` as somebody types it: what it shows, writes and deletes, and what it says where it cannot."""

import csv
import io
import time
from pathlib import Path

import msgspec
import pytest

from edge.commands.cli import main
from edge.config import EdgeConfig
from edge.history.place import opened
from edge.history.taken import taken
from edge.history.told.days import Day
from edge.history.told.samples import Sample
from edge.voice.payloads import Event, rfc3339
from edge.voice.sequence import uuid7
from tests.support.patience import PATIENCE_S
from tests.support.terminal import Terminal

HOUR_MS = 3_600_000


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Three days of a kitchen, happy for an hour each, with an event a day; and an attic where nobody listened."""
    history = opened(EdgeConfig(), str(tmp_path / "history.sqlite"), create=True)
    now_ms = round(1_000 * time.time()) // HOUR_MS * HOUR_MS
    for back in range(2, -1, -1):
        until = now_ms - 24 * HOUR_MS * back
        heard = ((until - 3 * HOUR_MS, until - 2 * HOUR_MS, "happy"), (until - 2 * HOUR_MS, until, "quiet"))
        states = [Sample(at, -42.0, 0.25, 0.5, -0.25, False) for at in range(until - 3 * HOUR_MS, until, 60_000)]
        history.take_days({"kitchen": (Day(heard, until), states)})
        at_s = until / 1_000 - 10_800
        event = Event(event_id=uuid7(at_s), event_type="happy", ts=rfc3339(at_s), previous="quiet", confidence=0.75,
                      previous_duration_ms=5, seq=back, model="test-1", mood="bright")  # fmt: skip
        history.take([("kitchen", taken(msgspec.json.encode(event)))])
        history.sum_up(until // HOUR_MS)
    history.take_days({"attic": (Day((), now_ms), [])})
    history.engine.close()
    return str(tmp_path / "history.sqlite")


def history(*arguments: str) -> int:
    return main(["history", *arguments])


def test_rooms_are_shown_in_a_row_each(store, capsys):
    assert history("show", "--store", store, "--time-zone", "UTC") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["room", "attic", "kitchen"]
    assert "33%" in lines[2]
    assert "happy" in lines[2]
    assert lines[1].split()[1:3] == ["0", "min"]


@pytest.mark.parametrize(("days", "step"), [("30", "days"), ("2", "hours"), ("365", "weeks")])
def test_a_narrow_terminal_shows_the_newest_steps(tmp_path, capsys, monkeypatch, days, step):
    place = str(tmp_path / "history.sqlite")
    until = (round(1_000 * time.time()) // HOUR_MS + 1) * HOUR_MS
    kept = opened(EdgeConfig(), place, create=True)
    kept.take_days({"living-room": (Day(((until - 2 * HOUR_MS, until, "happy"),), until), [])})
    kept.sum_up(until // HOUR_MS)
    kept.engine.close()
    monkeypatch.setenv("COLUMNS", "70")
    assert history("show", "--store", place, "--days", days) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 70
    assert lines[-1].endswith("█")  # now, after a time in which nobody listened
    shown = lines[-1].count("·") + lines[-1].count("█")
    assert all(word in " ".join(lines[:-1]).split() for word in ("last", str(shown), step))
    monkeypatch.setenv("COLUMNS", "160")
    assert history("show", "--store", place, "--days", days) == 0
    assert f"spoken, by {step[:-1]}" in capsys.readouterr().out


def test_a_small_share_is_told_in_minutes(tmp_path, capsys):
    place = str(tmp_path / "history.sqlite")
    until = round(1_000 * time.time()) // HOUR_MS * HOUR_MS
    kept = opened(EdgeConfig(), place, create=True)
    kept.take_days({"kitchen": (Day(((until - 12 * 60_000, until, "quiet"),), until), [])})
    kept.sum_up(until // HOUR_MS)
    kept.engine.close()
    assert history("show", "--store", place) == 0
    assert "12 min" in capsys.readouterr().out
    assert history("show", "--store", place, "--room", "kitchen") == 0
    assert "listened to 12 min; of what was heard:" in capsys.readouterr().out


def test_a_room_is_shown_in_full_by_hour_of_the_week_and_day(store, capsys):
    assert history("show", "--store", store, "--room", "kitchen", "--days", "3", "--time-zone", "Europe/Berlin") == 0
    out = capsys.readouterr().out
    assert "of what was heard" in out
    week = [line[:2] for line in out.splitlines() if line[2:3] == " " and line[:2].strip()]
    assert week == ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
    assert out.count("happy") >= 3
    assert "-42 dB" in out


def test_what_is_exported_is_what_is_kept(store, tmp_path, capsys):
    for what, count in (("events", 3), ("minutes", 540), ("hours", 9)):
        file = tmp_path / "tables" / f"{what}.csv"  # whose folder is made, too
        assert history("export", "--store", store, "--what", what, str(file)) == 0
        assert capsys.readouterr().out == f"{file}: {count} {what}\n"
        assert file.stat().st_mode & 0o777 == 0o600
        rows = list(csv.DictReader(file.open()))
        assert len(rows) == count
        assert {row["room"] for row in rows} == {"kitchen"}
    assert sum(float(row["happy_s"]) for row in rows) == 3 * 3_600
    assert {row["level_dbfs"] for row in rows} == {"-42"}
    assert history("export", "--store", store, "--days", "1", "-") == 0
    [event] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (event["event_type"], event["mood"], event["arousal"]) == ("happy", "bright", "")
    assert not list(tmp_path.rglob("*.part"))


def test_parquet_says_the_same_as_csv(store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (roomtone[parquet])")
    for what in ("events", "minutes", "hours"):
        paths = {form: tmp_path / f"{what}.{form}" for form in ("csv", "parquet")}
        for form, path in paths.items():
            assert history("export", "--store", store, "--what", what, "--format", form, str(path)) == 0
        columns = parquet.read_table(paths["parquet"]).to_pydict()
        for number, row in enumerate(csv.DictReader(paths["csv"].open())):
            for name, text in row.items():
                value = columns[name][number]
                if name in ("ts", "start"):
                    assert rfc3339(value.timestamp()) == text
                elif value is None or isinstance(value, str | bool):
                    assert ("" if value is None else str(value)) == text
                else:
                    assert float(text) == value


def test_a_file_that_is_called_parquet_is_one(store, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (roomtone[parquet])")
    for number, (form, begins) in enumerate([([], b"PAR1"), (["--format", "csv"], b"even")]):
        path = tmp_path / f"{number}.parquet"
        assert history("export", "--store", store, *form, str(path)) == 0
        assert path.read_bytes()[:4] == begins


def test_what_no_export_can_be_is_refused_by_its_name(store, tmp_path, capsys):
    """A spreadsheet that opened it would call it damaged."""
    path = tmp_path / "e.xlsx"
    assert history("export", "--store", store, str(path)) == 64
    assert "e.xlsx: csv and parquet are written" in capsys.readouterr().err
    assert not path.exists()
    assert history("export", "--store", store, "--format", "csv", str(path)) == 0


def test_without_pyarrow_it_says_what_to_install(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert history("export", "--store", store, "--format", "parquet", str(tmp_path / "x.parquet")) == 69
    assert "pip install pyarrow` does it, or take --format csv" in capsys.readouterr().err


def test_a_room_is_forgotten_by_name(store, capsys):
    today = rfc3339(time.time())[:10]
    assert history("forget", "--store", store, "kitchen", "--before", today) == 0
    said = capsys.readouterr().out
    assert "deleted from" in said
    assert "roomtone forget" not in said  # which would take all of it off the broker
    assert history("forget", "--store", store, "kitchen") == 0
    assert history("export", "--store", store, "--what", "hours", "-") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("room,start")


@pytest.mark.parametrize(("name", "meant"), [("Kitchen", "kitchen"), ("Living Room", "living-room")])
def test_a_room_as_people_write_it_is_told_as_sensors_do(store, capsys, name, meant):
    with pytest.raises(SystemExit):
        history("forget", "--store", store, name)
    assert f"got {name!r}: did you mean {meant}?" in capsys.readouterr().err


def test_somebody_at_a_terminal_is_asked_before_a_room_is_forgotten(store):
    for answer, left in (("", 9), ("no", 9), ("yes", 0)):
        with Terminal("history", "forget", "--store", store, "kitchen") as terminal:
            terminal.wait_for(r"kitchen: delete 3 events, 540 minutes and 9 hours from .*\? \[y/N\] ")
            terminal.type(answer)
            terminal.wait_for("nothing was deleted" if left else "`roomtone forget kitchen` takes that off")
            assert terminal.process.wait(PATIENCE_S) == 0
        kept = opened(EdgeConfig(), store)
        assert len(kept.engine.ask("SELECT hour FROM hour")) == left
        kept.engine.close()


def test_what_is_forgotten_is_shown_no_more(store, capsys):
    assert history("forget", "--store", store, "kitchen") == 0
    capsys.readouterr()
    assert history("show", "--store", store) == 0
    assert "kitchen" not in capsys.readouterr().out
    assert history("show", "--store", store, "--room", "kitchen") == 69
    assert "there are attic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["show", "--room", "kitchne"], 69, "nothing is kept of it in {store}: did you mean kitchen?"),
        (["forget", "cellar"], 69, "there are attic, kitchen"),
        (["forget", "kitchen", "--before", "2999-01-01"], 64, "that day is still to come"),
        (["show", "--time-zone", "Mars/Olympus"], 64, "unknown time zone 'Mars/Olympus'"),
        (["export", "--format", "parquet", "-"], 64, "name a file for --format parquet"),
        (["export", "/proc/x/y.csv"], 73, "history export /proc/x/y.csv: "),
        (["export", "-", "--store", "{folder}"], 74, "{folder}: no file: name one"),
        (["record", "--store", "/proc/x/h.sqlite"], 74, "/proc/x/h.sqlite: No such file or directory: nothing can be"),
        (["record", "--store", "{folder}"], 74, "{folder}: no file: name one"),
    ],
)
def test_a_mistake_is_answered_in_one_line(store, capsys, arguments, status, says):
    folder = Path(store).parent
    verb, *rest = (argument.format(folder=folder) for argument in arguments)
    assert history(verb, "--store", store, *rest) == status
    said = capsys.readouterr().err
    assert says.format(store=store, folder=folder) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["forget", "kitchen", "--before", "soon"],
        ["show", "--days", "0"],
        ["show", "--room", "A B"],
        ["record", "--store", "mysql://x"],
        ["forget"],
        ["rewrite"],
    ],
)
def test_words_that_make_no_sense_are_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        history(*words)
    assert ended.value.code == 64
    assert "Traceback" not in capsys.readouterr().err


def test_where_none_is_kept_it_says_how_to_begin(tmp_path, capsys):
    assert history("show", "--store", str(tmp_path / "none.sqlite")) == 74
    assert "no history is kept there: `roomtone history record` begins one" in capsys.readouterr().err
    assert history("record", "--store", "/proc/history.sqlite") == 74
    assert "/proc/history.sqlite: " in capsys.readouterr().err


def test_a_database_that_is_not_there_is_said_without_its_password(capsys):
    pytest.importorskip("psycopg", reason="psycopg is not installed (roomtone[postgres])")
    assert history("show", "--store", "postgresql://anna:secret@127.0.0.1:9/history") == 74
    said = capsys.readouterr().err
    assert said.startswith("roomtone: postgresql://anna@127.0.0.1:9/history: ")
    assert "secret" not in said


def test_without_psycopg_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert history("show", "--store", "postgresql://127.0.0.1/history") == 69
    assert "pip install 'psycopg[binary]'` does it" in capsys.readouterr().err
