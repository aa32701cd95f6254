"""Ten to a thousand sensors on one broker, which is held to one core: what it needs, and what those need who look.

    python -m tests.bench.fleet [--counts 10 100 300 1000] [--seconds 120]

Everything is real: mosquitto, the sensors' links (fleet_sensors.py), the page in Chromium, `roomtone watch` in a
terminal, the recorder. They share this machine with the sensors: what these are late by is in the report, and its load.
"""

import argparse
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml
from playwright.sync_api import expect, sync_playwright

from edge.delivery.embedded import DASHBOARD
from tests.bench import asked
from tests.bench.fleet_sensors import record
from tests.support.broker import HOST, Broker
from tests.support.chromium import Visit, launch
from tests.support.sounds import ROOT

REPORT = Path(__file__).parent / "reports" / "fleet.json"
TOGETHER = 125  # sensors in a process, each with six open files, of which select() takes a thousand
TAPE_S, SEED = 1_200.0, 25
SHOWN_S = 600.0  # a thousand tiles may take minutes
LINES, COLUMNS = 50, 160
BROKER = "autosave_interval 30\nmax_queued_messages 50000\n"  # as house.sh has them


class Part:
    """A child process: what it says on a line of its own, and what it needs."""

    def __init__(self, *command: str | Path, **streams: object) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", *map(str, command)], cwd=ROOT, text=True, **streams)

    @classmethod
    @contextmanager
    def running(cls, *command: str | Path, **streams: object) -> Iterator["Part"]:
        part = cls(*command, **streams)
        try:
            yield part
        finally:
            part.process.send_signal(signal.SIGTERM)
            try:
                part.process.wait(30)
            except subprocess.TimeoutExpired:
                part.process.kill()
                part.process.wait()

    def line(self) -> str:
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"{self.process.args} ended")
        return line

    def ask(self) -> dict:
        self.process.send_signal(signal.SIGUSR2)
        return json.loads(self.line())


class Need:
    """What processes need from now on."""

    def __init__(self, *processes: psutil.Process) -> None:
        self._processes, self._began_s = processes, time.monotonic()
        self._before_s = self._worked_s()

    def _worked_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)

    def told(self) -> dict[str, float]:
        """Return the share of a core since the beginning, in %, and the memory (RSS) now."""
        share = (self._worked_s() - self._before_s) / (time.monotonic() - self._began_s)
        rss = sum(process.memory_info().rss for process in self._processes)
        return {"cpu_percent": round(100 * share, 1), "rss_mb": round(rss / 1e6, 1)}


class MainThread:
    """The page's main thread: the busiest of the renderers' (Chromium keeps a spare one)."""

    def __init__(self) -> None:
        self._began_s, self._before = time.monotonic(), self._seconds()

    @staticmethod
    def _renderers() -> list[psutil.Process]:
        return [each for each in psutil.Process().children(recursive=True) if "--type=renderer" in each.cmdline()]

    def _seconds(self) -> dict[int, float]:
        mains = ((each.pid, thread) for each in self._renderers() for thread in each.threads() if thread.id == each.pid)
        return {pid: thread.user_time + thread.system_time for pid, thread in mains}

    def told(self) -> dict[str, float]:
        took_s = time.monotonic() - self._began_s
        worked = {pid: seconds - self._before.get(pid, 0.0) for pid, seconds in self._seconds().items()}
        busiest = max(worked, key=worked.get)
        return {"main_thread_percent": round(100 * worked[busiest] / took_s, 1),
                "rss_mb": round(psutil.Process(busiest).memory_info().rss / 1e6, 1)}  # fmt: skip


