"""Three rooms on one machine that really boots: installed, one crashes, one is upgraded to a version that fails there.

In this order. Each room hears a camera, which here is a program that plays the bundled recording at the pace of the
clock; the broker is away all the while, and at the end it comes back.
"""

import json
import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from tests.deploy.machine import Machine, base, bundle, require_root
from tests.deploy.test_install import Shelf
from tests.deploy.test_systemd import host_pid
from tests.sound.test_devices import kernel

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1_800)]

HALL, KITCHEN, LIVING = "roomtone", "roomtone@kitchen", "roomtone@living"
ROOMS = {HALL: "hall", KITCHEN: "kitchen", LIVING: "living"}
FOLDERS = {HALL: "roomtone", KITCHEN: "roomtone-kitchen", LIVING: "roomtone-living"}
CAMERA = """
import glob, sys, time
import soundfile
demo = glob.glob("/opt/roomtone/current/lib/python3*/site-packages/edge/commands/demo.flac")[0]
sound = soundfile.read(demo, dtype="int16")[0]
at, due_s = 16_000 * int(sys.argv[1]), time.monotonic()
while True:
    sys.stdout.buffer.write(sound[at : at + 1_600].tobytes())
    sys.stdout.buffer.flush()
    at = (at + 1_600) % (len(sound) - 1_600)
    due_s += 0.1
    time.sleep(max(0.0, due_s - time.monotonic()))
"""
CONFIG = """
edge:
  device: {{id: {room}, name: {room}}}
  audio: {{command: [/opt/roomtone/current/bin/python, /opt/roomtone/camera.py, "{second}"]}}
  mqtt: {{host: 127.0.0.1, port: {port}{more}}}
"""
COUNT = """
import json, shutil, sqlite3
told = {}
for folder, room in FOLDERS.items():
    shutil.rmtree("/tmp/copy", ignore_errors=True)
    copy = shutil.copytree("/var/lib/" + folder, "/tmp/copy")
    outbox = sqlite3.connect(f"{copy}/outbox-{room}.sqlite")
    made = outbox.execute("select count(*) from sqlite_master where name = 'event'").fetchone()[0]
    told[room] = [row[0] for row in outbox.execute("select seq from event order by seq")] if made else []
print(json.dumps(told))
"""
PROBE = """
import json, os
told = {}
def tell(name, action):
    try:
        action()
        told[name] = "ok"
    except OSError as error:
        told[name] = error.__class__.__name__
for folder in ("roomtone", "roomtone-kitchen", "roomtone-living"):
    tell("list " + folder, lambda: os.listdir("/var/lib/" + folder))
    tell("write " + folder, lambda: open("/var/lib/" + folder + "/probe", "w").close())
for folder in ("credentials", "kitchen.credentials", "living.credentials"):
    tell("disk " + folder, lambda: os.listdir("/etc/roomtone/" + folder))
for unit in ("roomtone", "roomtone@living"):
    tell("memory " + unit, lambda: os.listdir(f"/run/credentials/{unit}.service"))
    for pid in open(f"/sys/fs/cgroup/system.slice/{GROUPS[unit]}/cgroup.procs").read().split():
        tell("kill " + unit, lambda: os.kill(int(pid), 0))
print("PROBE " + json.dumps(told), flush=True)
"""
WHO_HOLDS_IT = """
from pathlib import Path
from edge.sound.faults import explain
from edge.sound.portaudio.devices import why_missing
folder = Path("/var/lib/roomtone-kitchen/cards")
reason, detail = why_missing("pnp", proc=folder / "proc", dev=folder / "dev").args
print("HELD", reason + ":", explain(reason, detail), flush=True)
"""
COMPILED = """
import glob, importlib.util, os
files = glob.glob("/opt/roomtone/current/lib/python3*/site-packages/edge/**/*.py", recursive=True)
assert files
print([file for file in files if not os.path.exists(importlib.util.cache_from_source(file))])
"""
GROUPS = {HALL: "roomtone.service", LIVING: "system-roomtone.slice/roomtone@living.service"}
SWITCHED = '{"listening": "ON", "ts": "2026-01-31T12:00:00.000Z"}'
ONLY_IN_THE_KITCHEN = "import os, sys\nif any('kitchen' in word for word in sys.argv): os._exit(3)\n"


