"""How rooms were, on the page: asked of a real recorder over the broker, and nobody else."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from playwright.sync_api import expect

from edge.config import EdgeConfig
from edge.history.place import opened
from edge.history.told.days import Day
from edge.voice.history import HistoryAnswer
from tests.dashboard.puppet import Puppet
from tests.history.test_recorder import Recording, recording
from tests.support.broker import Broker
from tests.support.chromium import colours_in, tone
from tests.support.patience import wait_until

HOUR_MS = 3_600_000


def filled(path: Path) -> str:
    """A store with a week of two rooms: the kitchen is happy for an hour each day, in the attic nobody listened."""
    history = opened(EdgeConfig(), str(path), create=True)
    now_ms = round(1_000 * time.time()) // HOUR_MS * HOUR_MS
    for back in range(6, -1, -1):
        until = now_ms - 24 * HOUR_MS * back
        heard = ((until - 3 * HOUR_MS, until - 2 * HOUR_MS, "happy"), (until - 2 * HOUR_MS, until, "quiet"))
        history.take_days({"kitchen": (Day(heard, until), [])})
        history.sum_up(until // HOUR_MS)
    history.take_days({"attic": (Day((), now_ms), [])})
    history.engine.close()
    return str(path)


@pytest.fixture
def recorder(tmp_path: Path, room: Broker) -> Iterator[Recording]:
    with recording(tmp_path, room.port, filled(tmp_path / "history.sqlite")) as running:
        yield running


def test_a_room_is_shown_by_week_month_and_year(recorder, room, visit):
    with Puppet(room.port, "kitchen") as puppet:
        puppet.state("quiet")
        page = visit("#kitchen").page
        words = page.locator("#room-history .course-words")
        expect(words).to_have_text(re.compile(r"listened \d+ % of the time, \d+ % of it spoken, mostly happy"))
        assert colours_in(page, "#room-history .courses canvas")[tone(page, "happy")] > 50
        expect(page.locator("#room-history .week-map")).to_have_attribute(
            "aria-label", re.compile("most was spoken on")
        )
        expect(page.locator("#room-history .legend li")).to_have_count(2)
        for label in ("happy", "quiet"):  # each in the colour of its bars
            swatch = page.locator("#room-history .legend li", has_text=label).locator("span").first
            expect(swatch).to_have_css("background-color", "rgb({}, {}, {})".format(*bytes.fromhex(tone(page, label))))
        key = page.locator("#room-history .courses + p")
        expect(key).to_have_text(re.compile("A bar is one hour: .*A thin line: quiet. Nothing: nobody listened."))
        expect(page.locator("#room-history .week p")).to_have_text(re.compile("Pale: quiet. Nothing: nobody listened."))
        for span in ("month", "year", "week"):
            page.locator("#room-history .spans button", has_text=span).click()
            label = re.compile(f"Course over the {span}: .* mostly happy")
            expect(page.locator("#room-history .courses canvas")).to_have_attribute("aria-label", label)
            expect(key).to_have_text(re.compile(f"A bar is one {'hour' if span == 'week' else 'day'}: "))


def test_all_rooms_are_shown_side_by_side(recorder, room, visit):
    with Puppet(room.port, "kitchen") as kitchen, Puppet(room.port, "attic") as attic:
        kitchen.state("quiet")
        attic.state("quiet")
        page = visit().page
        rows = page.locator("#all-history .courses li")
        expect(rows).to_have_count(2)
        assert rows.locator(".course-name").all_text_contents() == ["attic", "kitchen"]
        expect(rows.nth(0).locator(".course-words")).to_have_text("nobody listened")
        expect(rows.nth(1).locator(".course-words")).to_contain_text("mostly happy")
        expect(page.locator("#all-history .legend li")).to_have_text(["happy"])
        key = page.locator("#all-history .courses + p")
        expect(key).to_have_text(re.compile("A bar is one day: .*Nothing: nobody listened."))
        page.locator("#all-history .spans button", has_text="year").click()
        expect(key).to_have_text(re.compile("A bar is one week: "))
        expect(rows).to_have_count(2)
        expect(page.locator("#all-history [aria-pressed=true]")).to_have_text("year")


def test_it_says_where_no_history_is_kept_or_who_keeps_it_is_away(room, visit, tmp_path):
    with Puppet(room.port, "kitchen") as puppet:
        puppet.state("quiet")
        page = visit("#kitchen").page
        note = page.locator("#room-history .history-note")
        expect(note).to_have_text("No history is kept here.")
        with recording(tmp_path, room.port, filled(tmp_path / "history.sqlite")) as recorder:
            expect(page.locator("#room-history .courses li")).to_have_count(1)
            expect(note).to_be_hidden()
            recorder.stop()
        page.reload()
        expect(note).to_have_text("Who keeps the history is away just now.")


class Asker:
    """Somebody who asks by hand."""

    def __init__(self, port: int) -> None:
        self.answers: list[tuple[str, bytes | None, bytes]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = lambda client, data, m: self.answers.append(
            (m.topic, getattr(m.properties, "CorrelationData", None), m.payload)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("roomtone/#")

    def ask(self, payload: bytes, answer_on: str | None = "roomtone/history/answer/me", mark: bytes = b"7") -> None:
        properties = paho.Properties(paho.PacketTypes.PUBLISH)
        if answer_on is not None:
            properties.ResponseTopic = answer_on
        properties.CorrelationData = mark
        self._client.publish("roomtone/history/get", payload, properties=properties)

    def answered(self, mark: bytes) -> HistoryAnswer:
        def found() -> bytes | None:
            marked = [payload for topic, its, payload in self.answers if its == mark and topic.endswith("/answer/me")]
            return marked[0] if marked else None

        return json.loads(wait_until(found, lambda: self.answers))

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *raised: object) -> None:
        self._client.loop_stop()


def test_whatever_is_asked_is_answered_in_bounds_and_on_its_own_topics_only(recorder, room):
    with Asker(room.port) as asker:
        asker.ask(b'{"span": "week"}', "roomtone/kitchen/listening/set", b"1")  # nobody speaks through the recorder
        asker.ask(b'{"span": "week"}', "roomtone/history/answer/a/b", b"2")
        asker.ask(b'{"span": "week"}', None, b"3")
        asker.ask(b'{"span": "week"}' + b" " * 2_000, mark=b"4")
        nonsense = [b"", b"{}", b"[]", b"\xff", b'{"span": "century"}', b'{"span": "week", "x": 1}',
                    b'{"span": "week", "time_zone": "../../etc/passwd"}']  # fmt: skip
        for number, payload in enumerate(nonsense):
            asker.ask(payload, mark=b"bad%d" % number)
            assert asker.answered(b"bad%d" % number)["problem"]
        asker.ask(b'{"span": "year", "room": "cellar"}', mark=b"cellar")
        assert asker.answered(b"cellar")["problem"] == "nothing is kept of cellar"
        asker.ask(b'{"span": "year", "room": "kitchen", "time_zone": "Asia/Kolkata"}', mark=b"kitchen")
        told = asker.answered(b"kitchen")
        # In the half hour after midnight there, an hour of today's has not begun yet.
        assert told["problem"] is None
        assert len(told["starts"]) in (364, 365)
        assert [each["room"] for each in told["rooms"]] == ["kitchen"]
        assert len(told["rooms"][0]["hours_of_week"]["heard"]) == 168
        asker.ask(b'{"span": "week", "after": "attic"}', mark=b"after")
        assert [each["room"] for each in asker.answered(b"after")["rooms"]] == ["kitchen"]
        unanswered = {mark for topic, mark, _ in asker.answers if topic != "roomtone/history/get"}
        assert unanswered.isdisjoint({b"1", b"2", b"3", b"4"})