@contextmanager
def watching(config: Path) -> Iterator[Part]:
    """`roomtone watch` in a terminal of LINES and COLUMNS, which is read."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "LINES": str(LINES), "COLUMNS": str(COLUMNS)}
    with Part.running("edge", "--config", config, "watch", stdin=theirs, stdout=theirs, stderr=theirs,
                      env=environment) as part:  # fmt: skip
        threading.Thread(target=drain, args=(ours,), daemon=True).start()
        yield part


def drain(terminal: int) -> None:
    while os.read(terminal, 65_536):
        pass


@contextmanager
def fleet(tape: Path, port: int, count: int, *, bare: bool) -> Iterator[list[Part]]:
    """So many sensors, connected, with nothing that waits."""
    parts, together = [], count if bare else TOGETHER
    try:
        for first in range(0, count, together):
            told = ("--port", str(port), "--first", str(first), "--count", str(min(together, count - first)))
            parts.append(Part("tests.bench.fleet_sensors", tape, *told, *(["--bare"] if bare else []),
                              stdout=subprocess.PIPE))  # fmt: skip
        for part in parts:
            assert part.line() == "ready\n"
        yield parts
    finally:
        for part in parts:
            part.process.kill()
            part.process.wait()


def measure(tape: Path, count: int, seconds: float, settled_s: float, *, bare: bool) -> dict:
    """Return what all of them needed for so long."""
    with tempfile.TemporaryDirectory(prefix="roomtone-bench-") as name:
        folder = Path(name)
        with Broker(folder / "broker", http_dir=DASHBOARD, extra=BROKER) as broker:
            mosquitto = psutil.Process(broker._process.pid)
            mosquitto.cpu_affinity([0])
            config = folder / "config.yaml"
            config.write_text(yaml.safe_dump({"edge": {"mqtt": {"host": HOST, "port": broker.port}}}))
            record_it = ("edge", "--config", config, "history", "record", "--store", folder / "history.sqlite")
            with (
                Part.running("tests.bench.fleet_ear", str(broker.port), stdout=subprocess.PIPE) as ear,
                Part.running(*record_it, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder,
                watching(config) as watch,
                sync_playwright() as playwright,
            ):
                assert ear.line() == "ready\n"
                began_s = time.monotonic()
                with fleet(tape, broker.port, count, bare=bare) as sensors:
                    connected_s = time.monotonic() - began_s
                    browser = launch(playwright)
                    began_s = time.monotonic()
                    visit = Visit.begin(browser, broker.page_url)
                    expect(visit.page.locator(".tile")).to_have_count(count, timeout=1_000 * SHOWN_S)
                    shown_s = time.monotonic() - began_s
                    time.sleep(settled_s)
                    found = _measured(seconds, mosquitto, ear, sensors, {"watch": watch, "recorder": recorder})
                    found["page"]["all_shown_after_s"] = round(shown_s, 1)
                    found["sensors"] |= {"count": count, "connected_after_s": round(connected_s, 1)}
                    found["retained_mb"] = round((folder / "broker" / "mosquitto.db").stat().st_size / 1e6, 1)
                    browser.close()
    return found


def _measured(
    seconds: float, mosquitto: psutil.Process, ear: Part, sensors: list[Part], others: dict[str, Part]
) -> dict:
    processes = [psutil.Process(part.process.pid) for part in sensors]
    for part in (ear, *sensors):
        part.process.send_signal(signal.SIGUSR1)
    needs = {"broker": Need(mosquitto), "sensors": Need(*processes), "ear": Need(psutil.Process(ear.process.pid))}
    needs |= {name: Need(psutil.Process(part.process.pid)) for name, part in others.items()}
    page, busy = MainThread(), psutil.cpu_times_percent()
    time.sleep(seconds)
    busy = psutil.cpu_times_percent()
    found = {name: need.told() for name, need in needs.items()} | {"page": page.told()}
    found["heard"] = ear.ask()
    asked = [part.ask() for part in sensors]
    found["sensors"] |= {
        "lag_ms": {name: max(each["lag_ms"][name] for each in asked) for name in ("p50", "p99")},
        "worst_lag_ms": max(each["worst_lag_ms"] for each in asked),
        "said": {kind: sum(each["said"].get(kind, 0) for each in asked) for kind in asked[0]["said"]},
        "events_waiting": sum(each["events_waiting"] for each in asked),
    }
    load = [round(each, 1) for each in os.getloadavg()]
    return found | {
        "seconds": seconds,
        "machine": {"cores": os.cpu_count(), "idle_percent": busy.idle, "load": load},
    }


def draw(report: dict, path: Path) -> None:
    """Draw what each needs against the number of sensors."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    runs = report["runs"]
    counts = [run["sensors"]["count"] for run in runs]
    figure, (cpu, memory, latency) = pyplot.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    for name, key in (("broker", "cpu_percent"), ("page", "main_thread_percent"), ("watch", "cpu_percent"),
                      ("recorder", "cpu_percent"), ("sensors", "cpu_percent")):  # fmt: skip
        style = {"linestyle": ":", "color": "gray"} if name == "sensors" else {}
        label = {"page": "page, main thread", "sensors": "all sensors (not counted)"}.get(name, name)
        cpu.plot(counts, [run[name][key] for run in runs], marker="o", label=label, **style)
    cpu.set_ylabel("% of a core")
    for name in ("broker", "page", "watch", "recorder"):
        memory.plot(counts, [run[name]["rss_mb"] for run in runs], marker="o", label=name)
    memory.set_ylabel("MB (RSS)")
    for kind, label in (("state_ms", "a state, sensor to subscriber"), ("ping_ms", "a ping through the broker")):
        for share, style in (("p50", "-"), ("p99", "--")):
            values = [run["heard"][kind][share] for run in runs]
            latency.plot(counts, values, style, marker="o", label=f"{label}, {share}",
                         color="C0" if kind == "state_ms" else "C1")  # fmt: skip
    latency.set_ylabel("ms")
    latency.set_yscale("log")
    for axes in (cpu, memory, latency):
        axes.set_xscale("log")
        axes.set_xlabel("sensors")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure a broker, and who looks, with many sensors.")
    parser.add_argument("--counts", type=asked.number, nargs="+", default=[10, 100, 300, 1_000])
    parser.add_argument("--seconds", type=asked.seconds, default=120.0)
    parser.add_argument("--bare", action="store_true", help="sensors without links, all on one connection")
    parser.add_argument("--settled", type=float, default=20.0, help="seconds before measuring")
    parser.add_argument("--tape", type=Path, help="what a sensor said (fleet_sensors.py); else it is made")
    parser.add_argument("--out", type=Path, default=REPORT)
    options = parser.parse_args()
    out = asked.file(options.out)
    tape = options.tape or ROOT / "runs" / "fleet-tape.jsonl"
    if not tape.exists():
        asked.corpora("TESS", "RAVDESS")
        tape.parent.mkdir(exist_ok=True)
        record(tape, seconds=TAPE_S, seed=SEED)
    report = json.loads(out.read_text()) if out.exists() else {"runs": []}
    for count in options.counts:
        found = measure(tape, count, options.seconds, options.settled, bare=options.bare) | {"bare": options.bare}
        print(json.dumps(found), flush=True)
        others = [run for run in report["runs"] if run["sensors"]["count"] != count]
        report["runs"] = sorted([*others, found], key=lambda run: run["sensors"]["count"])
        out.write_text(json.dumps(report, indent=1) + "\n")
        draw(report, out.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    asked.answer(main)