class House(Shelf):
    """A machine with three rooms."""

    def events(self) -> dict[str, list[int]]:
        """Return the numbers of the events that wait, by room, by SQLite's own reading of a copy of the files, as a
        power cut would leave them."""
        rooms = " ".join(ROOMS)
        count = f"systemctl freeze {rooms}; python3 /srv/count.py; systemctl thaw {rooms}"
        return json.loads(self.machine.run(count).stdout)

    def wait_for_more(self, before: dict[str, list[int]]) -> None:
        """Wait until every room has one event more."""
        self.machine.wait_for(
            lambda: all(len(now) > len(before.get(room, [])) for room, now in self.events().items()),
            "an event in each room",
        )  # fmt: skip

    def assert_nothing_is_lost(self, before: dict[str, list[int]]) -> None:
        """All that waited then waits now, each once, and what came since stands behind it."""
        now = self.events()
        for room, numbers in now.items():
            assert numbers[: len(before[room])] == before[room], room
            assert numbers == sorted(set(numbers)), room

    def pids(self) -> dict[str, str]:
        return {room: self.machine.show("MainPID", room) for room in ROOMS}

    def assert_all_run(self, version: str) -> None:
        for room in ROOMS:
            self.assert_running(version, room)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    require_root()
    packed = bundle()
    with Machine(tmp_path_factory.mktemp("machine"), base()) as machine:
        made = House(machine, packed, tmp_path_factory.mktemp("versions"))
        machine.copy(packed, "/srv/first")
        machine.put("/opt/roomtone/camera.py", CAMERA)
        machine.put("/srv/count.py", COUNT.replace("FOLDERS", str({FOLDERS[room]: ROOMS[room] for room in ROOMS})))
        yield made


def configure(house: House, name: str, second: int, file: str, more: str = "") -> None:
    text = CONFIG.format(room=name, second=second, port=house.broker_port, more=more)
    house.machine.put(f"/etc/roomtone/{file}.yaml", text)


def test_three_rooms_are_installed_and_the_first_goes_on_meanwhile(house):
    configure(house, "hall", 0, "config")
    house.install("first", quick=True)
    pid = house.machine.show("MainPID")
    added = house.install("first", "--instance", "kitchen", quick=True)
    assert "kitchen is running; configuration: /etc/roomtone/kitchen.yaml" in added.stdout
    assert "roomtone beside this one" in added.stdout
    # The third as an owner would: by the installed script.
    done = house.machine.run("ROOMTONE_PROBATION_S=3 /opt/roomtone/current/install.sh --instance living")
    print(done.stdout)
    assert house.machine.show("MainPID") == pid
    house.assert_all_run(house.first)
    assert "wants the same microphone (the default one)" in done.stdout
    configure(house, "kitchen", 10, "kitchen", more=", username: kitchen, password_file: password")
    configure(house, "living", 20, "living")
    house.machine.put("/etc/roomtone/kitchen.credentials/password", "a secret word\n", 0o600)
    house.machine.put("/etc/roomtone/credentials/hall", "the hall's\n", 0o600)
    for room, name in ROOMS.items():  # in an earlier life, its broker told it that it may listen
        house.machine.put(f"/var/lib/{FOLDERS[room]}/listening-{name}.json", SWITCHED)
    house.machine.run(f"systemctl restart {' '.join(ROOMS)}")
    house.wait_for_more({})


def test_none_compiles_at_its_start_what_all_could_have_compiled_once(house):
    """A sensor that does keeps 9 MB more for it, and may not write it down (tests/bench/README.md)."""
    house.machine.put("/srv/compiled.py", COMPILED)
    assert house.machine.run("/opt/roomtone/current/bin/python /srv/compiled.py").stdout == "[]\n"


def test_each_is_a_user_of_its_own_with_state_and_a_watchdog_of_its_own(house):
    users = set()
    for room in ROOMS:
        status = house.machine.run(f"cat /proc/{house.machine.show('MainPID', room)}/status").stdout
        users.add(re.search(r"^Uid:\t(\d+)", status, re.M)[1])
        assert house.machine.run(f"stat -c '%U %a' /var/lib/{FOLDERS[room]}").stdout == f"{FOLDERS[room]} 700\n"
        assert house.machine.show("WatchdogUSec", room) == "30s"
        done = house.machine.run(f"systemd-analyze security --no-pager --threshold=15 {room}", check=False)
        assert done.returncode == 0, done.stdout
    assert len(users) == 3


def said_in_the_kitchen(house: House, program: str, word: str) -> str:
    """Run a program where the kitchen's sensor runs: as the same user, in the same sandbox; return what it says."""
    house.machine.put("/srv/probe.py", program)
    with house.machine.drop_in("ExecStartPost=/opt/roomtone/current/bin/python /srv/probe.py", KITCHEN):
        lines = house.machine.wait_for(
            lambda: [line for line in house.machine.journal(KITCHEN).splitlines() if line.startswith(word)], word
        )
    return lines[-1].removeprefix(word).strip()


