"""The sensor as Home Assistant's add-on: what the image of the add-on runs.

Options come from /data/options.json and the broker from the Supervisor, `GET /services/mqtt`; the sensor gets them in
its environment (edge/environment.py). Beside it run nginx, which the ingress asks for the page, and a broker for the
page alone: it mirrors `roomtone/#` of the house's broker, so that no browser needs that one's password. Whichever of
the three ends first ends the add-on, and so does a sensor without a sign of life; its watchdog starts it again.
"""

import argparse
import json
import os
import pwd
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.delivery.embedded import DASHBOARD
from edge.entry import concluded
from edge.errors import ConfigError, UnavailableError, printable
from edge.pulse import require_life

CALLED = "add-on"
USER = "roomtone"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
LISTENS = ["parec", "--raw", "--format=s16le", "--rate=16000", "--channels=1", "--latency-msec=80"]
# What the page sends, in the words of deploy/contract.md; nothing of it is retained.
COMMANDS = ("+/listening/set", "+/settings/set", "+/teach", "+/forget", "history/get")
CHECKED_EVERY_S, FIRST_SIGN_WITHIN_S, ENDS_WITHIN_S = 10.0, 120.0, 12.0
TOKENS = ("SUPERVISOR_TOKEN", "HASSIO_TOKEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The house's broker; `tls` trusts the system's authorities."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: bool = False


def options_in(file: Path) -> dict[str, Any]:
    """Return the owner's options, without those that were left empty or off. Raises ConfigError."""
    try:
        told = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}: Home Assistant's Supervisor writes it, and starts this program") from error
    return {name: value for name, value in told.items() if value is not None and value is not False and value != ""}


def house_of(options: dict[str, Any], supervisor: str) -> House:
    """Return the broker that the options name, else the Supervisor's. Raises ConfigError or UnavailableError."""
    named = {name: options[f"mqtt_{name}"] for name in House.__slots__ if f"mqtt_{name}" in options}
    if "host" in named:
        named.setdefault("port", 8883 if named.get("tls") else 1883)
    elif named:
        raise ConfigError(f"mqtt_{next(iter(named))} is set, but not mqtt_host: name the broker, or leave both empty")
    else:
        told = service(supervisor)
        named = {"host": told["host"], "port": int(told["port"]), "username": told.get("username") or None,
                 "password": told.get("password") or None, "tls": bool(told.get("ssl"))}  # fmt: skip
    house = House(**named)
    for text in (house.host, house.username, house.password):
        if text is not None and not text.isprintable():
            raise ConfigError("the broker's host, user name and password may hold no line ends or control characters")
    return house


