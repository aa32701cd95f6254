"""Home Assistant's add-on: what its Supervisor reads of it, and what its start makes of what the Supervisor says.

The Supervisor's own checks are in no package: SUPERVISOR is what they and its documentation say of `config.yaml`, but
for this: an unknown key, which the Supervisor passes over, is a mistake here. The whole of it in a container:
`make test-addon`.
"""

import http.server
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest
import yaml
from PIL import Image

import edge
from edge.config import load_edge
from edge.errors import ConfigError
from tests.support.broker import HOST, Broker, free_port
from tests.support.page import Page
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber
from tests.support.system import require_program

ADDON = ROOT / "deploy" / "homeassistant" / "addon"
START = ADDON / "start.py"
LANGUAGES = {"en", "de", "es", "zh-Hans"}
TOKEN = "of-the-supervisor"
USERS = {"addons": "pass word"}

ELEMENT = (
    r"^(bool|email|url|port|device(\(subsystem=[a-z]+\))?|str(\(\d*,\d*\))?|password(\(\d*,\d*\))?|int(\(\d*,\d*\))?"
    r"|float(\([\d.]*,[\d.]*\))?|match\(.*\)|list\(.+\))\??$"
)
OPTION = {"anyOf": [{"type": "string", "pattern": ELEMENT}, {"type": "array"}, {"type": "object"}]}
TEXT, YES_NO, TEXTS = {"type": "string"}, {"type": "boolean"}, {"type": "array", "items": {"type": "string"}}
VERSION = {"type": "string", "pattern": r"^[\w.-]+$"}
SUPERVISOR = {
    "type": "object",
    "required": ["name", "version", "slug", "description", "arch"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("name", "description", "panel_title", "ingress_entry", "backup_pre", "backup_post"), TEXT),
        **dict.fromkeys(("version", "homeassistant"), VERSION),
        **dict.fromkeys(
            ("init", "advanced", "ingress", "ingress_stream", "panel_admin", "host_network", "host_pid", "host_ipc",
             "host_uts", "host_dbus", "udev", "tmpfs", "apparmor", "full_access", "audio", "video", "gpio", "usb",
             "uart", "devicetree", "kernel_modules", "realtime", "hassio_api", "homeassistant_api", "stdin", "legacy",
             "docker_api", "auth_api", "journald"),
            YES_NO,
        ),
        **dict.fromkeys(("devices", "discovery", "backup_exclude", "privileged", "map"), TEXTS),
        "slug": {"type": "string", "pattern": r"^[-_.A-Za-z0-9]+$"},
        "arch": {"type": "array", "minItems": 1, "items": {"enum": ["armhf", "armv7", "aarch64", "amd64", "i386"]}},
        "url": {"type": "string", "pattern": "^https?://"},
        "startup": {"enum": ["initialize", "system", "services", "application", "once"]},
        "boot": {"enum": ["auto", "manual", "manual_only"]},
        "stage": {"enum": ["stable", "experimental", "deprecated"]},
        "backup": {"enum": ["hot", "cold"]},
        "hassio_role": {"enum": ["default", "homeassistant", "backup", "manager", "admin"]},
        "panel_icon": {"type": "string", "pattern": "^mdi:[a-z0-9-]+$"},
        "ingress_port": {"type": "integer", "minimum": 0, "maximum": 65_535},
        "timeout": {"type": "integer", "minimum": 10, "maximum": 300},
        "ports": {"type": "object"},
        "ports_description": {"type": "object"},
        "environment": {"type": "object", "additionalProperties": TEXT},
        "watchdog": {"type": "string", "pattern": r"^(https?|\[PROTO:\w+\]|tcp)://\[HOST\]:(\[PORT:\d+\]|\d+).*$"},
        "webui": {"type": "string", "pattern": r"^(https?|\[PROTO:\w+\])://\[HOST\]:\[PORT:\d+\].*$"},
        "services": {"type": "array", "items": {"type": "string", "pattern": "^(mqtt|mysql):(provide|want|need)$"}},
        "image": {"type": "string", "pattern": r"^([a-zA-Z\-\.:\d{}]+/)*?([\-\w{}]+)/([\-\w{}]+)$"},
        "options": {"type": "object"},
        "schema": {"type": "object", "additionalProperties": OPTION},
    },
}  # fmt: skip
TRANSLATION = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "configuration": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {"name": TEXT, "description": TEXT},
            },
        },
        "network": {"type": "object", "additionalProperties": TEXT},
    },
}
REPOSITORY = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {"name": TEXT, "url": {"type": "string", "pattern": "^https?://"}, "maintainer": TEXT},
}


