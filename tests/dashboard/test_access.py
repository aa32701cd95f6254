"""Who may see the dashboard, and who can: signing in, other brokers, TLS, keyboard, screen readers."""

import time
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.conftest import DASHBOARD
from tests.dashboard.puppet import Puppet, plausible_day, spread
from tests.support.broker import Broker
from tests.support.certificates import Authority
from tests.support.chromium import word

LABELS = ("happy", "unknown", "quiet", "angry", "disgust", "fear", "neutral", "sad", "surprise", "of-my-own")


def test_signing_in(tmp_path: Path, visit):
    users = {"wall": "k3y of the wall", "sensor": "s3cret"}
    with (
        Broker(tmp_path / "closed", http_dir=DASHBOARD, users=users) as broker,
        Puppet(broker.port, username="sensor", password="s3cret") as sensor,
    ):
        sensor.state("happy")
        page = visit(at=broker).page
        dialog = page.get_by_role("dialog", name="Sign in to the broker")
        expect(dialog).to_be_visible()
        expect(page.get_by_label("User name")).to_be_focused()
        page.keyboard.type("wall")
        page.keyboard.press("Tab")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The broker does not accept this name and password.")
        expect(page.locator("#sign-in")).to_have_text("Sign in")
        expect(page.get_by_label("Password")).to_have_value("")
        page.get_by_label("Password").fill("k3y of the wall")
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(word(page)).to_have_text("happy")
        kept = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie, location.href].join()")
        assert kept == f"0,0,,{broker.page_url}"
        assert "k3y" not in page.content()
        page.get_by_role("button", name="Sign out").click()
        expect(dialog).to_be_visible()
        page.reload()
        expect(dialog).to_be_visible()
        page.wait_for_selector("html[data-whole]", state="attached")  # before its broker goes away


