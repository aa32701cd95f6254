"""The past day on the page: nothing is drawn or said beyond what a sensor told, and what it told is."""

import time

import pytest
from playwright.sync_api import expect

from tests.dashboard.puppet import Puppet
from tests.support.broker import Broker
from tests.support.chromium import labels, word
from tests.support.patience import wait_until


def moment(page, minutes_ago: int) -> str:
    """Return what the page says of a moment, as somebody at the keyboard hears it."""
    ribbon = page.locator("#ribbon")
    ribbon.focus()
    page.keyboard.press("End")
    for _ in range(minutes_ago // 60):
        page.keyboard.press("PageDown")
    for _ in range(minutes_ago % 60 // 5):
        page.keyboard.press("ArrowLeft")
    said = ribbon.get_attribute("aria-valuetext")
    page.keyboard.press("Escape")
    return said


def test_the_last_run_of_a_timeline_ends_where_the_timeline_does(room: Broker, visit):
    now = time.time()
    with Puppet(room.port) as sensor:
        sensor.timeline([(now - 7_200, "happy", 0.8), (now - 5_400, "quiet", 0.9)], at_s=now - 3_600)
        sensor.send("status", "offline")
        page = visit().page
        expect(page.locator("#legend li")).to_have_text(["happy30 min", "quiet30 min"])
        expect(page.locator("#changes li .held")).to_have_text(["for 30 min", "for 30 min"])
        assert moment(page, 65).endswith("quiet, for 30 min")
        for ago in (0, 5, 55):
            assert moment(page, ago).endswith("nothing known")


@pytest.mark.parametrize("status", ["offline", "online"])
def test_the_last_state_of_a_sensor_that_is_gone_is_the_end_of_what_is_known(room: Broker, visit, status):
    """Online, because nobody told of its end, it is not believed for ever either."""
    now = time.time()
    with Puppet(room.port) as sensor:
        sensor.timeline([(now - 1_800, "quiet", 0.9)], at_s=now - 1_260)
        sensor.state("quiet", at_s=now - 1_200, since_s=now - 1_800)
        sensor.send("status", status)
        page = visit().page
        expect(page.locator("#legend li")).to_have_text(["quiet10 min"])
        expect(page.locator("#changes li .held")).to_have_text(["for 10 min"])
        assert moment(page, 0).endswith("nothing known")


def test_a_run_goes_on_while_the_sensor_speaks(room: Broker, visit):
    now = time.time()
    with Puppet(room.port) as sensor:
        sensor.timeline([(now - 1_800, "quiet", 0.9)], at_s=now - 50)
        sensor.state("quiet", at_s=now - 20, since_s=now - 1_800)
        page = visit().page
        expect(page.locator("#legend li")).to_have_text(["quiet30 min"])
        assert moment(page, 0).endswith("quiet, for 30 min")


def test_what_a_restart_leaves_open_is_left_open_until_the_sensor_tells(room: Broker, visit):
    """Killed ten minutes ago and back just now, with the same label: that is no run of twenty minutes."""
    now = time.time()
    early = [(now - 1_200, "quiet", 0.9)]
    with Puppet(room.port) as sensor:
        sensor.timeline(early, at_s=now - 660)
        sensor.state("quiet", at_s=now - 600, since_s=now - 1_200)
        sensor.send("status", "offline")
        page = visit().page
        expect(page.locator("#changes li .held")).to_have_text(["for 10 min"])
        sensor.send("status", "online")
        sensor.state("quiet", since_s=now - 5)
        expect(page.locator("#changes li")).to_have_count(2)
        assert labels(page) == ["quiet", "quiet"]
        expect(page.locator("#changes li .held").last).to_have_text("for 10 min")
        expect(page.locator("#legend li")).to_have_text(["quiet10 min"])
        assert moment(page, 5).endswith("nothing known")
        # What it knows of that time comes with its timeline, for which a page asks again when a sensor is back.
        sensor.timeline([*early, (now - 600, "quiet", 0.0), (now - 5, "quiet", 0.9)])
        expect(page.locator("#changes li .chip")).to_have_text(["nobody listened"])
        wait_until(lambda: "nobody listened, for" in moment(page, 5))


def test_states_that_follow_each_other_leave_nothing_open(room: Broker, visit):
    now = time.time()
    with Puppet(room.port) as sensor:
        page = visit().page
        for ago_s, label in ((120, "quiet"), (90, "quiet"), (60, "happy"), (30, "quiet"), (0, "quiet")):
            since = {120: 180, 90: 180, 60: 60, 30: 30, 0: 30}[ago_s]
            sensor.state(label, at_s=now - ago_s, since_s=now - since)
        expect(word(page)).to_have_text("quiet")
        expect(page.locator("#legend li")).to_have_text(["happy30 s", "quiet2 min"])
        assert labels(page) == ["quiet", "happy", "quiet"]
