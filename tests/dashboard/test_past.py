"""The past day on the page: nothing is drawn or said beyond what a sensor told, and what it told is."""

import time

import pytest
from playwright.sync_api import expect

from tests.dashboard.puppet import Puppet
from tests.support.broker import Broker
from tests.support.chromium import colours_in, labels, tone, word
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
        expect(page.locator("#changes li")).to_have_count(3)
        assert labels(page) == ["quiet", None, "quiet"]
        expect(page.locator("#changes li.hole .what")).to_have_text("nothing known")
        expect(page.locator("#changes li.hole .held")).to_have_text("for 9 min")
        expect(page.locator("#changes li .held").last).to_have_text("for 10 min")
        expect(page.locator("#legend li")).to_have_text(["quiet10 min"])
        assert moment(page, 5).endswith("nothing known")
        # What it knows of that time comes with its timeline, for which a page asks again when a sensor is back.
        sensor.timeline([*early, (now - 600, "quiet", 0.0), (now - 5, "quiet", 0.9)])
        expect(page.locator("#changes li.gap .what")).to_have_text(["nobody listened"])
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


def test_what_happened_since_the_last_timeline_is_said_to_be_unknown_until_the_next_one_tells(room: Broker, visit):
    """A page that is opened between two timelines: labels of which it knows nothing lie before the present one."""
    now = time.time()
    early = [(now - 60, "quiet", 0.9), (now - 40, "angry", 0.7), (now - 35, "quiet", 0.9)]
    missed = [(now - 20, "happy", 0.8), (now - 4, "quiet", 0.9)]
    with Puppet(room.port) as sensor:
        sensor.timeline(early, at_s=now - 30)
        sensor.state("quiet", since_s=now - 4)
        page = visit().page
        expect(page.locator("#changes li.hole .what")).to_have_text("not told yet")
        assert labels(page) == ["quiet", "angry", "quiet", None, "quiet"]
        expect(page.locator("#changes li.hole .held")).to_have_text("for 26 s")
        sensor.timeline([*early, *missed])  # the next, without being asked for again
        expect(page.locator("#changes li.hole")).to_have_count(0)
        assert labels(page) == ["quiet", "angry", "quiet", "happy", "quiet"]
        expect(page.locator("#legend li", has_text="happy")).to_have_text("happy16 s")
        with Puppet(room.port, "hall") as hall:  # whose timeline the broker is asked for after it let go of this one's
            page.goto(f"{room.page_url}#hall")
            hall.timeline([(now - 600, "happy", 0.8)])
            expect(page.locator("#changes li")).to_have_count(1)
            page.goto(f"{room.page_url}#living-room")
            sensor.timeline([(now - 50, "sad", 0.8)])
            sensor.state("fear")
            expect(word(page)).to_have_text("fear")
            assert "sad" not in labels(page)  # one is enough: they are large


def test_a_long_day_is_told_in_two_parts(room: Broker, visit):
    """The timeline, which is some minutes old, and what came since, of which the next part fills what is open."""
    now = time.time()
    with Puppet(room.port) as sensor:
        sensor.timeline([(now - 3_000, "happy", 0.8), (now - 650, "fear", 0.8)], at_s=now - 600)
        sensor.recent([(now - 660, "happy", 0.8), (now - 640, "sad", 0.8), (now - 400, "quiet", 0.9)], at_s=now - 30)
        sensor.state("quiet", since_s=now - 4)
        page = visit().page
        expect(page.locator("#changes li.hole")).to_have_count(1)
        assert labels(page) == ["happy", "sad", "quiet", None, "quiet"]  # where both tell, the later is right
        sensor.recent([(now - 660, "happy", 0.8), (now - 640, "sad", 0.8), (now - 400, "quiet", 0.9),
                       (now - 20, "angry", 0.8), (now - 4, "quiet", 0.9)])  # fmt: skip
        expect(page.locator("#changes li.hole")).to_have_count(0)
        assert labels(page) == ["happy", "sad", "quiet", "angry", "quiet"]
        sensor.timeline([(now - 3_000, "happy", 0.8), (now - 640, "sad", 0.8), (now - 4, "quiet", 0.9)])
        page.reload()
        expect(page.locator("#changes li")).to_have_count(3)  # what came since an older one is of no use any more
        assert labels(page) == ["happy", "sad", "quiet"]


