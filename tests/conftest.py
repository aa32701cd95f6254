"""Fixtures shared by the tests."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.broker import Broker
from tests.support.quick import check_cost, check_light, is_quick
from tests.support.virtual_microphone import VirtualMicrophone

# Networks this small are slower in many threads than in one, and more so beside other processes that have as many.
for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(name, "1")
# Two processes that fill one cache of numba's at a time (librosa's, on a fresh machine) leave machine code that kills
# whoever reads it (numba's issue 10128): each has its own.
NUMBA_CACHE = Path(__file__).parents[1] / ".pytest_cache" / "numba" / os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["NUMBA_CACHE_DIR"] = str(NUMBA_CACHE)
# Hundreds of programs are started: each would compile our code anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What a Pi gets has no hypothesis.
with suppress(ImportError):
    import hypothesis

    # No example has to be quick: on a busy core any may take a second.
    hypothesis.settings.register_profile("patient", deadline=None)
    hypothesis.settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="the quick half: what starts no program and trains nothing")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of the quick half, the other files are not even imported: some bring TensorFlow."""
    if config.option.quick and collection_path.name.startswith("test_") and not is_quick(collection_path):
        return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked `heavy` is none of the quick half."""
    if config.option.quick:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("heavy")])
        items[:] = [item for item in items if not item.get_closest_marker("heavy")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """The quick half stays quick."""
    began = os.times()
    result = yield
    if item.config.option.quick:
        check_cost(sum(os.times()[:4]) - sum(began[:4]))
        check_light(sys.modules)
    return result


def pytest_configure() -> None:
    """Ctrl-C and a lost terminal reach what the tests start, also in a script's background and under nohup.

    A signal that is ignored when a program starts is ignored by all that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`, as `make test` and `make check` ask for."""
    from tests.support.parallel import workers

    return workers(waiting=not config.option.quick)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which tests stay together in one process."""
    from tests.support.parallel import Sharing

    return Sharing(config, log)


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sensor that a test starts keeps its events in the home of whoever runs the tests."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))


@pytest.fixture
def compiled_librosa() -> None:
    """What librosa compiles on a fresh machine, for half a minute and more, is none of what the test costs."""
    _compile_librosa()


@cache
def _compile_librosa() -> None:
    import librosa
    import numpy as np

    silence = np.zeros(4_096, np.float32)
    librosa.feature.mfcc(y=silence, sr=16_000, n_fft=512)
    librosa.pyin(silence, fmin=70, fmax=600, sr=16_000, frame_length=1_024)


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
