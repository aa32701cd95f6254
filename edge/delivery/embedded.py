"""The embedded broker: a mosquitto of our own on loopback, which also serves the dashboard."""

import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from edge.addresses import hosts_of
from edge.config import Mqtt
from edge.errors import UnavailableError

DASHBOARD = Path(__file__).parents[1] / "dashboard"
HOST = "127.0.0.1"
_START_S = 5.0
FILES = 8_192  # two connections of each of 2,000 sensors, and of those who read
_PORT, _ATTEMPTS, _LAST_PORT = 1883, 20, 65_535
_FOLDER = "roomtone-broker-"
_OURS = re.compile(rb"mosquitto\0-c\0[^\0]*/" + _FOLDER.encode() + rb"[^/\0]+/(\d+)\.conf\0")  # how it is called
_RUNNING, _TAKEN = " running", "Address already in use"  # in mosquitto's log


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the embedded broker listens."""

    port: int
    page: str


@contextmanager
def embedded(*, port: int | None = None, websockets_port: int = 8080) -> Iterator[Broker]:
    """Run mosquitto as a child while the context lasts; ports that are taken give way to the next free ones.

    Raises UnavailableError where mosquitto is not installed or does not start.
    """
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise UnavailableError(
            "mosquitto: not installed: `sudo apt install mosquitto`, or name another broker in edge.mqtt.host"
        )
    with tempfile.TemporaryDirectory(prefix=_FOLDER) as folder:
        child, mqtt, web = _started(program, Path(folder), port or _PORT, websockets_port)
        try:
            threading.Thread(target=stir, args=(child, mqtt), daemon=True).start()
            yield Broker(port=mqtt, page=f"http://{HOST}:{web}/")
        finally:
            _end(child)


def running() -> list[int]:
    """Return the ports of the embedded brokers that run on this machine, whoever's: their command lines tell."""
    ports = set()
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if found := _OURS.search(line.read_bytes()):
                ports.add(int(found[1]))
    return sorted(ports)


def own(port: int | None) -> int | None:
    """Return where the embedded broker of a sensor runs on this machine, where `port` is the one wanted; None where
    none does. Its next ones count where others had that."""
    first = port or _PORT
    return next((each for each in running() if first <= each <= _last(first)), None)


def answering(port: int | None) -> list[int]:
    """Return the ports at which somebody's embedded broker may run on this machine, where `port` is the one wanted.

    What refuses whoever gives no name, or speaks something else, is none of them; what is silent may be one that hangs.
    """
    first = port or _PORT
    return [each for each in range(first, _last(first) + 1) if _may_be_ours(each)]


def brokers(mqtt: Mqtt) -> list[Mqtt]:
    """Return where to ask: each configured broker, or whatever may be an embedded one that runs on this machine now."""
    if mqtt.host == "embedded":
        return [Mqtt(host=HOST, port=port) for port in answering(mqtt.port)]
    return [replace(mqtt, host=host) for host in hosts_of(mqtt.host)]


def _may_be_ours(port: int) -> bool:
    connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00"  # the broker finds a name
    try:
        with socket.create_connection((HOST, port), timeout=1) as client:
            client.sendall(connect)
            return client.recv(4) == b"\x20\x02\x00\x00"
    except TimeoutError:
        return True
    except OSError:
        return False


def _started(program: str, folder: Path, port: int, websockets_port: int) -> tuple[subprocess.Popen, int, int]:
    """Start mosquitto on free ports and return it with them. One that another takes just then gives way, too."""
    log = folder / "log"
    # Without NOTIFY_SOCKET: mosquitto would tell systemd that it is ready, in our name.
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    for attempt in range(_ATTEMPTS):
        mqtt = _free_port(port)
        web = _free_port(websockets_port, taken=mqtt)
        config = folder / f"{mqtt}.conf"
        config.write_text(_config(mqtt, web))
        with log.open("wb") as output, _many_files():
            child = subprocess.Popen(
                [*_tied_to_us(), program, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,  # a Ctrl-C is for us: the broker is still there when we say `offline`
            )
        try:
            _await(child, (mqtt, web), log)
        except BaseException as error:
            _end(child)
            if isinstance(error, UnavailableError) and attempt + 1 < _ATTEMPTS and _TAKEN in log.read_text():
                continue
            raise
        break
    return child, mqtt, web


def _end(child: subprocess.Popen) -> None:
    child.terminate()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def stir(child: subprocess.Popen, port: int, *, every_s: float = 0.04) -> None:
    """Ping a broker over and over while it lives, so that the pages it serves come at once.

    mosquitto 2.0 turns to its websockets and web pages only when something stirs on a plain listener, else ten times a
    second: from an idle broker the dashboard takes more than a second to load. The pings cost 0.5 % of a core.
    """
    connect = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05stirs"
    try:
        with socket.create_connection((HOST, port), timeout=5) as client:
            client.sendall(connect)
            while child.poll() is None and client.recv(64):
                time.sleep(every_s)
                client.sendall(b"\xc0\x00")
    except OSError:
        return  # the broker is gone


def _config(mqtt: int, web: int) -> str:
    lines = [
        "per_listener_settings false",
        "allow_anonymous true",
        "persistence false",
        "max_queued_messages 50000",  # what many sensors retain, a page is sent when it opens
        f"listener {mqtt} {HOST}",
        f"listener {web} {HOST}",
        "socket_domain ipv4",  # without it, a websockets listener of mosquitto 2.0 is open to every interface
        "protocol websockets",
        f"http_dir {DASHBOARD}",
    ]
    if os.geteuid() == 0:
        lines.insert(0, "user root")  # else mosquitto gives up root and may lose sight of the dashboard's folder
    return "\n".join(lines) + "\n"


@contextmanager
def _many_files() -> Iterator[None]:
    """Have what is started meanwhile be able to hold as many connections as we may allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    with suppress(OSError, ValueError):  # a service's sandbox keeps its limits
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _tied_to_us() -> list[str]:
    """Have the kernel end the broker with us, however we end (util-linux; elsewhere only an orderly end does).

    As a service there is no need: systemd ends all of a service's processes, and its sandbox does not let setpriv run.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv and "INVOCATION_ID" not in os.environ else []


def _last(wanted: int) -> int:
    """Return the last port that is tried."""
    return min(wanted + _ATTEMPTS - 1, _LAST_PORT)


def _free_port(wanted: int, *, taken: int | None = None) -> int:
    last = _last(wanted)
    for port in range(wanted, last + 1):
        if port == taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    ports = f"ports {wanted} to {last} are all taken" if wanted < last else f"port {wanted} is taken, and the last one"
    raise UnavailableError(f"{HOST}: {ports}: set edge.mqtt.port and edge.mqtt.websockets_port to free ones")


def _await(child: subprocess.Popen, ports: tuple[int, ...], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines() or ["no reason given"]
            raise UnavailableError(f"mosquitto: did not start ({said[-1]})")
        # Its own word, too: who answers may be another broker that took the port first.
        if _RUNNING in log.read_text(errors="replace") and all(_answers(port) for port in ports):
            return
        time.sleep(0.05)
    raise UnavailableError(f"mosquitto: does not answer on ports {ports} after {_START_S:.0f} s")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0