def start_script():
    """Return the add-on's start script, as a module."""
    spec = importlib.util.spec_from_file_location("addon_start", START)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # in which its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def told() -> dict:
    return yaml.safe_load((ADDON / "config.yaml").read_text())


def offered(element: str, value: object) -> bool:
    """Return whether the Supervisor takes a value for an option of that type."""
    kind, _, rest = element.removesuffix("?").partition("(")
    inside = rest.removesuffix(")")
    if kind == "match":
        return re.match(inside, str(value)) is not None
    if kind == "list":
        return value in inside.split("|")
    if kind == "int":
        low, high = map(int, inside.split(","))
        return isinstance(value, int) and low <= value <= high
    return isinstance(value, {"str": str, "password": str, "bool": bool, "port": int}[kind])


# --- what the Supervisor reads ----------------------------------------------------------------------------------------


def test_the_supervisor_takes_it():
    jsonschema.validate(told(), SUPERVISOR)
    assert told()["version"] == edge.__version__
    # On the port on which ingress asks, and with what the start script asks the Supervisor for.
    own = (ADDON / "nginx.conf").read_text()
    assert f"listen {told().get('ingress_port', 8099)};" in own
    assert told()["watchdog"].startswith("http://[HOST]:[PORT:8099]")
    assert "mqtt:want" in told()["services"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ingres": True},
        {"arch": ["arm64"]},
        {"slug": "room tone"},
        {"services": ["mqtt"]},
        {"watchdog": "http://localhost:8099"},
        {"schema": {"device_id": "text"}},
        {"timeout": 5},
        {"audio": "yes please"},
        {"image": "ghcr.io/me/roomtone:latest"},
        {"version": None},
    ],
)
def test_and_a_mistake_in_it_would_be_seen(wrong):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told() | wrong, SUPERVISOR)


def test_every_option_has_a_name_in_every_language_and_in_the_documentation():
    files = {file.stem: yaml.safe_load(file.read_text()) for file in (ADDON / "translations").glob("*.yaml")}
    assert set(files) == LANGUAGES
    options = set(told()["schema"])
    for language, file in files.items():
        jsonschema.validate(file, TRANSLATION)
        assert set(file["configuration"]) == options, language
    for option in options:
        names = {file["configuration"][option]["description"] for file in files.values()}
        assert len(names) == len(files), option  # translated, not copied
        assert f"`{option}`" in (ADDON / "DOCS.md").read_text()


def test_the_defaults_are_the_sensors_and_what_is_required_has_one(monkeypatch):
    options, schema = told()["options"], told()["schema"]
    assert set(options) == {name for name, element in schema.items() if not element.endswith("?")}
    assert all(offered(schema[name], value) for name, value in options.items())
    assert configured(options, monkeypatch) == {}


