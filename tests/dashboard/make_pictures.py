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

from edge.commands.demo import RECORDING
from edge.hearing.affect import affect
from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording
from tests.conftest import DASHBOARD
from tests.dashboard.puppet import Puppet, plausible_day, spread
from tests.support.broker import Broker
from tests.support.chromium import launch, word
from tests.support.daemon import Daemon

PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"
ROOM = "living-room"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
PLAIN = {"locale": "en-GB", "reduced_motion": "reduce"}  # no transition in the middle of which a picture is taken
CURVE_S = 120  # of which the page shows the probabilities
TIMES = 10  # the recording, one after the other
SURE_S = 240.0
# As sure as may be: of the labels said to corpora never heard 56 % are right (train/reports/strangers/report.md).
BORNE_OUT = re.compile(r"^a guess \([56][0-9] %\)$")
OTHERS = {
    "bedroom": ("quiet", 0.97, "ok"), "hall": ("neutral", 0.64, "ok"), "kitchen": ("unknown", 0.41, "ok"),
    "nursery": ("quiet", 0.0, "stalled"), "study": ("sad", 0.71, "ok"),
}  # fmt: skip


def shoot(page: Page, name: str) -> None:
    save(page.screenshot(), name)


def shoot_when_sure(page: Page, name: str) -> None:
    """Take the picture as soon as the sensor is as sure of a label as BORNE_OUT says."""
    sure = page.locator("#now-detail", has_text=BORNE_OUT)
    due_s = time.monotonic() + SURE_S
    while time.monotonic() < due_s:
        expect(sure).to_be_visible()
        said = page.locator("#now").inner_text()
        shot = page.screenshot()
        if sure.is_visible() and said.split("\n")[:3] == page.locator("#now").inner_text().split("\n")[:3]:
            save(shot, name)
            return
    raise RuntimeError(f"{name}: nothing was as sure as {BORNE_OUT.pattern}")


def save(screenshot: bytes, name: str) -> None:
    """Save what a window showed, in 256 colours, which is a third of the bytes."""
    path = PICTURES / f"dashboard-{name}.png"
    shot = Image.open(io.BytesIO(screenshot)).convert("RGB")
    shot.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB", flush=True)


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
        page = browser.new_page(viewport=DESKTOP, **PLAIN)
        phone = browser.new_page(viewport=PHONE, device_scale_factor=2, **PLAIN)
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
