"""Pictures of the dashboard for the README: `python -m tests.dashboard.make_pictures`, about two and a half minutes.

A real broker and a real browser; a puppet sensor talks with made-up but plausible figures.
"""

import io
import math
import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from edge.hearing.affect import affect
from tests.conftest import DASHBOARD
from tests.dashboard.puppet import LABELS, Puppet, plausible_day
from tests.support.broker import Broker
from tests.support.chromium import launch, word

PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
# Who speaks when: (seconds, what it sounds like); None is a pause.
TALK = (
    (22, "neutral"),
    (6, None),
    (17, "happy"),
    (13, "surprise"),
    (5, None),
    (20, "sad"),
    (16, "neutral"),
    (24, "happy"),
)
OTHERS = {"bedroom": ("quiet", "ok"), "hall": ("neutral", "ok"), "kitchen": ("surprise", "ok"),
          "nursery": ("quiet", "stalled"), "study": ("sad", "ok")}  # fmt: skip


class Voice:
    """Probabilities as a network gives them: they drift towards what is said, and waver."""

    def __init__(self, seed: int = 4) -> None:
        self._chance = random.Random(seed)
        self._logits = dict.fromkeys(LABELS, 0.0)

    def scores(self, mood: str) -> dict[str, float]:
        for label, logit in self._logits.items():
            target = 2.6 if label == mood else -0.6
            self._logits[label] = logit + 0.3 * (target - logit) + self._chance.gauss(0, 0.28)
        total = sum(map(math.exp, self._logits.values()))
        return {label: round(math.exp(logit) / total, 4) for label, logit in self._logits.items()}


def talk(sensor: Puppet) -> None:
    voice, label, since = Voice(), "quiet", time.time()
    for seconds, mood in TALK:
        for _ in range(seconds):
            scores = voice.scores(mood) if mood else {}
            best = max(scores, key=scores.get) if scores else "quiet"
            heard = best if not scores or scores[best] > 0.45 else label
            if heard != label:
                since = time.time()
                sensor.event(heard, label, scores.get(heard, 0.97))
                label = heard
            sensor.state(label, scores.get(label, 0.97), since_s=since, scores=scores, **affect(scores))
            time.sleep(1)


def shoot(page: Page, name: str) -> None:
    """Save what the window shows, in 256 colours, which is a third of the bytes."""
    time.sleep(1.2)  # the transitions end, the seconds go on
    path = PICTURES / f"dashboard-{name}.png"
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def pictures(browser: Browser, broker: Broker) -> None:
    page = browser.new_page(viewport=DESKTOP, locale="en-GB")
    phone = browser.new_page(viewport=PHONE, locale="en-GB", device_scale_factor=2)
    with ExitStack() as stack:
        sensor = stack.enter_context(Puppet(broker.port))
        sensor.timeline(plausible_day(time.time()))
        sensor.health()
        sensor.state("quiet", 0.97, since_s=time.time() - 30)
        page.goto(broker.page_url)
        phone.goto(broker.page_url)
        word(page).wait_for()
        talk(sensor)
        shoot(page, "desktop")
        shoot(phone, "phone")
        page.emulate_media(color_scheme="dark")
        shoot(page, "dark")
        for device, (label, microphone) in OTHERS.items():
            other = stack.enter_context(Puppet(broker.port, device))
            other.timeline(plausible_day(time.time(), seed=len(device)))
            detail = "" if microphone == "ok" else "the microphone stopped delivering sound: check its plug"
            other.health(microphone=microphone, detail=detail)
            other.state(label, 0.74, since_s=time.time() - 100, microphone=microphone)
        page.emulate_media(color_scheme="light")
        page.locator(".tile-word").nth(len(OTHERS)).wait_for()
        time.sleep(8)  # the timelines come one by one
        shoot(page, "rooms")
        page.goto(f"{broker.page_url}#nursery")
        time.sleep(2)
        shoot(page, "deaf")


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Broker(Path(folder) / "broker", http_dir=DASHBOARD) as broker,
        sync_playwright() as playwright,
    ):
        pictures(launch(playwright), broker)
