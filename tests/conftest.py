"""Fixtures shared by the tests."""

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.broker import Broker
from tests.support.virtual_microphone import VirtualMicrophone

# What a Pi gets has no hypothesis.
with suppress(ImportError):
    import hypothesis

    # No example has to be quick: on a busy core any may take a second.
    hypothesis.settings.register_profile("patient", deadline=None)
    hypothesis.settings.load_profile("patient")


def pytest_configure() -> None:
    """Ctrl-C and a lost terminal reach what the tests start, also in a script's background and under nohup.

    A signal that is ignored when a program starts is ignored by all that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sensor that a test starts keeps its events in the home of whoever runs the tests."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))


if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.chromium import Visit

DASHBOARD = Path(__file__).parents[1] / "edge" / "dashboard"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running mosquitto on loopback, open to anybody."""
    with Broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def virtual_microphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMicrophone]:
    """A microphone that hears what the test plays; it is the default one of this process and of its children."""
    with VirtualMicrophone(tmp_path / "microphone") as running:
        running.plug_into(monkeypatch)
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A headless browser. Playwright is imported only here: what a Pi gets does not have it."""
    from playwright.sync_api import sync_playwright

    from tests.support.chromium import launch

    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Broker]:
    """A broker that serves the dashboard."""
    with Broker(tmp_path / "room", http_dir=DASHBOARD) as running:
        yield running


@pytest.fixture
def visit(chromium: "Browser", room: Broker) -> Iterator[Callable[..., "Visit"]]:
    """Opens the dashboard; at the end no page may have run foreign script, failed, or called anybody but a broker."""
    from tests.support.chromium import Visit

    visits: list[Visit] = []

    def open_page(path: str = "", *, at: Broker | None = None, **context: Any) -> Visit:
        visits.append(Visit.begin(chromium, (at or room).page_url + path, **context))
        return visits[-1]

    yield open_page
    for each in visits:
        each.end()