@pytest.mark.parametrize("seen", [True, False], ids=["page was open", "page comes later"])
def test_a_quiet_just_before_the_power_went_is_no_line_beside_nobody_listened(room: Broker, visit, seen):
    """Killed with the very change to quiet, and back after a minute: what the sensor tells then."""
    now = round(time.time(), 3)
    early = [(now - 600, "quiet", 0.9), (now - 120, "happy", 0.8)]
    with Puppet(room.port) as sensor:
        page = visit().page if seen else None
        sensor.timeline(early, at_s=now - 70)
        sensor.event("quiet", "happy", 0.99, at_s=now - 60, previous_duration_ms=60_000)
        sensor.state("quiet", 0.99, at_s=now - 60, since_s=now - 60)
        sensor.send("status", "offline")
        page = page or visit().page
        expect(page.locator("#changes li").first).to_be_visible()
        sensor.send("status", "online")
        back = [*early, (now - 60, "quiet", 0.99), (now - 60, "quiet", 0.0), (now - 2, "quiet", 1.0)]
        sensor.timeline(back)
        sensor.state("quiet", since_s=now - 2)
        expect(page.locator("#changes li.gap .held")).to_have_text("for 58 s")
        wait_until(lambda: labels(page) == ["quiet", "happy", None, "quiet"], lambda: labels(page))


def test_a_room_that_is_opened_later_has_its_holes_filled_too(room: Broker, visit):
    now = time.time()
    early = [(now - 600, "sad", 0.9), (now - 60, "quiet", 0.9)]
    with Puppet(room.port) as sensor, Puppet(room.port, "hall"):
        sensor.timeline(early, at_s=now - 30)
        sensor.state("quiet", since_s=now - 4)
        page = visit().page
        expect(page.locator(".tile")).to_have_count(2)
        # That it was asked for while no room was open shows in the tile.
        wait_until(lambda: colours_in(page, ".tile[href='#living-room'] canvas")[tone(page, "sad")] > 0)
        page.goto(f"{room.page_url}#living-room")
        expect(page.locator("#changes li.hole")).to_have_count(1)
        sensor.timeline([*early, (now - 20, "happy", 0.8), (now - 4, "quiet", 0.9)])
        expect(page.locator("#changes li.hole")).to_have_count(0)
        assert labels(page) == ["sad", "quiet", "happy", "quiet"]


@pytest.mark.parametrize("spoke", [True, False])
def test_the_curve_says_of_the_time_before_the_page_only_what_is_known(room: Broker, visit, spoke):
    now = time.time()
    told = [(now - 300, "quiet", 0.9), *([(now - 20, "angry", 0.7)] if spoke else []), (now - 10, "quiet", 0.9)]
    with Puppet(room.port) as sensor:
        sensor.state("quiet", since_s=now - 10)
        page = visit().page
        expect(page.locator("#curve-empty")).to_have_text("It begins when somebody speaks.")  # no more is known yet
        sensor.timeline(told)
        expect(page.locator("#changes li")).to_have_count(3 if spoke else 1)
        said = "It begins when somebody speaks." if spoke else "Nobody has spoken for a while."
        expect(page.locator("#curve-empty")).to_have_text(said)
        sensor.state("happy")
        expect(page.locator("#curve-empty")).to_be_hidden()


def test_an_event_tells_for_how_long_the_label_before_it_had_lasted(room: Broker, visit):
    now = time.time()
    with Puppet(room.port) as sensor:
        page = visit().page
        sensor.event("happy", "quiet", at_s=now - 60)
        sensor.event("sad", "happy", at_s=now - 30, previous_duration_ms=30_000)
        expect(page.locator("#changes li")).to_have_count(2)
        expect(page.locator("#changes li .held").last).to_have_text("for 30 s")
        sensor.event("fear", "quiet", at_s=now, previous_duration_ms=4_000)  # what led to that quiet never came
        expect(page.locator("#changes li.hole .held")).to_have_text("for 30 s")
        assert labels(page) == ["happy", "sad", None, "fear"]
