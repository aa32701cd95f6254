"""A real headless Chromium for the tests of the dashboard, watching for what must never happen in it."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, Playwright, expect

from tests.support.broker import HOST
from tests.support.patience import PATIENCE_S
from tests.support.system import require_program

expect.set_options(timeout=1_000 * PATIENCE_S)
# No sandbox: the tests also run as root in containers, where Chromium's own cannot be set up.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--js-flags=--expose-gc"]
_CLOSED = ("WebSocket connection to", "WebSocket is already in CLOSING or CLOSED state")


def launch(playwright: Playwright) -> Browser:
    """Start it: Debian's build for this, which opens a page at a third of the work of the one with windows, or that."""
    shell = "chromium-headless-shell"
    program = shutil.which(shell) or shutil.which("chromium") or require_program(shell, shell)
    return playwright.chromium.launch(executable_path=program, args=FLAGS)


@dataclass
class Visit:
    """A page and what was noticed about it: dialogs, errors, messages on the console, and whom it called."""

    page: Page
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    @classmethod
    def begin(cls, browser: Browser, url: str, **context: Any) -> Self:
        """Open the address in a context of its own, 1280 by 800 unless told otherwise."""
        opened = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 800}, **context})
        opened.set_default_timeout(1_000 * PATIENCE_S)
        visit = cls(opened.new_page())
        visit._watch()
        visit.page.goto(url)
        visit.page.wait_for_selector("html[data-whole]", state="attached")  # what comes after the first view, too
        return visit

    def end(self) -> None:
        """Close it, and fail if something happened that must not."""
        self.page.context.close()
        assert (self.dialogs, self.errors, self.console) == ([], [], [])
        assert {host.split(":")[0] for host in self.hosts} == {HOST}

    def _watch(self) -> None:
        page = self.page
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._said)
        page.on("request", lambda request: self._called(request.url))
        page.on("websocket", lambda socket: self._called(socket.url))

    def _said(self, message: Any) -> None:
        # That a broker which is down cannot be reached is no fault of the page's; Chromium says so each time. Nor is it
        # one that a connection was closed, by either side, a moment before something was sent on it.
        if message.type in ("error", "warning") and not message.text.startswith(_CLOSED):
            self.console.append(message.text)

    def _called(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "data":
            self.hosts.add(parts.netloc)


def cut_off(browser: Browser, file: Path, width: int) -> list[str]:
    """Return the tables of a page of one's own that are wider than they are shown in a window so wide."""
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(file.as_uri())
    wide = page.locator("table").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText)"
    )
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        wide.append("the page")
    context.close()
    return wide


def word(page: Page) -> Locator:
    """The big word on a room's page."""
    return page.locator("#now-word")


def labels(page: Page) -> list[str]:
    """The labels in the list of changes, oldest first."""
    return page.locator("#changes li").evaluate_all("items => items.map(item => item.dataset.label)")[::-1]


def tone(page: Page, label: str) -> str:
    """The colour of a label as the style sheet has it, e.g. `f0b429`."""
    return page.evaluate("label => Labels.colour(label).slice(1)", label)


def colours_in(page: Page, canvas: str) -> dict[str, int]:
    """How many pixels of each colour a canvas has, transparent ones left out."""
    counts = page.locator(canvas).evaluate(
        """canvas => {
            const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const counts = {};
            for (let i = 0; i < data.length; i += 4) {
                if (data[i + 3] < 255) continue;
                const colour = [data[i], data[i + 1], data[i + 2]].map(v => v.toString(16).padStart(2, "0")).join("");
                counts[colour] = (counts[colour] || 0) + 1;
            }
            return counts;
        }"""
    )
    return {**dict.fromkeys((tone(page, label) for label in ("sad", "happy")), 0), **counts}