def service(supervisor: str) -> dict[str, Any]:
    """Return what the Supervisor knows of a broker. Raises UnavailableError."""
    address = f"{supervisor}/services/mqtt"
    asked = urllib.request.Request(address, headers={"Authorization": f"Bearer {os.environ.get(TOKENS[0], '')}"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise UnavailableError(f"{address}: the Supervisor refuses ({error.code} {error.reason})") from error
        raise UnavailableError(
            "Home Assistant has no MQTT broker: install its add-on Mosquitto broker and start it, or name another in "
            "the option mqtt_host"
        ) from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UnavailableError(f"{address}: the Supervisor does not answer as it should ({error})") from error


def settings_of(options: dict[str, Any], house: House, password_file: Path) -> dict[str, str]:
    """Return the sensor's settings, as its environment has them. Raises ConfigError."""
    settings = {
        "DEVICE__ID": options.get("device_id"),
        "DEVICE__NAME": options.get("device_name"),
        "SENSITIVITY": options.get("sensitivity"),
        "LOG_LEVEL": options.get("log_level"),
        "AUDIO__COMMAND": json.dumps(LISTENS),
        "MQTT__HOST": house.host,
        "MQTT__PORT": house.port,
        "MQTT__USERNAME": house.username,
        "MQTT__PASSWORD_FILE": password_file if house.password else None,
        "MQTT__TLS": "{}" if house.tls else None,
    }
    hours = {key: options.get(option) for key, option in (("start", "quiet_from"), ("end", "quiet_to"))}
    if any(hours.values()):
        if not all(hours.values()):
            raise ConfigError("quiet_from and quiet_to: set both, or neither")
        settings["QUIET_HOURS"] = json.dumps(hours | {"time_zone": os.environ.get("TZ") or "UTC"})
    return {f"ROOMTONE_{name}": str(value) for name, value in settings.items() if value is not None}


def mirror(house: House, port: int, device: str, run: Path) -> str:
    """Return the configuration of the page's broker: it takes over what sensors say, and passes on what a page asks.

    Nothing else goes out, so that what it kept of a sensor never goes back to the house's broker.
    """
    lines = [
        f"user {pwd.getpwuid(os.geteuid()).pw_name}",
        f"listener 0 {run}/broker.sock",  # mosquitto 2.0 does not start with websockets alone
        f"listener {port} 127.0.0.1",
        "socket_domain ipv4",  # without it, a websockets listener of mosquitto 2.0 is open to every interface
        "protocol websockets",
        "allow_anonymous true",
        "persistence false",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "connection house",
        f"address {house.host}:{house.port}",
        f"remote_clientid roomtone-page-{device}",
        "bridge_protocol_version mqttv50",
        "cleansession true",
        "notifications false",
        "restart_timeout 2 30",
        "topic roomtone/# in 1",
        *(f"topic roomtone/{command} out 1" for command in COMMANDS),
    ]
    if house.username is not None:
        lines.append(f"remote_username {house.username}")
    if house.password is not None:
        lines.append(f"remote_password {house.password}")
    if house.tls:
        lines.append(f"bridge_cafile {AUTHORITIES}")
    return "\n".join([*lines, ""])


def proxy(text: str, *, port: int, inner: int, asks: str) -> str:
    """Return nginx's configuration with these addresses: its port, the page's broker's, and who may ask."""
    for old, new in {
        "listen 8099;": f"listen {port};",
        "allow 172.30.32.2;": f"allow {asks};",
        "127.0.0.1:9001": f"127.0.0.1:{inner}",
        "/usr/lib/roomtone/edge/dashboard": str(DASHBOARD),
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def give_up_root(folders: list[Path]) -> None:
    """Become the image's own user, where there is one, and have these folders be that user's."""
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return
    if os.geteuid() != 0:
        return
    for folder in folders:
        os.chown(folder, user.pw_uid, user.pw_gid)
    os.initgroups(USER, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def secret(file: Path, text: str) -> Path:
    """Write what only we may read, and return where."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    return file


def supervise(commands: dict[str, tuple[list[str], dict[str, str]]], sensor: str) -> int:
    """Run programs until one ends, or we are asked to; return 0, or the exit status of the one that ended."""
    ends = {signal.SIGTERM, signal.SIGINT}
    awaited = {*ends, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    children = {
        name: subprocess.Popen(command, env=env, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited))
        for name, (command, env) in commands.items()
    }
    life = Life()
    try:
        while True:
            caught = signal.sigtimedwait(awaited, CHECKED_EVERY_S)
            if caught is not None and caught.si_signo in ends:
                return 0
            for name, child in children.items():
                if (status := child.poll()) is not None:
                    print(f"{CALLED}: {name} ended with status {status}", file=sys.stderr)
                    return status if status > 0 else UnavailableError.exit_status
            life.require(sensor)
    finally:
        for child in children.values():
            if child.poll() is None:
                child.terminate()
        due_s = time.monotonic() + ENDS_WITHIN_S
        for child in children.values():
            try:
                child.wait(max(0.0, due_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


class Life:
    """The sensor's: it may take its time for the first sign, and from then on gives one and another."""

    def __init__(self) -> None:
        self._first_due_s: float | None = time.monotonic() + FIRST_SIGN_WITHIN_S

    def require(self, sensor: str) -> None:
        """Raise UnavailableError where a sign of life is overdue."""
        try:
            require_life()
            self._first_due_s = None
        except UnavailableError as error:
            if self._first_due_s is None or time.monotonic() > self._first_due_s:
                raise UnavailableError(f"{sensor}: {error}; the add-on ends, for its watchdog to start it") from error


def words(arguments: list[str] | None) -> argparse.Namespace:
    """Return the places, which are the Supervisor's unless a test names others."""
    parser = argparse.ArgumentParser(prog=CALLED)
    parser.add_argument("--data", type=Path, default=Path("/data"))
    parser.add_argument("--run", type=Path, default=Path("/dev/shm/roomtone"))
    parser.add_argument("--supervisor", default="http://supervisor")
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--inner-port", type=int, default=9001)
    parser.add_argument("--asks", default="172.30.32.2")
    return parser.parse_args(arguments)


def start(places: argparse.Namespace) -> int:
    options = options_in(places.data / "options.json")
    house = house_of(options, places.supervisor)
    password = places.run / "password"
    settings = settings_of(options, house, password)
    for token in TOKENS:  # it may do more than any of these programs needs
        os.environ.pop(token, None)
    state = places.data / "roomtone"
    for folder in (state, places.run):
        folder.mkdir(mode=0o700, exist_ok=True)
    give_up_root([state, places.run])
    os.umask(0o077)
    secret(password, f"{house.password or ''}\n")
    device = options.get("device_id", "room")
    broker = secret(places.run / "broker.conf", mirror(house, places.inner_port, device, places.run))
    web = places.run / "nginx.conf"
    own = Path(__file__).with_name("nginx.conf").read_text()
    web.write_text(proxy(own, port=places.port, inner=places.inner_port, asks=places.asks))
    os.environ |= {"STATE_DIRECTORY": str(state), "RUNTIME_DIRECTORY": str(places.run)}
    plain = dict(os.environ)
    print(f"{CALLED}: {device} on the broker {printable(house.host)}:{house.port}", file=sys.stderr)
    return supervise(
        {
            "the page's broker": (["mosquitto", "-c", str(broker)], plain),
            "the page's web server": (["nginx", "-p", f"{places.run}/", "-e", "stderr", "-c", str(web)], plain),
            "the sensor": ([sys.executable, "-P", "-m", "edge", "run"], plain | settings),
        },
        "the sensor",
    )


if __name__ == "__main__":
    sys.exit(concluded(lambda: start(words(None)), called=CALLED))
