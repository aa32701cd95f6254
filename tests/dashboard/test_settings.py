"""The drawer of a room's settings: what holds, what was set here, what the sensor says. A real one: test_sensor."""

import json
import time
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.bench import sensitivity
from tests.conftest import DASHBOARD
from tests.dashboard.puppet import Puppet, plausible_day, rfc3339
from tests.dashboard.test_access import violations
from tests.dashboard.test_teach import PHONE
from tests.support.broker import Broker
from tests.support.patience import wait_until

WALL = {"width": 1920, "height": 1080}
NIGHT = {"start": "23:00", "end": "06:30", "time_zone": "Europe/Rome"}
MEASURED = {row["sensitivity"]: row for row in json.loads(sensitivity.REPORT.read_text())}
NOTE = "#settings-note"


def drawer(page: Page) -> Locator:
    """Open it."""
    page.get_by_role("button", name="Settings", exact=True).click()
    opened = page.get_by_role("dialog", name="Settings")
    expect(opened).to_be_visible()
    opened.get_by_text("Technical", exact=True).click()
    return opened


def commands(sensor: Puppet, count: int) -> list[dict]:
    wait_until(lambda: len(sensor.commands) >= count, lambda: sensor.commands)
    assert all((retained, qos) == (False, 1) for _, retained, qos in sensor.commands)
    return [json.loads(text) for text, _, _ in sensor.commands]


def answered(done: bool = True, reason: str | None = None) -> dict:
    return {"answer": {"done": done, "reason": reason, "ts": rfc3339(time.time())}}


