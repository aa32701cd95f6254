"""Lessons on the page: what a change was, what the sensor answers, how much it helps, and forgetting."""

import json
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.conftest import DASHBOARD
from tests.dashboard.puppet import Puppet, plausible_day, rfc3339, uuid7
from tests.dashboard.test_access import violations
from tests.support.broker import Broker
from tests.support.chromium import word
from tests.support.patience import wait_until

PHONE = {"width": 390, "height": 844}


def answered(command: str = "teach", label: str | None = "sad", **fields) -> dict:
    told = {"command": command, "event_id": "x", "label": label, "done": True, "reason": None}
    return {"answer": {**told, "ts": rfc3339(time.time()), **fields}}


def said(sensor: Puppet, label: str, at_s: float) -> None:
    sensor.event(label, "quiet", at_s=at_s, event_id=uuid7(at_s))
    sensor.state(label, at_s=at_s)


def row(page: Page, label: str):
    return page.get_by_role("button", name=f"{label}: say what it was")


def commands(sensor: Puppet) -> list[dict]:
    assert all((retained, qos) == (False, 1) for _, retained, qos in sensor.commands)
    return [json.loads(text) for text, _, _ in sensor.commands]


def test_a_change_is_corrected_and_the_lesson_forgotten(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.lessons()
        at_s = round(time.time(), 3) - 5
        said(sensor, "neutral", at_s)
        expect(page.locator("#lessons-text")).to_have_text("None yet. Choose a change in the list to say what it was.")
        row(page, "neutral").click()
        dialog = page.get_by_role("dialog", name="What was it?")
        expect(dialog).to_contain_text("Heard as neutral")
        expect(dialog.locator(".choice")).to_have_text(list(sensor_labels()))
        expect(page.locator("#teach-forget")).to_be_hidden()
        dialog.get_by_role("button", name="sad").click()
        expect(dialog).to_be_hidden()
        expect(page.locator("#lessons-note")).to_have_text("Telling the sensor…")
        wait_until(lambda: commands(sensor) == [{"event_id": rfc3339(at_s), "label": "sad"}], lambda: sensor.commands)
        sensor.lessons([(at_s, "sad")], **answered())
        expect(page.locator("#lessons-note")).to_have_text("Taught: sad.")
        expect(page.locator("#changes .chip")).to_have_text("it was sad")
        expect(page.locator("#lessons-text")).to_have_text("1 lesson.")
        expect(page.locator("#lessons-figures")).to_have_text("sad1")
        expect(page.locator("#lessons-help")).to_have_text("Too few to tell yet; five of each label help most.")
        expect(page.locator("#lessons-use")).to_have_text("The sensor answers without the lessons so far.")
        row(page, "neutral").click()
        expect(dialog.get_by_role("button", name="sad")).to_have_attribute("aria-pressed", "true")
        dialog.get_by_role("button", name="Forget this lesson").click()
        wait_until(lambda: len(sensor.commands) == 2)
        assert commands(sensor)[1]["event_id"].startswith(uuid7(at_s)[:13])
        sensor.lessons(**answered("forget", None))
        expect(page.locator("#lessons-note")).to_have_text("Forgotten.")
        expect(page.locator("#changes .chip")).to_have_count(0)
        expect(page.locator("#lessons-note")).to_be_empty(timeout=60_000)  # let go by itself


def sensor_labels() -> tuple[str, ...]:
    return ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def test_a_page_opened_later_corrects_what_only_the_timeline_tells(room: Broker, visit):
    with Puppet(room.port) as sensor:
        now_s = round(time.time(), 3)
        sensor.timeline([(now_s - 60, "quiet", 1.0), (now_s - 30, "happy", 0.7), (now_s - 20, "quiet", 1.0)])
        sensor.lessons([(now_s - 30, "fear")])
        sensor.state("quiet", since_s=now_s - 20)
        page = visit().page
        expect(page.locator("#changes .chip")).to_have_text("it was fear")
        assert page.get_by_role("button", name="quiet: say what it was").count() == 0
        row(page, "happy").click()
        page.get_by_role("dialog").get_by_role("button", name="angry").click()
        wait_until(lambda: len(sensor.commands) == 1)
        told = commands(sensor)[0]
        assert told["label"] == "angry"
        assert told["event_id"].startswith(uuid7(now_s - 30)[:13])  # by its own name, as it is one already


def test_all_lessons_are_forgotten_after_a_question(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        now_s = time.time()
        sensor.lessons([(now_s - ago, label) for ago, label in enumerate(("sad", "happy", *["sad"] * 5))])
        sensor.state("quiet")
        expect(page.locator("#lessons-text")).to_have_text("7 lessons.")
        right = "Best guess right, of the 7 lessons: 3 before, 6 after."
        expect(page.locator("#lessons-help")).to_have_text(right)
        use = page.locator("#lessons-use")
        expect(use).to_contain_text("also where the page says unknown")
        expect(use).to_contain_text("answers by the lessons: what you said was given a chance of 18 % before, 34 %")
        page.get_by_role("button", name="Forget all").click()
        dialog = page.get_by_role("dialog", name="Forget 7 lessons?")
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_be_hidden()
        assert sensor.commands == []
        page.get_by_role("button", name="Forget all").click()
        dialog.get_by_role("button", name="Forget all").click()
        wait_until(lambda: commands(sensor) == [{"event_id": "all"}])


def test_a_lesson_that_takes_another_ones_place_says_so(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.lessons()
        at_s = round(time.time(), 3)
        for label, ago in (("happy", 4), ("fear", 2)):
            said(sensor, label, at_s - ago)
        for label, teaches, fields in (("happy", "sad", {}), ("fear", "angry", {"instead_of": "sad"})):
            row(page, label).click()
            page.get_by_role("dialog").get_by_role("button", name=teaches).click()
            wait_until(lambda teaches=teaches: commands(sensor)[-1:] and commands(sensor)[-1]["label"] == teaches)
            sensor.lessons([(at_s - 2, teaches)], **answered(label=teaches, **fields))
            expect(page.locator("#lessons-note")).to_contain_text(f"Taught: {teaches}.")
        expect(page.locator("#lessons-note")).to_contain_text("the place of “it was sad” nearby: that was the same")


def test_where_none_of_the_labels_is_right_the_page_says_what_helps(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.lessons()
        sensor.settings()
        said(sensor, "happy", time.time())
        row(page, "happy").click()
        dialog = page.get_by_role("dialog", name="What was it?")
        dialog.get_by_text("Nothing of these").click()
        expect(dialog.get_by_text("Then teach it nothing.")).to_be_visible()
        assert violations(page) == []
        dialog.get_by_role("button", name="Open the settings").click()
        expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
        assert sensor.commands == []


def test_a_refusal_and_a_problem_are_said(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.lessons(problem="/var/lib/roomtone: Read-only file system")
        said(sensor, "happy", time.time())
        expect(page.locator("#lessons-note")).to_contain_text("Read-only file system")
        row(page, "happy").click()
        page.get_by_role("dialog").get_by_role("button", name="fear").click()
        wait_until(lambda: sensor.commands)
        sensor.lessons(**answered(done=False, reason="not among the last 500 changes"))
        expect(page.locator("#lessons-note")).to_have_text("Not done: not among the last 500 changes.")


def test_a_sensor_that_cannot_be_taught_has_nothing_to_choose(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        said(sensor, "happy", time.time())
        expect(word(page)).to_have_text("happy")
        expect(page.locator("#lessons")).to_be_hidden()  # one of before
        sensor.lessons(teachable=False)
        expect(page.locator("#lessons-text")).to_have_text("The model of this sensor cannot be taught.")
        expect(page.locator("#changes button")).to_have_count(0)


def test_a_lesson_that_the_broker_refuses(tmp_path: Path, visit):
    acl = "topic read roomtone/#\n" + "".join(
        f"topic write roomtone/+/{name}\n" for name in ("status", "state", "event", "lessons", "listening")
    )
    with Broker(tmp_path / "acl", http_dir=DASHBOARD, acl=acl) as broker, Puppet(broker.port) as sensor:
        sensor.lessons()
        page = visit(at=broker).page
        said(sensor, "happy", time.time())
        row(page, "happy").click()
        page.get_by_role("dialog").get_by_role("button", name="fear").click()
        expect(page.locator("#lessons-note")).to_contain_text("not authorized")


def test_a_change_can_be_chosen_from_when_on_the_page_answers(room: Broker, visit):
    page = visit().page
    held: list[Route] = []
    page.route("**/lessons.js", lambda route: held.append(route))
    with Puppet(room.port) as sensor:
        with page.expect_request("**/lessons.js"):
            sensor.lessons()
            said(sensor, "happy", time.time())
        expect(page.locator("#changes .word")).to_have_text("happy")
        expect(page.locator("#changes button")).to_have_count(0)
        held[0].continue_()
        row(page, "happy").click()
        expect(page.get_by_role("dialog")).to_contain_text("Heard as happy")


def test_what_is_pressed_while_the_list_changes_is_chosen(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.lessons()
        now_s = time.time()
        said(sensor, "happy", now_s - 20)
        row(page, "happy").hover()
        page.mouse.down()
        said(sensor, "sad", now_s)
        expect(word(page)).to_have_text("sad")
        page.mouse.up()
        expect(page.get_by_role("dialog")).to_contain_text("Heard as happy")
        page.keyboard.press("Escape")
        expect(row(page, "sad")).to_be_visible()


def test_the_arrow_keys_go_from_line_to_line(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.lessons()
        now_s = time.time()
        for number, label in enumerate(("happy", "sad", "fear")):
            said(sensor, label, now_s - 30 + 10 * number)
        expect(page.locator("#changes button")).to_have_count(3)
        page.locator("#changes").focus()
        for label in ("fear", "sad"):
            page.keyboard.press("ArrowDown")
            expect(row(page, label)).to_be_focused()
        said(sensor, "angry", now_s)  # the list is drawn anew
        expect(page.locator("#changes button")).to_have_count(4)
        expect(row(page, "sad")).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(row(page, "fear")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("Heard as fear")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(room: Broker, visit, scheme: str, viewport: dict):
    page = visit(color_scheme=scheme, viewport=viewport, reduced_motion="reduce").page
    with Puppet(room.port) as sensor:
        now_s = time.time()
        sensor.timeline(plausible_day(now_s))
        sensor.lessons([(now_s - 5, "sad"), (now_s - 3, "happy")], **answered())
        said(sensor, "neutral", now_s - 5)
        expect(page.locator("#changes .chip")).to_have_text("it was sad")
        assert violations(page) == []
        row(page, "neutral").first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert violations(page) == []
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0


HOSTILE = (
    {"labels": "all", "recent": {"a": 1}, "per_label": [1], "count": "many", "answer": [], "problem": 7},
    {"labels": ["<img src=x onerror=alert(1)>", None, "x" * 90], "per_label": {"<b>": 1, "happy": -1e300}},
    {"recent": [None, {"event_id": 7, "label": "sad"}, {"event_id": "a", "label": "<script>alert(1)</script>"}] * 200},
    {"answer": {"command": "rm", "done": "yes", "ts": "never"}, "right_before": 7, "right_after": "1"},
    {"problem": "<img src=x onerror=alert(1)>\u202e", "answer": {"command": ["teach"], "ts": "2026-01-31T12:00:00Z"}},
)


@pytest.mark.parametrize("fields", HOSTILE)
def test_hostile_lessons_do_nothing(room: Broker, visit, fields: dict):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.lessons(**fields)
        said(sensor, "happy", time.time())
        expect(word(page)).to_have_text("happy")
        assert page.locator("#lessons img, #lessons script, #lessons b").count() == 0
        sensor.state("sad")
        expect(word(page)).to_have_text("sad")