def test_nobody_is_asked_to_sign_in_where_there_is_no_password(room: Broker, visit, tmp_path: Path):
    page = visit().page
    expect(page.locator("#sign-in")).to_be_visible()  # a broker may show its sensors to names only
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        expect(word(page)).to_have_text("happy")
        expect(page.locator("#sign-in")).to_be_hidden()
        room.stop()
        expect(page.locator("#link-word")).to_have_text("disconnected")
        expect(page.locator("#sign-in")).to_be_hidden()
        room.start()
        expect(page.locator("#link-word")).to_have_text("connected")
    acl = "topic read roomtone/#\n" + "".join(f"topic write roomtone/+/{each}\n" for each in ("status", "state"))
    with Broker(tmp_path / "acl", http_dir=DASHBOARD, acl=acl) as broker, Puppet(broker.port) as sensor:
        sensor.state("happy")
        page = visit(at=broker).page
        expect(word(page)).to_have_text("happy")
        expect(page.locator("#sign-in")).to_be_hidden()
        page.get_by_role("switch", name="Listening").click()
        expect(page.locator("#listening-note")).to_contain_text("not authorized")
        expect(page.locator("#sign-in")).to_be_visible()  # with another name


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, {"width": 390, "height": 844}])
def test_a_sign_for_guests_fits_one_sheet(room: Broker, visit, viewport: dict):
    page = visit(viewport=viewport).page
    with Puppet(room.port):
        page.get_by_role("link", name="A sign for guests, to print").click()
        expect(page.get_by_role("heading", name="In this room a sensor listens.")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.pdf(format="A4", prefer_css_page_size=True).count(b"/Type /Page\n") == 1
        page.go_back()
        page.wait_for_selector("html[data-whole]", state="attached")


def test_another_broker_over_tls(tmp_path: Path, visit):
    certificate, key = Authority(tmp_path).issue("broker")
    with Broker(tmp_path / "tls", websockets=True, certificate=certificate, key=key) as broker:
        page = visit(f"?broker={broker.websockets_url}", ignore_https_errors=True).page
        expect(page.locator("#link-word")).to_have_text("connected")
        assert page.evaluate("broker.connection.url").startswith("wss://127.0.0.1:")
        stranger = visit(f"?broker={broker.websockets_url}").page
        expect(stranger.locator("#link-word")).to_have_text("disconnected")


def test_an_address_that_cannot_be(room: Broker, visit):
    page = visit().page
    for address, problem in (
        ("http://example.org/", "must begin with ws:// or wss://"),
        ("javascript:alert(1)", "must begin with ws:// or wss://"),
        ("nonsense", "is not an address"),
        ("", "is not an address"),
        ("wss://me:secret@example.org/", "no password in the address"),
    ):
        page.goto(f"{room.page_url}?broker={address}")
        expect(page.locator("#empty-text")).to_contain_text(problem, ignore_case=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_emotion(room: Broker, visit, scheme: str):
    page = visit(color_scheme=scheme, reduced_motion="reduce").page
    with Puppet(room.port) as sensor:
        sensor.timeline(plausible_day(time.time()))
        sensor.health(dropped_blocks=3)
        for label in LABELS:
            sensor.state(label, 0.62, scores=spread(label, 0.62), arousal=0.3, valence=-0.4)
            expect(word(page)).to_have_text(label)
            assert violations(page, "#now") == []
        assert violations(page) == []
        sensor.event("sad", "surprise", late=True)
        expect(page.locator("[data-notice=late]")).to_be_visible()
        sensor.state("quiet", microphone="stalled")
        expect(word(page)).to_have_text("deaf")
        assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_other_views(room: Broker, visit, scheme: str):
    phone = {"width": 390, "height": 844}
    page = visit("?demo", color_scheme=scheme, reduced_motion="reduce", viewport=phone).page
    assert violations(page) == []
    asking = visit(color_scheme=scheme, reduced_motion="reduce", viewport=phone).page
    asking.get_by_role("button", name="Sign in").click()
    expect(asking.get_by_role("dialog", name="Sign in to the broker")).to_be_visible()
    assert violations(asking) == []
    with Puppet(room.port, "kitchen") as kitchen, Puppet(room.port, "hall") as hall:
        kitchen.state("happy")
        hall.state("quiet", microphone="stalled")
        expect(page.locator(".tile-word")).to_have_text(["deaf", "happy"])
        assert violations(page) == []
        room.kill()
        expect(page.locator("[data-notice=link]")).to_be_visible()
        assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_where_there_is_little_to_tell(room: Broker, visit, scheme: str):
    """A day of which nothing is known, a mood beside an unknown label in a room that is new, and off on purpose; on a
    tablet at a wall."""
    tablet = {"width": 1024, "height": 768}
    page = visit(color_scheme=scheme, reduced_motion="reduce", viewport=tablet).page
    with Puppet(room.port) as sensor:
        sensor.state("quiet")
        expect(word(page)).to_have_text("quiet")
        assert violations(page) == []
        sensor.health(room_utterances=7)
        sensor.state("unknown", 0.3, scores=spread("angry", 0.3), mood="tense", mood_confidence=0.65)
        expect(word(page)).to_have_text("tense")
        assert violations(page) == []
        sensor.state("quiet", 0.0, microphone="off")
        expect(word(page)).to_have_text("not listening")
        assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844), (320, 568)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_switch_is_beside_the_headline_and_nothing_moves_when_it_speaks(room: Broker, visit, size, scheme: str):
    width, height = size
    page = visit(color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": height}).page
    with Puppet(room.port, "living-room") as sensor, Puppet(room.port, "hall"):
        page.goto(f"{room.page_url}#living-room")
        sensor.state("happy")
        expect(word(page)).to_have_text("happy")
        switch = page.get_by_role("switch", name="Listening")
        title, place, card = (
            each.bounding_box() for each in (page.locator("#room-title"), switch, page.locator("#now"))
        )
        assert place["y"] + place["height"] < card["y"] < height / 3
        assert place["y"] - title["y"] < 2 * title["height"]
        assert width - (place["x"] + place["width"]) < 40  # on the right
        switch.click()
        expect(page.locator("#listening-note")).to_have_text("Switching off…")
        assert page.locator("#now").bounding_box() == card
        assert switch.bounding_box() == place
        assert violations(page) == []
        sensor.send("status", "offline")
        expect(page.locator("#listening-note")).to_contain_text("Cannot be switched now")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_can_be_reached_by_keyboard(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.timeline(plausible_day(time.time()))
        sensor.state("happy")
        expect(page.locator("#changes li").nth(20)).to_be_attached()
        reached = []
        for _ in range(5):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id"))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", reached[-1]
        assert reached == ["skip", "home", "listening", "ribbon", "changes"]


def violations(page: Page, within: str = "html") -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    found = page.evaluate("async where => (await axe.run(where, { resultTypes: ['violations'] })).violations", within)
    return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]


def test_the_demo_says_what_it_is(visit):
    expect(visit("?demo").page.locator("#demo-note")).to_have_text(
        "Demo: the voices are synthetic, the labels illustrative. Switched off, it stays off until it ends."
    )
    expect(visit("?demo").page.locator("#sign-in")).to_be_hidden()  # nobody needs a name there
    expect(visit().page.locator("#demo-note")).to_be_hidden()
    expect(visit().page.locator("#sign-in")).to_be_visible()