def test_a_sensor_without_settings_has_no_drawer(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        expect(page.locator("#room-title")).to_have_text("living room")
        expect(page.locator("#settings-open")).to_be_hidden()
        sensor.settings()
        expect(page.locator("#settings-open")).to_be_visible()


def test_a_room_is_called_as_people_call_it(room: Broker, visit):
    page = visit().page
    with Puppet(room.port, "attic") as attic:
        attic.state("sad")
        expect(page.locator("#room-title")).to_have_text("attic")
        attic.settings(name="Under <b>the</b> roof")
        expect(page.locator("#room-title")).to_have_text("Under <b>the</b> roof")
        drawer(page)
        expect(page.locator("#settings-room")).to_have_text("Under <b>the</b> roof")
        page.keyboard.press("Escape")
        with Puppet(room.port, "cellar") as cellar:
            cellar.state("happy")
            expect(page.locator(".tile-name")).to_have_text(["Under <b>the</b> roof", "cellar"])
            attic.settings(name="Loft")  # a new name, after a restart
            expect(page.locator(".tile-name")).to_have_text(["Loft", "cellar"])
            attic.settings(name=["Loft"])
            expect(page.locator(".tile-name")).to_have_text(["attic", "cellar"])


def test_a_control_shows_what_was_chosen_until_the_sensor_has_answered(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        sensor.settings()
        opened = drawer(page)
        slider = opened.get_by_role("slider", name="Sensitivity")
        expect(slider).to_have_value("50")
        expect(opened).to_contain_text(f"about {MEASURED[50]['false_events_per_hour']:.0f} false emotions in an hour")
        expect(opened.locator("#sensitivity-holds p")).to_have_text("Now 50, as configured.")
        expect(opened.get_by_role("button", name="Reset the sensitivity")).to_be_hidden()
        slider.focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        expect(page.locator(NOTE)).to_have_text("Telling the sensor…")
        expect(page.locator("#sensitivity-value")).to_have_text("55")
        expect(opened.locator("#sensitivity-holds p")).to_have_text("Now 50, as configured.")  # still
        assert commands(sensor, 1) == [{"sensitivity": 55}]  # where the keys came to rest
        sensor.settings(sensitivity=55, set=["sensitivity"], configured={"sensitivity": 50}, **answered())
        expect(page.locator(NOTE)).to_have_text("The sensor has taken it.")
        expect(page.locator("#sensitivity-holds p")).to_have_text("Now 55, set here. The configuration has 50.")
        page.keyboard.press("ArrowLeft")
        commands(sensor, 2)
        refused = answered(False, "sensitivity: expected int <= 100, got 101")
        sensor.settings(sensitivity=55, set=["sensitivity"], configured={"sensitivity": 50}, **refused)
        expect(page.locator(NOTE)).to_have_text("Not done: sensitivity: expected int <= 100, got 101.")
        expect(slider).to_have_value("55")  # what holds
        opened.get_by_role("button", name="Reset the sensitivity").click()
        assert commands(sensor, 3)[-1] == {"reset": ["sensitivity"]}
        sensor.settings(**answered())
        expect(slider).to_have_value("50")


def test_quiet_hours_are_sent_as_a_whole_and_taken_away(room: Broker, visit):
    page = visit(timezone_id="Asia/Tokyo").page
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        sensor.settings()
        opened = drawer(page)
        expect(opened.get_by_label("from")).to_be_disabled()
        opened.get_by_role("checkbox", name="Quiet hours").check()
        expect(opened.get_by_label("Time zone")).to_have_value("Asia/Tokyo")  # where the reader is
        opened.get_by_label("from").fill("23:00")
        opened.get_by_label("to", exact=True).fill("06:30")
        opened.get_by_label("Time zone").fill("Europe/Rome")
        sensor.settings(sensitivity=51)  # somebody else changes something else
        expect(page.locator("#sensitivity-value")).to_have_text("51")
        expect(opened.get_by_label("Time zone")).to_have_value("Europe/Rome")
        assert sensor.commands == []
        opened.get_by_role("button", name="Set the quiet hours", exact=True).click()
        assert commands(sensor, 1) == [{"quiet_hours": NIGHT}]
        sensor.settings(quiet_hours=NIGHT, set=["quiet_hours"], configured={"quiet_hours": None}, **answered())
        told = "Now 23:00 to 06:30 (Europe/Rome), set here. The configuration has none."
        expect(page.locator("#quiet-holds p")).to_have_text(told)
        opened.get_by_role("checkbox", name="Quiet hours").uncheck()
        opened.get_by_role("button", name="Set the quiet hours", exact=True).click()
        assert commands(sensor, 2)[-1] == {"quiet_hours": None}


def test_what_was_typed_and_cannot_be_is_said_in_words_and_stays(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        sensor.settings()
        opened = drawer(page)
        opened.get_by_role("checkbox", name="Quiet hours").check()
        zone, start, end = (opened.get_by_label(each, exact=True) for each in ("Time zone", "from", "to"))
        tries = (
            ("Mars", "23:00", "06:30", "There is no time zone “Mars”. Choose one of the list, such as Europe/Berlin."),
            ("Europe/Rome", "", "06:30", "Quiet hours need a time to begin at and one to end at."),
            ("Europe/Rome", "06:30", "06:30", "Quiet hours that begin and end at the same time say neither never nor "
             "always."),
        )  # fmt: skip
        for typed, begins, ends, says in tries:
            for field, value in ((zone, typed), (start, begins), (end, ends)):
                field.fill(value)
            opened.get_by_role("button", name="Set the quiet hours", exact=True).click()
            expect(page.locator(NOTE)).to_have_text(says)
            sensor.settings()  # whatever comes meanwhile
            expect(zone).to_have_value(typed)
        start.fill("23:00")
        expect(page.locator(NOTE)).to_have_text("")
        seconds = opened.get_by_label("Seconds between")
        seconds.fill("90")
        seconds.blur()
        expect(page.locator(NOTE)).to_have_text("The interval is a number from 1 to 60.")
        expect(seconds).to_have_value("90")
        assert sensor.commands == []
        opened.get_by_role("button", name="Set the quiet hours", exact=True).click()
        assert commands(sensor, 1) == [{"quiet_hours": {**NIGHT}}]
        why = "edge.quiet_hours.time_zone: unknown time zone 'Europe/Rome' (expected e.g. Europe/Berlin)"
        sensor.settings(**answered(False, why))
        told = "Not done: quiet hours: unknown time zone 'Europe/Rome' (expected e.g. Europe/Berlin)."
        expect(page.locator(NOTE)).to_have_text(told)
        expect(start).to_have_value("23:00")
        expect(opened.get_by_role("checkbox", name="Quiet hours")).to_be_checked()
        opened.get_by_role("button", name="Set the quiet hours", exact=True).click()
        commands(sensor, 2)
        sensor.settings(quiet_hours=NIGHT, set=["quiet_hours"], configured={"quiet_hours": None}, **answered())
        expect(page.locator(NOTE)).to_have_text("The sensor has taken it.")
        sensor.settings()  # somebody else takes them back
        expect(opened.get_by_role("checkbox", name="Quiet hours")).not_to_be_checked()


def test_what_may_open_the_microphone_is_asked_first(room: Broker, visit):
    page = visit().page
    own = {"quiet_hours": None, "sensitivity": 50}
    known = {"state": "done", "ts": rfc3339(time.time()), "floor_dbfs": -61.2, "restless_db": 4.5}
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        sensor.settings(sensitivity=60, quiet_hours=NIGHT, set=list(own), configured=own, calibration=known)
        opened = drawer(page)
        for way_in, asks, says, sent in (
            ("Reset the quiet hours", "Reset the quiet hours?", "The configuration has none.", ["quiet_hours"]),
            ("Reset everything", "Reset everything?", "sensitivity 50, quiet hours none. The calibration is", True),
        ):
            before = len(sensor.commands)
            for answer in ("Cancel", asks.removesuffix("?") if sent is True else "Reset"):
                opened.get_by_role("button", name=way_in).click()
                question = page.get_by_role("dialog", name=asks)
                expect(question).to_contain_text(says)
                expect(question).to_contain_text("if it is one now, the microphone opens")
                assert violations(page) == []
                assert len(sensor.commands) == before
                question.get_by_role("button", name=answer, exact=True).click()
                expect(question).to_be_hidden()
            assert commands(sensor, before + 1)[before:] == [{"reset": sent}]
        opened.get_by_role("button", name="Reset the sensitivity").click()  # opens nothing
        assert commands(sensor, 3)[-1] == {"reset": ["sensitivity"]}
        sensor.settings()
        opened.get_by_role("button", name="Reset everything").click()
        expect(page.get_by_role("dialog", name="Reset everything?")).to_contain_text("Nothing was set here.")


def test_a_calibration_is_followed_and_its_result_said(room: Broker, visit):
    page = visit().page
    known = {"ts": rfc3339(time.time()), "floor_dbfs": -61.2, "restless_db": 4.5}
    with Puppet(room.port) as sensor:
        sensor.state("quiet")
        sensor.settings()
        opened = drawer(page)
        result = page.locator("#calibrate-result")
        expect(result).to_have_text("Not calibrated: the sensor goes by what it hears.")
        opened.get_by_role("button", name="Calibrate").click()
        assert commands(sensor, 1) == [{"calibrate": True}]
        unknown = {"ts": rfc3339(time.time()), "floor_dbfs": None, "restless_db": None}
        sensor.settings(calibration={"state": "running", **unknown}, **answered())
        expect(page.get_by_role("progressbar", name="Calibration")).to_be_visible()
        expect(page.locator("#calibrate-left")).to_have_text("28 s")
        sensor.settings(calibration={"state": "done", **known}, **answered())
        expect(page.get_by_role("progressbar", name="Calibration")).to_be_hidden()
        expect(result).to_contain_text("Its noise is -61.2 dBFS and rises by 4.5 dB by itself.")
        sensor.settings(calibration={"state": "spoken", **known})
        expect(result).to_contain_text("Somebody was heard; what was known before holds.")
        sensor.settings(calibration={"state": "interrupted", **known})
        expect(result).to_contain_text("The microphone went meanwhile")
        opened.get_by_role("button", name="Forget the calibration").click()
        assert commands(sensor, 2)[-1] == {"reset": ["calibration"]}
        sensor.send("listening", "OFF")
        sensor.state("quiet", microphone="off")
        expect(opened.get_by_role("button", name="Calibrate")).to_be_disabled()
        expect(result).to_contain_text("Needs a sensor that listens.")
        expect(opened.get_by_role("slider")).to_be_enabled()  # it is a sensor that obeys all the same


def test_nothing_can_be_set_without_a_sensor(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("quiet")
        sensor.settings(problem="/var/lib/roomtone/settings.json: No space left on device")
        opened = drawer(page)
        expect(page.locator("#settings-problem")).to_contain_text("No space left on device.")
        expect(opened.get_by_role("slider")).to_be_enabled()
        sensor.send("status", "offline")
        expect(page.locator(NOTE)).to_have_text("Nothing can be set now: no link to the sensor.")
        for control in opened.locator("fieldset :is(input, select, button):visible").all():
            expect(control).to_be_disabled()
        sensor.send("status", "online")
        expect(opened.get_by_role("slider")).to_be_enabled()
        room.stop()
        expect(page.locator(NOTE)).to_have_text("Nothing can be set now: no link to the sensor.")
        page.keyboard.press("Escape")
        expect(opened).to_be_hidden()


def test_a_name_that_may_only_look(tmp_path: Path, visit):
    acl = "topic read roomtone/#\n" + "".join(
        f"topic write roomtone/+/{name}\n" for name in ("status", "state", "settings", "listening")
    )
    with Broker(tmp_path / "acl", http_dir=DASHBOARD, acl=acl) as broker, Puppet(broker.port) as sensor:
        sensor.settings()
        sensor.state("happy")
        page = visit(at=broker).page
        opened = drawer(page)
        opened.get_by_label("Log level", exact=True).select_option("debug")
        expect(page.locator(NOTE)).to_contain_text("The broker lets this name only look")
        expect(opened.get_by_label("Log level", exact=True)).to_be_disabled()
        expect(opened.get_by_label("Log level", exact=True)).to_have_value("info")
        expect(opened.get_by_role("button", name="Close")).to_be_enabled()


def test_the_keyboard_gets_in_and_out_and_focus_comes_back(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        sensor.settings()
        way_in = page.get_by_role("button", name="Settings", exact=True)
        way_in.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Close")).to_be_focused()
        page.keyboard.press("Tab")
        expect(page.get_by_role("slider", name="Sensitivity")).to_be_focused()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Escape")
        assert commands(sensor, 1) == [{"sensitivity": 51}]  # what was chosen is not lost
        expect(way_in).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, PHONE, WALL], ids=["desk", "phone", "wall"])
def test_axe_finds_nothing_and_all_is_within_reach(room: Broker, visit, scheme: str, viewport: dict):
    page = visit(color_scheme=scheme, viewport=viewport, reduced_motion="reduce").page
    with Puppet(room.port) as sensor:
        sensor.timeline(plausible_day(time.time()))
        sensor.state("happy")
        own = {"sensitivity": 50, "quiet_hours": None, "state_interval_s": 30.0, "log_level": "info"}
        known = {"state": "done", "ts": rfc3339(time.time()), "floor_dbfs": -61.2, "restless_db": 4.5}
        sensor.settings(sensitivity=90, quiet_hours=NIGHT, set=list(own), configured=own, calibration=known)
        opened = drawer(page)
        expect(page.locator("#level-holds p")).to_contain_text("set here")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert opened.evaluate("drawer => drawer.scrollWidth - drawer.clientWidth") <= 0
        for control in opened.locator(":is(button, input, select):visible").all():
            if control.get_attribute("type") != "checkbox":  # whose label is as tall
                assert control.bounding_box()["height"] >= 44
        expect(opened.get_by_role("button", name="Reset everything")).to_be_enabled()
        sensor.send("status", "offline")
        expect(opened.get_by_role("slider")).to_be_disabled()
        assert violations(page) == []


def test_the_words_are_the_measured_ones(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.settings()
        sensor.state("happy")
        drawer(page)
    measured = [[row["sensitivity"], row["false_events_per_hour"], row["speech_labelled"]] for row in MEASURED.values()]
    assert page.evaluate("Sensitivity.MEASURED") == measured
    said = page.evaluate("[0, 12, 25, 50, 60, 100].map(Sensitivity.told)")
    assert ["no false emotion" in words for words in said] == [True, False, False, False, False, False]
    assert "about 1 false emotion in" in said[1]
    assert [words for words in said if "NaN" in words or "undefined" in words] == []
    _, wrong, labelled = measured[-1]
    assert f"about {wrong:.0f} false emotions" in said[-1]
    assert f"{labelled:.0%}".replace("%", " % of what") in said[-1]


HOSTILE = (
    {"sensitivity": "<b>", "quiet_hours": {"start": "<img>", "end": []}, "set": {"a": 1}, "configured": 7},
    {"sensitivity": 1e300, "state_interval_s": -1, "log_level": "<script>alert(1)</script>", "set": ["<b>", None]},
    {"calibration": {"state": "<b>", "ts": 7, "floor_dbfs": "x", "restless_db": None}, "answer": [1]},
    {"calibration": [], "problem": "<img src=x onerror=alert(1)>\u202e", "answer": {"done": "yes", "ts": "never"}},
    {"quiet_hours": {"start": ["22:00"], "end": "07:00"}, "set": ["quiet_hours"] * 5_000},
    {"quiet_hours": {"start": "22:00", "end": "07:00", "time_zone": "<img src=x onerror=alert(1)>"}},
)


@pytest.mark.parametrize("fields", HOSTILE)
def test_hostile_settings_do_nothing(room: Broker, visit, fields: dict):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        sensor.settings()
        drawer(page)
        sensor.settings(**fields)
        sensor.state("sad")
        expect(page.locator("#now-word")).to_have_text("sad")
        assert page.locator("#settings img, #settings script, #settings b").count() == 0
        sensor.settings(sensitivity=7)
        expect(page.locator("#sensitivity-value")).to_have_text("7")
