"""Pictures of the dashboard for the README: `python -m tests.dashboard.make_pictures`, about five minutes.

A real broker, a real browser, and in the living room the sensor itself, which hears the bundled recording: its labels
and figures are as the present model gives them. The day before that and the other rooms are a puppet's, made up.
"""

import io
import re
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from edge.hearing.affect import affect
from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording
from tests.conftest import DASHBOARD
from tests.dashboard.puppet import Puppet, plausible_day, spread
from tests.support.broker import Broker
from tests.support.chromium import launch, word
from tests.support.daemon import RECORDING, Daemon

PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"
ROOM = "living-room"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
CURVE_S = 120  # of which the page shows the probabilities
TIMES = 10  # the recording, one after the other
SURE_MS = 120_000  # for the sensor to be sure of a label again
OTHERS = {
    "bedroom": ("quiet", 0.97, "ok"), "hall": ("neutral", 0.64, "ok"), "kitchen": ("unknown", 0.41, "ok"),
    "nursery": ("quiet", 0.0, "stalled"), "study": ("sad", 0.71, "ok"),
}  # fmt: skip


def shoot(page: Page, name: str) -> None:
    """Save what the window shows, in 256 colours, which is a third of the bytes."""
    path = PICTURES / f"dashboard-{name}.png"
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB", flush=True)


def shoot_when_sure(page: Page, name: str) -> None:
    """Take the picture at the next label that the sensor is sure of, a second after it came."""
    sure = page.locator("#now-detail", has_text=re.compile("^[0-9]+ % sure$"))
    expect(sure).to_be_hidden(timeout=SURE_MS)
    expect(sure).to_be_visible(timeout=SURE_MS)
    time.sleep(1)  # the transitions end
    shoot(page, name)


def earlier_day(broker: Broker) -> None:
    """Leave behind what a sensor that ran until now would have: the sensor goes on from there."""
    with Puppet(broker.port, ROOM) as before:
        now = time.time()
        day = plausible_day(now)
        before.timeline(day)
        before.state("quiet", 0.97, since_s=day[-1][0])


def living_room(page: Page, phone: Page) -> None:
    expect(word(page)).to_be_visible()
    time.sleep(CURVE_S)
    shoot_when_sure(page, "desktop")
    shoot_when_sure(phone, "phone")
    page.emulate_media(color_scheme="dark")
    shoot_when_sure(page, "dark")
    page.emulate_media(color_scheme="light")


def other_rooms(stack: ExitStack, page: Page, broker: Broker) -> None:
    for device, (label, confidence, microphone) in OTHERS.items():
        other = stack.enter_context(Puppet(broker.port, device))
        other.timeline(plausible_day(time.time(), seed=len(device)))
        detail = "" if microphone == "ok" else "the microphone stopped delivering sound: check its plug"
        other.health(microphone=microphone, detail=detail)
        scores = {} if label == "quiet" else spread(label, confidence)
        other.state(
            label, confidence, since_s=time.time() - 20 * len(device), microphone=microphone, scores=scores,
            **affect(scores),
        )  # fmt: skip
    page.locator(".tile-word").nth(len(OTHERS)).wait_for()
    time.sleep(8)  # the timelines come one by one
    shoot(page, "rooms")
    page.goto(f"{broker.page_url}#nursery")
    time.sleep(2)
    shoot(page, "deaf")


def pictures(browser: Browser, broker: Broker, folder: Path) -> None:
    recording = folder / "recording.wav"
    soundfile.write(recording, np.tile(load_recording(RECORDING), TIMES), SAMPLE_RATE_HZ)
    earlier_day(broker)
    edge = {"device": {"id": ROOM}}
    with ExitStack() as stack:
        stack.enter_context(Daemon(folder, broker.port, recording=recording, edge=edge)).wait_until_ready()
        page = browser.new_page(viewport=DESKTOP, locale="en-GB")
        phone = browser.new_page(viewport=PHONE, locale="en-GB", device_scale_factor=2)
        for each in (page, phone):
            each.goto(f"{broker.page_url}?demo")  # for what is heard are the demo's voices
        living_room(page, phone)
        other_rooms(stack, page, broker)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Broker(Path(folder) / "broker", http_dir=DASHBOARD) as broker,
        sync_playwright() as playwright,
    ):
        pictures(launch(playwright), broker, Path(folder))