def test_a_room_reaches_nothing_of_another(house):
    told = json.loads(said_in_the_kitchen(house, f"GROUPS = {GROUPS}\n{PROBE}", "PROBE"))
    house.machine.run("rm /var/lib/roomtone-kitchen/probe")
    print(told)
    reached = {name for name, answer in told.items() if answer == "ok"}
    assert reached == {"list roomtone-kitchen", "write roomtone-kitchen"}
    assert len(told) == 13
    # Its own secrets are there, without which it would not run, and no others.
    for room, secret in ((HALL, "mqtt_hall"), (KITCHEN, "mqtt_password")):
        assert house.machine.run(f"ls /run/credentials/{room}.service").stdout.split() == [secret]


def test_and_yet_it_knows_which_of_them_holds_a_sound_card(house):
    """There is none here: what the kernel would say of one lies in a folder, and names the hall's own process."""
    cards = house.machine.folder / "var/lib/roomtone-kitchen/cards"
    cards.mkdir()
    proc, _ = kernel(cards)
    pid = house.machine.show("MainPID", HALL)
    (proc / "card1/pcm0c/sub0/status").write_text(f"state: RUNNING\nowner_pid   : {pid}\n")
    house.machine.run("chown -R roomtone-kitchen /var/lib/roomtone-kitchen/cards")
    assert said_in_the_kitchen(house, WHO_HOLDS_IT, "HELD") == (
        f"busy: another program holds the microphone (USB PnP Sound Device is held by roomtone, process {pid}): "
        "end that program"
    )  # fmt: skip
    house.machine.run("rm -r /var/lib/roomtone-kitchen/cards")


def test_doctor_looks_at_all_of_them_and_check_at_one(house):
    said = house.machine.run("roomtone doctor --all", check=False).stdout
    print(said)
    services = [line for line in said.splitlines() if " service: " in line]
    assert [line.split(": ")[:2] for line in services] == [["ok    service", f"{room} is active"] for room in ROOMS]
    assert all("broker" in line for line in services)  # what each tells systemd
    words = "beside this one, each with an id and a microphone of its own"
    assert len(re.findall(f"^ok    rooms: roomtone.*, roomtone@.* {words}$", said, re.M)) == 3
    assert "/etc/roomtone/kitchen.yaml is valid" in said
    assert "/var/lib/roomtone-living: " in said
    assert "/etc/roomtone/living.yaml: valid" in house.machine.run("roomtone --instance living check").stdout


def test_a_room_with_anothers_id_or_microphone_is_told_so(house):
    configure(house, "hall", 0, "attic")
    done = house.machine.run("/opt/roomtone/current/install.sh --instance attic", check=False)
    assert done.returncode == 78
    assert "attic: /etc/roomtone/attic.yaml: edge.device.id: hall is also that of roomtone (" in done.stderr
    assert house.machine.show("ActiveState", "roomtone@attic") == "inactive"
    configure(house, "attic", 0, "attic")
    said = house.machine.run("roomtone --instance attic check").stdout
    same = "wants the same microphone (the command /opt/roomtone/current/bin/python): name another"
    assert f"rooms: roomtone {same}" in said
    house.machine.run("/opt/roomtone/current/install.sh --uninstall --instance attic")
    assert house.machine.run("ls -d /etc/roomtone/attic* /var/lib/roomtone-attic", check=False).stdout == ""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_one_crashes_or_hangs_and_comes_back_and_the_others_do_not_notice(house, how):
    machine, before, pids = house.machine, house.events(), house.pids()
    os.kill(host_pid(machine, int(pids[KITCHEN])), how)
    machine.wait_for(
        lambda: machine.show("MainPID", KITCHEN) not in ("0", pids[KITCHEN])
        and machine.show("ActiveState", KITCHEN) == "active",
        "the kitchen is back",
    )  # fmt: skip
    now = house.pids()
    assert {room: now[room] for room in (HALL, LIVING)} == {room: pids[room] for room in (HALL, LIVING)}
    house.wait_for_more(before)
    house.assert_nothing_is_lost(before)


def test_a_version_that_fails_in_one_room_is_taken_back_in_all(house):
    before = house.events()
    house.ship("9.1.0", {"edge/daemon/run.py": ONLY_IN_THE_KITCHEN})
    done = house.install("9.1.0", check=False, quick=True)
    assert done.returncode == 70
    assert f"still on {house.first}: 9.1.0+test did not report ready: roomtone@kitchen: " in done.stderr
    house.assert_all_run(house.first)
    assert house.trial() == ""
    house.wait_for_more(before)
    house.assert_nothing_is_lost(before)