def configured(options: dict, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Return how a sensor is configured that starts with these options, where that is not as it would be without.

    Raises ConfigError where it would not start.
    """
    script = start_script()
    house = script.House(host="core-mosquitto", port=1883)
    with monkeypatch.context() as environment:
        for name, value in script.settings_of(options, house, Path("password")).items():
            environment.setenv(name, value)
        found = load_edge(None)
    plain = load_edge(None)
    same = ("mqtt", "audio")
    return {name: getattr(found, name) for name in found.__struct_fields__
            if name not in same and getattr(found, name) != getattr(plain, name)}  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("device_id", text) for text in ("kitchen", "k-2", "a" * 64, "a" * 65, "Kitchen", "a/b", "küche")),
        *(("sensitivity", number) for number in (0, 100, 101, -1)),
        *(("log_level", word) for word in ("debug", "info", "warning", "error", "loud")),
        *(("quiet_from", clock) for clock in ("22:00", "00:00", "24:00", "7:00", "22:00:00", "22.00")),
    ],
)
def test_the_supervisor_offers_what_the_sensor_takes_and_nothing_else(option, value, monkeypatch):
    options = {"quiet_to": "23:59", option: value} if option == "quiet_from" else {option: value}
    try:
        configured(options, monkeypatch)
        taken = True
    except ConfigError:
        taken = False
    assert offered(told()["schema"][option], value) == taken


def test_quiet_hours_are_meant_in_home_assistants_time_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    hours = configured({"quiet_from": "22:00", "quiet_to": "07:00"}, monkeypatch)["quiet_hours"]
    assert (hours.start, hours.end, hours.time_zone) == ("22:00", "07:00", "Europe/Berlin")


def test_icon_and_logo_have_the_sizes_that_home_assistant_recommends():
    assert Image.open(ADDON / "icon.png").size == (128, 128)
    assert Image.open(ADDON / "logo.png").size == (250, 100)


def publish(out: Path, images: str = "ghcr.io/me/roomtone-addon-{arch}") -> subprocess.CompletedProcess[str]:
    command = [ADDON / "publish.sh", "--images", images, "--url", "https://example.org/roomtone", "--out", out]
    return subprocess.run(command, capture_output=True, text=True)


def test_what_is_published_is_a_repository_with_one_addon(tmp_path):
    out = tmp_path / "repository"
    for _ in range(2):  # and again, over the one before
        done = publish(out)
        assert done.returncode == 0, done.stderr
    jsonschema.validate(yaml.safe_load((out / "repository.yaml").read_text()), REPOSITORY)
    # Where the Supervisor looks.
    (config,) = (path for path in out.glob("**/config.*") if path.suffix in (".json", ".yaml", ".yml"))
    published = yaml.safe_load(config.read_text())
    jsonschema.validate(published, SUPERVISOR)
    assert published.pop("image") == "ghcr.io/me/roomtone-addon-{arch}"
    version = published.pop("version")
    assert re.fullmatch(rf"{re.escape(edge.__version__)}-[0-9a-f]{{8}}", version)  # as the image's tag has it
    assert {"version": edge.__version__, **published} == told()
    assert {path.name for path in config.parent.iterdir()} == {"config.yaml", "translations", "DOCS.md", "README.md",
                                                              "icon.png", "logo.png"}  # fmt: skip
    for arch in ("amd64", "aarch64"):
        assert f"docker://ghcr.io/me/roomtone-addon-{arch}:{version}\n" in done.stdout


@pytest.mark.parametrize("images", ["", "roomtone", "ghcr.io/me/roomtone", "ghcr.io/me/room-{arch}:1", "a b/{arch}"])
def test_a_name_that_no_registry_has_is_refused(images, tmp_path):
    done = publish(tmp_path / "repository", images)
    assert done.returncode == 64
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "repository").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("mine")
    done = publish(tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (73, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


# --- what the start script makes of it --------------------------------------------------------------------------------


@contextmanager
def supervisor(service: dict | None, *, address: tuple[str, int] | None = None) -> Iterator[str]:
    """A Supervisor that says of a broker what `service` has, or that there is none; gives its address.

    It answers as the real one: `{"result": ..., "data" or "message": ...}`, to whoever has the token.
    """

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.say(403, {"result": "error", "message": "forbidden"})
            if self.path != "/services/mqtt":
                return self.say(404, {"result": "error", "message": "not found"})
            if service is None:
                return self.say(400, {"result": "error", "message": "Service not enabled"})
            return self.say(200, {"result": "ok", "data": {"addon": "core_mosquitto", "protocol": "3.1.1", **service}})

        def say(self, status: int, payload: dict) -> None:
            body = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            """Nothing on the terminal."""

    with http.server.ThreadingHTTPServer(address or (HOST, 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://{server.server_address[0]}:{server.server_address[1]}"
        server.shutdown()


class AddOn:
    """The start script as a process, outside any container, while the context lasts."""

    def __init__(self, folder: Path, options: dict | str | None, supervisor: str, token: str = TOKEN) -> None:
        self.port, self.inner = free_port(), free_port()
        self.data, self._run, self._log = folder / "data", folder / "run", folder / "log"
        self.data.mkdir(parents=True, exist_ok=True)
        if options is not None:
            text = options if isinstance(options, str) else json.dumps(options)
            (self.data / "options.json").write_text(text)
        places = {"data": self.data, "run": self._run, "supervisor": supervisor, "port": self.port,
                  "inner-port": self.inner, "asks": HOST}  # fmt: skip
        self._command = [sys.executable, "-P", START, *(f"--{name}={value}" for name, value in places.items())]
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), "SUPERVISOR_TOKEN": token, "HASSIO_TOKEN": token,
                     "PATH": os.environ["PATH"] + ":/usr/sbin", "PULSE_SERVER": "unix:/nowhere"}  # fmt: skip

    def __enter__(self) -> "AddOn":
        with self._log.open("w") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._env, cwd=self.data)
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ended(self) -> tuple[int, list[str]]:
        """Return its exit status and what it said, once it has ended by itself."""
        return self.process.wait(PATIENCE_S), self.log.splitlines()


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (None, 78, "options.json"),
        ("{", 78, "options.json"),
        ({}, 69, "has no MQTT broker: install its add-on Mosquitto broker"),
        ({"mqtt_username": "me"}, 78, "mqtt_username is set, but not mqtt_host"),
        ({"mqtt_port": 1884}, 78, "mqtt_port is set, but not mqtt_host"),
        ({"mqtt_host": "b.lan", "quiet_from": "22:00"}, 78, "quiet_from and quiet_to: set both"),
        ({"mqtt_host": "b.lan", "mqtt_password": "two\nlines"}, 78, "no line ends"),
    ],
)
def test_what_is_missing_is_said_in_one_line(options, status, says, tmp_path):
    with supervisor(None) as address, AddOn(tmp_path, options, address) as addon:
        found, lines = addon.ended()
    assert (found, len(lines)) == (status, 1), lines
    assert says in lines[0]


def test_a_supervisor_that_is_not_there_or_refuses_is_named(tmp_path):
    with AddOn(tmp_path / "none", {}, f"http://{HOST}:{free_port()}") as addon:
        assert addon.ended()[0] == 69
        assert "/services/mqtt: the Supervisor does not answer" in addon.log
    with supervisor({"host": HOST, "port": 1}) as address, AddOn(tmp_path / "token", {}, address, "other") as addon:
        assert addon.ended()[0] == 69
        assert "the Supervisor refuses (403" in addon.log


@pytest.fixture
def house(tmp_path) -> Iterator[Broker]:
    with Broker(tmp_path / "house", users=USERS) as running:
        yield running


def account() -> list[str]:
    ((name, word),) = USERS.items()
    return ["-u", name, "-P", word]


def heard(house: Broker, tmp_path: Path, **options: object) -> AddOn:
    """Return the add-on of a house whose broker the options name."""
    require_program("nginx", "nginx-light")
    ((name, word),) = USERS.items()
    named = {"mqtt_host": HOST, "mqtt_port": house.port, "mqtt_username": name, "mqtt_password": word}
    return AddOn(tmp_path, {"device_id": "kitchen", **named, **options}, "http://nobody.invalid")


def test_its_page_and_its_sensor_are_on_the_broker_that_the_supervisor_names(house, tmp_path):
    require_program("nginx", "nginx-light")
    ((name, word),) = USERS.items()
    service = {"host": HOST, "port": house.port, "ssl": False, "username": name, "password": word}
    with supervisor(service) as address, AddOn(tmp_path, {"device_id": "kitchen"}, address) as addon:
        wait_until(lambda: b"<title>roomtone</title>" in asked(addon), lambda: addon.log)
        page = Page(addon.port)
        # Of the sensor to the page, by way of the house's broker; and from the page to it.
        wait_until(lambda: page.has("roomtone/kitchen/status", b"online"), lambda: f"{page.messages}\n{addon.log}")
        with Subscriber(house.port, "roomtone/#", *account()) as watcher:
            page.client.publish("roomtone/kitchen/listening/set", "OFF", qos=1)
            watcher.wait_for(lambda w: any(m.payload == "OFF" for m in w.on("listening")))
            wait_until(lambda: page.has("roomtone/kitchen/listening", b"OFF"))
            for what, pid in children(addon).items():
                assert TOKEN.encode() not in Path(f"/proc/{pid}/environ").read_bytes(), what
            addon.process.send_signal(signal.SIGTERM)
            assert addon.process.wait(PATIENCE_S) == 0
            watcher.wait_for(lambda w: w.on("status")[-1].payload == "offline")
        page.client.loop_stop()
    secrets = [path for path in tmp_path.rglob("*") if path.is_file() and path.name in ("password", "broker.conf")]
    assert len(secrets) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets)


def asked(addon: AddOn) -> bytes:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{addon.port}/", timeout=PATIENCE_S) as answer:
            return answer.read()
    except urllib.error.URLError:
        return b""


def children(addon: AddOn) -> dict[str, int]:
    """Return what it runs, once it does: nginx, mosquitto, sensor."""
    pid, found = addon.process.pid, {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        first, *others = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        found["sensor" if "edge" in others else Path(first.partition(" ")[0].rstrip(":")).name] = int(child)
    return found


def test_what_the_pages_broker_kept_never_goes_back(house, tmp_path):
    """A sensor that was forgotten while the two brokers were apart stays forgotten."""
    with heard(house, tmp_path) as addon:
        said(house, "roomtone/attic/status", "offline", "-r")
        page = Page(addon.port)
        wait_until(lambda: page.has("roomtone/attic/status", b"offline"), lambda: addon.log)
        house.stop()
        for kept in house.folder.glob("*.db"):
            kept.unlink()
        house.start()

        def together() -> bool:
            said(house, "roomtone/attic/event", "heard")
            return page.has("roomtone/attic/event", b"heard")

        with Subscriber(house.port, "roomtone/+/status", *account()) as watcher:
            wait_until(together, lambda: addon.log, every_s=0.5)
            watcher.wait_for(lambda w: w.messages)
            assert {message.topic for message in watcher.messages} == {"roomtone/kitchen/status"}
        page.client.loop_stop()


def said(house: Broker, topic: str, payload: str, *options: str) -> None:
    program = require_program("mosquitto_pub", "mosquitto-clients")
    told = ["-V", "5", "-q", "1", "-t", topic, "-m", payload, *options]
    subprocess.run([program, "-h", HOST, "-p", str(house.port), *account(), *told], check=True)


@pytest.mark.parametrize("which", ["nginx", "mosquitto", "sensor"])
def test_whichever_ends_ends_the_add_on(which, house, tmp_path):
    with heard(house, tmp_path) as addon:
        os.kill(wait_until(lambda: children(addon).get(which), lambda: addon.log), signal.SIGKILL)
        assert addon.process.wait(PATIENCE_S) == 69
        assert "ended with status -9" in addon.log


def test_the_page_is_for_the_ingress_alone(house, tmp_path):
    with heard(house, tmp_path) as addon:
        wait_until(lambda: asked(addon), lambda: addon.log)
        own = (tmp_path / "run" / "nginx.conf").read_text()
        assert f"allow {HOST};\n    deny all;" in own
        (tmp_path / "run" / "nginx.conf").write_text(own.replace(f"allow {HOST};", "allow 172.30.32.2;"))
        os.kill(children(addon)["nginx"], signal.SIGHUP)
        wait_until(lambda: refused(addon))


def refused(addon: AddOn) -> bool:
    try:
        urllib.request.urlopen(f"http://{HOST}:{addon.port}/", timeout=PATIENCE_S)
    except urllib.error.HTTPError as error:
        return error.code == 403
    return False
