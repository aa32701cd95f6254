"""What the dashboard says when a broker, a sensor or a microphone is not there, and what its switch does."""

import time
from datetime import datetime
from pathlib import Path

from playwright.sync_api import expect

from edge.sound.faults import REASONS
from tests.conftest import DASHBOARD
from tests.dashboard.puppet import Puppet
from tests.support.broker import Broker
from tests.support.chromium import word
from tests.support.patience import wait_until


def test_a_broker_killed_and_restarted(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        sensor.timeline([(time.time() - 3600, "sad", 0.7), (time.time() - 1800, "quiet", 0.9)])
        expect(word(page)).to_have_text("happy")
        saved = room.folder / "mosquitto.db"  # which is written once a second
        wait_until(lambda: saved.exists() and b"/timeline" in saved.read_bytes())
        room.kill()
        expect(page.locator("#link-word")).to_have_text("disconnected")
        expect(page.locator("[data-notice=link]")).to_contain_text(
            "Disconnected: no answer from the broker at ws://127"
        )
        expect(page.locator("#now-kicker")).to_have_text("Last known")
        expect(page.locator("#listening")).to_have_attribute("aria-disabled", "true")
        assert page.title().startswith("disconnected")
        room.start()
        expect(page.locator("#link-word")).to_have_text("connected")
        expect(page.locator("#notices p")).to_have_count(0)
        sensor.event("sad", "happy")
        sensor.state("sad")
        expect(word(page)).to_have_text("sad")
        expect(page.locator("#changes li").first).to_contain_text("sad")
        expect(page.locator("#listening")).to_have_attribute("aria-disabled", "false")


def test_of_two_brokers_the_page_takes_the_second_and_the_first_again_when_it_holds(room: Broker, visit, tmp_path):
    other = Broker(tmp_path / "second", websockets=True)
    with other as second, Puppet(second.port) as there, Puppet(room.port) as here:
        page = visit(f"?broker={room.websockets_url}&broker={second.websockets_url}").page
        page.evaluate("Connection.RETURN_MS = 1000")
        here.state("happy")
        expect(word(page)).to_have_text("happy")
        room.kill()
        there._seq = here._seq + 1  # one sensor has one counter
        there.state("sad")
        there.health(broker={"away": "broker a.lan:8883: connection refused"})
        expect(word(page)).to_have_text("sad")
        expect(page.locator("#link-word")).to_have_text("connected")
        assert page.evaluate("broker.connection.url") == second.websockets_url
        expect(page.locator("#health-figures")).to_contain_text("broker a.lan:8883: connection refused")
        room.start()
        back = "broker.connection.url === address.urls[0] && broker.connection.link.state === 'up'"
        wait_until(lambda: page.evaluate(back))
        wait_until(lambda: here._client.is_connected())
        here._seq = there._seq + 1
        here.state("angry")
        expect(word(page)).to_have_text("angry")


def test_a_broker_that_takes_pages_and_drops_them_is_left_alone(room: Broker, visit, tmp_path):
    with Broker(tmp_path / "first", websockets=True, users={"nobody": "x"}) as first, Puppet(room.port) as sensor:
        first.stop()
        page = visit(f"?broker={first.websockets_url}&broker={room.websockets_url}").page
        sensor.state("happy")
        expect(word(page)).to_have_text("happy")
        waits = page.evaluate("""() => {
          const two = new Connection(["ws://a/", "ws://b/"], null);
          return Array.from({ length: 12 }, () => {
            two._at = 0; // gone back to, and dropped at once
            two._backAtMs = 0;
            two._moveOn(0);
            return [two.url, two._returnMs];
          });
        }""")
        assert waits == [["ws://b/", min(20_000 * 2**number, 3_600_000)] for number in range(12)]


def test_a_sensor_that_loses_its_link_is_offline_and_comes_back(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        expect(word(page)).to_have_text("happy")
        sensor.die()
        expect(word(page)).to_have_text("offline")
        expect(page.locator("#now")).to_have_attribute("data-condition", "offline")
        expect(page.locator("#now-since")).to_contain_text("Last heard: happy")
        expect(page.locator("#listening-note")).to_contain_text("Cannot be switched")
        expect(page.locator("#listening-note")).to_contain_text("Whether its microphone is open is not known")
        expect(page.locator("#listening-word")).to_have_text("?")
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        expect(word(page)).to_have_text("happy")
        expect(page.locator("#listening-word")).to_have_text("on")


def test_without_news_the_page_stops_claiming(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        expect(word(page)).to_have_text("happy")
        page.clock.set_fixed_time(datetime.fromtimestamp(time.time() + 91))
        expect(word(page)).to_have_text("no news")
        expect(page.locator("#now-detail")).to_have_text("Nothing came for 1 min.")
        page.clock.set_fixed_time(datetime.now())
        sensor.state("sad")
        expect(word(page)).to_have_text("sad")


def test_a_microphone_that_hears_little_above_its_noise_for_a_day_is_told(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("quiet")
        sensor.health(loudest_minute_db=4)
        expect(page.locator("[data-notice=faint]")).to_contain_text("the loudest minute was 4 dB above the noise")
        for well in ({"loudest_minute_db": 31}, {"loudest_minute_db": None}, {}):
            sensor.health(loudest_minute_db=4)
            expect(page.locator("[data-notice=faint]")).to_have_count(1)
            sensor.health(**well)
            expect(page.locator("[data-notice=faint]")).to_have_count(0)


def test_an_old_retained_state_is_no_news(room: Broker, visit):
    with Puppet(room.port) as sensor:
        sensor.state("happy", at_s=time.time() - 300)
        page = visit().page
        expect(word(page)).to_have_text("no news")


def test_every_reason_of_a_deaf_microphone_has_its_words(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        for code, reason in REASONS.items():
            sensor.health()
            sensor.state("quiet", 0.0, microphone=code)
            expect(page.locator("#ear-state")).to_have_text(reason.words)
            words = {"off": "not listening", "quiet-hours": "not listening", "starting": "starting"}
            expect(word(page)).to_have_text(words.get(code, "deaf"))
            sensor.health(microphone=code, detail=f"told by <b>{code}</b>")
            # What is off on purpose needs no reason, however it is told.
            on_purpose = {"off": "Listening is switched off.", "quiet-hours": "These are quiet hours."}
            expect(page.locator("#now-detail")).to_have_text(on_purpose.get(code, f"Told by <b>{code}</b>."))
        sensor.health()
        sensor.state("happy")
        expect(word(page)).to_have_text("happy")


def test_a_microphone_that_is_absent_from_the_start(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.health(microphone="absent", detail="there is no such microphone (ReSpeaker): plug it in")
        expect(word(page)).to_have_text("deaf")
        expect(page.locator("#now-detail")).to_contain_text("ReSpeaker")


def test_the_switch_sends_commands_and_follows_the_sensor(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("quiet")
        switch = page.get_by_role("switch", name="Listening")
        expect(switch).to_be_checked()
        switch.click()
        expect(page.locator("#listening-note")).to_have_text("Switching off…")
        expect(switch).to_be_checked()  # until the sensor says otherwise
        wait_until(lambda: sensor.commands == [("OFF", False, 1)])
        sensor.send("listening", "OFF")
        expect(switch).not_to_be_checked()
        expect(word(page)).to_have_text("not listening")
        expect(page.locator("#listening-note")).to_have_text("")
        switch.focus()
        page.keyboard.press("Space")
        wait_until(lambda: sensor.commands[1:] == [("ON", False, 1)])
        sensor.send("listening", "ON")
        expect(switch).to_be_checked()


def test_a_command_that_the_broker_refuses(tmp_path: Path, visit):
    acl = "topic read roomtone/#\ntopic write roomtone/+/status\ntopic write roomtone/+/state\n"
    with Broker(tmp_path / "acl", http_dir=DASHBOARD, acl=acl) as broker, Puppet(broker.port) as sensor:
        sensor.state("quiet")
        page = visit(at=broker).page
        page.get_by_role("switch", name="Listening").click()
        expect(page.locator("#listening-note")).to_contain_text("Not switched")
        expect(page.locator("#listening-note")).to_contain_text("not authorized")