def test_and_so_it_is_by_the_machines_start_after_a_power_cut(house):
    before = house.events()
    house.machine.put("/etc/systemd/system/roomtone-trial.service.d/quick.conf",
                      "[Service]\nEnvironment=ROOMTONE_PROBATION_S=3\n")  # fmt: skip
    house.install("9.1.0", check=False, quick=True, stop_at="enable")
    assert house.trial() == f"9.1.0+test {house.first} - install {' '.join(ROOMS)}"
    house.machine.power_cut()
    house.machine.wait_for(
        lambda: not house.trial() and house.machine.show("ActiveState", "roomtone-trial") in ("inactive", "failed"),
        "the trial's end",
    )  # fmt: skip
    house.assert_all_run(house.first)
    house.wait_for_more(before)
    house.assert_nothing_is_lost(before)


def test_all_are_upgraded_and_rolled_back_together(house):
    before = house.events()
    house.ship("9.2.0", {})
    house.install("9.2.0", quick=True)
    house.assert_all_run("9.2.0+test")
    house.machine.run("ROOMTONE_PROBATION_S=3 /opt/roomtone/current/install.sh --rollback")
    house.assert_all_run(house.first)
    house.wait_for_more(before)
    house.assert_nothing_is_lost(before)


def test_every_event_of_every_room_arrives_when_the_broker_is_back_and_each_once(house):
    machine, before = house.machine, house.events()
    machine.put("/srv/broker.conf", f"listener {house.broker_port} 127.0.0.1\nallow_anonymous true\n"
                                    "max_queued_messages 0\n")  # fmt: skip
    machine.run(f"""systemd-run -q --unit=watcher /opt/roomtone/current/bin/python -c '
import time, paho.mqtt.client as p
c = p.Client(p.CallbackAPIVersion.VERSION2, protocol=p.MQTTv5)
f = open("/srv/heard", "a")
c.on_connect = lambda c, *a: c.subscribe("roomtone/+/event", qos=1)
c.on_message = lambda c, u, m: (f.write(m.topic.split("/")[1] + " " + m.payload.decode() + chr(10)), f.flush())
while True:
    try:
        c.connect("127.0.0.1", {house.broker_port}); c.loop_forever(); break
    except OSError:
        time.sleep(0.01)
'""")
    machine.run("systemd-run -q --unit=broker /usr/sbin/mosquitto -c /srv/broker.conf")

    def heard() -> dict[str, list[int]]:
        told = {room: [] for room in ROOMS.values()}
        file = machine.folder / "srv" / "heard"
        for line in file.read_text().splitlines() if file.exists() else []:
            room, _, payload = line.partition(" ")
            told[room].append(json.loads(payload)["seq"])
        return told

    machine.wait_for(lambda: all(len(heard()[room]) >= len(before[room]) for room in before), "all the events")
    time.sleep(2)
    machine.run("systemctl stop watcher")
    now = heard()
    print({room: len(numbers) for room, numbers in now.items()})
    for room, numbers in now.items():
        assert numbers[: len(before[room])] == before[room], room
        assert numbers == sorted(set(numbers)), room


def test_one_is_uninstalled_and_nothing_of_it_is_left(house):
    house.machine.run("/opt/roomtone/current/install.sh --uninstall --instance kitchen")
    left = house.machine.run(
        "find / -xdev \\( -path /srv -o -path /proc -o -path /sys -o -path /var/log -o -path /tmp \\) -prune "
        "-o -name '*kitchen*' -print; getent passwd | grep kitchen; "
        "systemctl list-units --all --no-legend 'roomtone@kitchen*'"
    ).stdout
    assert left == ""
    for room in (HALL, LIVING):
        house.assert_running(house.first, room)


def test_all_are_uninstalled_and_nothing_is_left(house):
    house.machine.run("/srv/first/deploy/install.sh --uninstall")
    left = house.machine.run(
        "find / -xdev \\( -path /srv -o -path /proc -o -path /sys -o -path /var/log -o -path /tmp \\) -prune "
        "-o -name '*roomtone*' -print; getent passwd | grep roomtone; getent group | grep roomtone; "
        "systemctl list-unit-files --no-legend 'roomtone*'; systemctl list-units --all --no-legend 'roomtone*'; "
        "grep -al '[/]opt/roomtone/' /proc/[0-9]*/cmdline || true"
    ).stdout
    assert left == ""
