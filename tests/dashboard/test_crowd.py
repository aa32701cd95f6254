"""Three hundred sensors: the page and `roomtone watch` show every one of them, and what each says now."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from playwright.sync_api import expect

from tests.dashboard.puppet import LABELS, rfc3339
from tests.dashboard.test_hostile import good
from tests.support.broker import HOST, Broker
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.terminal import Terminal

SENSORS, DEAF = 300, (123, 124, 299)
NAMES = [f"room-{number:03}" for number in range(SENSORS)]
LAST = NAMES[-2]  # far out of sight


def label(number: int) -> str:
    return "deaf" if number in DEAF else LABELS[number % len(LABELS)]


def timelines(asked: list[bytes], name: str) -> bool:
    """Return whether a page asked for the timeline of a sensor."""
    return any(f"roomtone/{name}/timeline".encode() in frame for frame in asked)


@pytest.fixture
def crowd(room: Broker) -> Iterator[paho.Client]:
    """What all of them said, retained."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(100)
    client.connect(HOST, room.port)
    client.loop_start()
    for number, name in enumerate(NAMES):
        told = {"emotion": "quiet", "microphone": "stalled"} if number in DEAF else {"emotion": label(number)}
        client.publish(f"roomtone/{name}/status", "online", qos=1, retain=True)
        client.publish(f"roomtone/{name}/state", json.dumps({**good("state"), **told}), qos=1, retain=True)
    told = {"ts": rfc3339(time.time()), "runs": [[rfc3339(time.time() - 7_200), "sad", 0.8]]}
    for name in (NAMES[0], LAST):
        last = client.publish(f"roomtone/{name}/timeline", json.dumps(told), qos=1, retain=True)
    last.wait_for_publish(PATIENCE_S)
    yield client
    client.disconnect()
    client.loop_stop()


def test_the_page_shows_all_of_them(room: Broker, crowd: paho.Client, visit):
    page, asked = visit().page, []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(bytes(frame))))
    page.clock.set_fixed_time(time.time())  # a busy machine may take longer than what was said holds
    page.reload()
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(SENSORS)
    expect(page.locator("#rooms-summary")).to_have_text(f"{SENSORS} sensors, 3 need a look")
    assert page.locator(".tile-name").all_text_contents() == [name.replace("-", " ") for name in NAMES]
    expect(page.locator(".tile-word")).to_have_text([label(number) for number in range(SENSORS)])

    tile = page.locator(f".tile[href='#{LAST}']")
    crowd.publish(f"roomtone/{LAST}/state", json.dumps({**good("state"), "emotion": "amused", "seq": 2}))
    expect(tile.locator(".tile-word")).to_have_text("amused")  # out of sight, it follows all the same
    assert timelines(asked, NAMES[0])
    assert not timelines(asked, LAST)  # which are large
    tile.scroll_into_view_if_needed()
    wait_until(lambda: page.wait_for_timeout(100) or timelines(asked, LAST))

    page.get_by_role("searchbox").fill("ROOM 29")
    expect(page.locator(".tile:visible")).to_have_count(10)
    expect(page.locator("#find-count")).to_have_text(f"10 of {SENSORS}")
    page.get_by_role("button", name="Needs a look").click()
    expect(page.locator(".tile:visible")).to_have_count(1)
    page.get_by_role("searchbox").fill("")
    expect(page.locator(".tile:visible .tile-name")).to_have_text([NAMES[number].replace("-", " ") for number in DEAF])
    page.get_by_role("button", name="Needs a look").click()
    expect(page.locator(".tile:visible")).to_have_count(SENSORS)

    crowd.publish(f"roomtone/{NAMES[5]}/status", "", qos=1, retain=True)
    expect(tiles).to_have_count(SENSORS - 1)
    assert page.locator(f".tile[href='#{NAMES[5]}']").count() == 0


def test_so_does_watch(room: Broker, crowd: paho.Client):
    told = ("watch", "--host", HOST, "--port", str(room.port))
    once = subprocess.run(
        [sys.executable, "-m", "edge", *told, "--once"], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S
    )
    assert once.returncode == 0, once.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in once.stdout.splitlines() if "room-" in line]
    assert rows == [[name, label(number)] for number, name in enumerate(NAMES)]
    with Terminal(*told) as terminal:
        terminal.wait_for(r"and \d+ more; 3 of all need a look")
        wait_until(lambda: terminal.read(0.1) is not None and "broker 127.0.0.1" in "".join(terminal.screen()))
        lines = [line.split("│")[1].strip() for line in terminal.screen() if "│ room-" in line]
        assert lines[:3] == [NAMES[number] for number in DEAF]  # what needs a look comes first
        assert lines[3:] == [name for number, name in enumerate(NAMES) if number not in DEAF][: len(lines) - 3]
        assert len(lines) > 25
        [rest] = [line for line in terminal.screen() if "of all need a look" in line]
        assert rest.startswith(f"and {SENSORS - len(lines)} more")
