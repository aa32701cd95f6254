"""Several rooms on one machine, and the installer cut short while it adds one, upgrades all, or takes one away.

In the folder that stands for a machine: test_install_cut_short.py.
"""

import re
from pathlib import Path

import pytest

from tests.deploy.test_install_cut_short import (
    NEW,
    OLD,
    OLDEST,
    TRIAL,
    UNINSTALLING,
    Computer,
)

KITCHEN, LIVING = "roomtone@kitchen", "roomtone@living-room"
ROOMS = ("roomtone", KITCHEN, LIVING)
ADD = ("--instance", "kitchen")
REMOVE = ("--uninstall", *ADD)
WHERE_ROOMS_MATTER = ["on-trial", "daemon-reload", "enable", "restart", "second-1"]


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Computer:
    """OLD runs in the first room, OLDEST ran before."""
    return Computer.upgraded(tmp_path_factory.mktemp("computers") / "upgraded")


@pytest.fixture(scope="module")
def house(upgraded: Computer, tmp_path_factory: pytest.TempPathFactory) -> Computer:
    """And in two more."""
    computer = upgraded.copy(tmp_path_factory.mktemp("computers") / "house")
    for name in ("kitchen", "living-room"):
        done = computer.install(OLD, "--instance", name)
        assert done.returncode == 0, done.stderr
    computer.assert_settled(OLD, OLDEST, rooms=ROOMS)
    return computer


@pytest.fixture
def one_room(upgraded: Computer, tmp_path: Path) -> Computer:
    return upgraded.copy(tmp_path / "computer")


@pytest.fixture
def computer(house: Computer, tmp_path: Path) -> Computer:
    return house.copy(tmp_path / "computer")


@pytest.fixture
def fresh(tmp_path: Path) -> Computer:
    return Computer.make(tmp_path / "computer")


def kept(computer: Computer, name: str) -> list[str]:
    """What belongs to a room."""
    root = computer.folder / "root"
    paths = [root / f"etc/roomtone/{name}.yaml", root / f"etc/roomtone/{name}.credentials",
             root / f"var/lib/roomtone-{name}", computer.state / f"user-roomtone-{name}"]  # fmt: skip
    return [path.name for path in paths if path.exists()]


def test_a_room_has_its_own_settings_and_speaks_on_the_first_ones_broker(computer):
    settings = (computer.folder / "root/etc/roomtone/living-room.yaml").read_text()
    assert "    id: living-room " in settings
    assert "    name: Living room " in settings
    assert re.search("^    host: 127.0.0.1 +# this machine: the broker that roomtone.service starts", settings, re.M)
    assert "embedded" not in re.search("^    host: .*$", settings, re.M)[0]
    assert "sudo roomtone --instance living-room check && sudo systemctl restart roomtone@living-room" in settings
    assert "    host: embedded " in (computer.folder / "root/etc/roomtone/config.yaml").read_text()


def test_a_room_is_added_by_the_installed_script_and_the_others_go_on(one_room):
    before = (one_room.state / "running-roomtone").stat().st_mtime_ns
    done = one_room.run(one_room.home / "current/install.sh", *ADD)
    assert (done.returncode, done.stderr) == (0, "")
    assert "kitchen is running; configuration: " in done.stdout
    assert (one_room.state / "running-roomtone").stat().st_mtime_ns == before
    one_room.assert_settled(OLD, OLDEST, rooms=("roomtone", KITCHEN))
    assert "kitchen is there and running already" in one_room.run(one_room.home / "current/install.sh", *ADD).stdout


@pytest.mark.parametrize("step", ["group", "configuration", "room-enabled", "restart", *TRIAL])
@pytest.mark.parametrize("then", ["run again", "restarted"])
def test_adding_a_room_cut_short(one_room, step, then):
    installed = one_room.home / "current/install.sh"
    one_room.run(installed, *ADD, stop_at=step)
    assert one_room.running == OLD
    if then == "restarted":
        one_room.restart()
        assert one_room.running == OLD
    assert one_room.run(installed, *ADD).returncode == 0
    one_room.assert_settled(OLD, OLDEST, rooms=("roomtone", KITCHEN))


def test_a_room_that_does_not_start_is_said_and_harms_no_other(one_room):
    one_room.crashes(OLD, KITCHEN)
    done = one_room.install(OLD, *ADD)
    assert done.returncode == 70
    assert f"{KITCHEN}: " in done.stderr
    assert one_room.running == OLD


def test_a_room_comes_with_a_new_version_for_all(one_room):
    assert one_room.install(NEW, *ADD).returncode == 0
    one_room.assert_settled(NEW, OLD, rooms=("roomtone", KITCHEN))


@pytest.mark.parametrize("room", ROOMS)
def test_a_version_that_fails_in_one_room_is_taken_back_in_all(computer, room):
    computer.crashes(NEW, room)
    done = computer.install(NEW)
    assert (done.returncode, f"still on {OLD}: {NEW} did not report ready: {room}: " in done.stderr) == (70, True)
    computer.assert_settled(OLD, OLDEST, rooms=ROOMS)


@pytest.mark.parametrize("step", [*WHERE_ROOMS_MATTER, "failed", "back-enable", "back-restart", "back-end"])
@pytest.mark.parametrize("then", ["run again", "restarted"])
def test_and_cut_short_on_the_way(computer, step, then):
    computer.crashes(NEW, KITCHEN)
    computer.install(NEW, stop_at=step)
    if then == "run again":
        assert computer.install(NEW).returncode == 70
    else:
        computer.restart()
        computer.install(OLD)
    computer.assert_settled(OLD, OLDEST, rooms=ROOMS)


@pytest.mark.parametrize("step", ["boot", *WHERE_ROOMS_MATTER, "passed", "end"])
@pytest.mark.parametrize("then", ["run again", "rolled back"])
def test_an_upgrade_of_all_rooms_cut_short(computer, step, then):
    computer.install(NEW, stop_at=step)
    if then == "run again":
        assert computer.install(NEW).returncode == 0
        computer.assert_settled(NEW, OLD, rooms=ROOMS)
        return
    computer.install(NEW, "--rollback")
    rolled = {"boot": (OLDEST, OLD), "passed": (OLD, NEW), "end": (OLD, NEW)}
    computer.assert_settled(*rolled.get(step, (OLD, OLDEST)), rooms=ROOMS)


def test_all_rooms_roll_back_together_and_again(computer):
    for now, before in ((OLDEST, OLD), (OLD, OLDEST)):
        assert computer.install(OLD, "--rollback").returncode == 0
        computer.assert_settled(now, before, rooms=ROOMS)


def test_a_room_that_was_switched_off_stays_so_and_is_no_reason_to_go_back(computer):
    computer.systemctl("disable", "--now", "--quiet", KITCHEN)
    computer.crashes(NEW, KITCHEN)
    assert computer.install(NEW).returncode == 0
    computer.assert_settled(NEW, OLD, rooms=("roomtone", LIVING))


@pytest.mark.parametrize("step", ["group", "configuration", "ready", *WHERE_ROOMS_MATTER, "passed", "end"])
@pytest.mark.parametrize("then", ["run again", "restarted"])
def test_a_machine_whose_only_room_has_a_name(fresh, step, then):
    fresh.install(OLD, *ADD, stop_at=step)
    if then == "restarted":
        fresh.restart()
    assert fresh.install(OLD, *ADD).returncode == 0
    fresh.assert_settled(OLD, None, rooms=(KITCHEN,))
    assert not (fresh.folder / "root/etc/roomtone/config.yaml").exists()
    assert fresh.install(NEW).returncode == 0
    fresh.assert_settled(NEW, OLD, rooms=(KITCHEN,))


@pytest.mark.parametrize("step", ["", "room-disabled", "room-gone"])
def test_one_room_is_uninstalled_and_nothing_of_it_is_left(computer, step):
    (computer.folder / "root/var/lib/roomtone-kitchen").mkdir()
    assert len(kept(computer, "kitchen")) == 4
    if step:
        computer.install(OLD, *REMOVE, stop_at=step)
    done = computer.run(computer.home / "current/install.sh", *REMOVE)
    assert done.returncode == 0, done.stderr
    assert "pages show it as offline until: sudo roomtone forget kitchen\n" in done.stdout
    assert kept(computer, "kitchen") == []
    assert len(kept(computer, "living-room")) == 3
    computer.assert_settled(OLD, OLDEST, rooms=("roomtone", LIVING))
    done = computer.install(OLD, *REMOVE)
    assert (done.returncode, done.stderr) == (69, "roomtone: there is no room kitchen here\n")


def test_one_room_is_uninstalled_but_for_its_data_and_comes_back(computer):
    settings = computer.folder / "root/etc/roomtone/kitchen.yaml"
    settings.write_text(settings.read_text() + "# mine\n")
    settings.write_text(settings.read_text().replace("id: kitchen ", "id: galley "))
    done = computer.install(OLD, *REMOVE, "--keep-data")
    assert (done.returncode, "sudo roomtone forget galley\n" in done.stdout) == (0, True)
    computer.assert_settled(OLD, OLDEST, rooms=("roomtone", LIVING))
    assert computer.install(OLD, *ADD).returncode == 0
    computer.assert_settled(OLD, OLDEST, rooms=ROOMS)
    assert settings.read_text().endswith("# mine\n")


@pytest.mark.parametrize("step", ["", *UNINSTALLING, "forgetting"])
def test_all_are_uninstalled_and_nothing_is_left_of_any(computer, step):
    (computer.folder / "root/var/lib/roomtone-kitchen").mkdir()
    if step:
        computer.install(OLD, "--uninstall", stop_at=step)
        computer.restart()
    done = computer.install(OLD, "--uninstall")
    assert done.returncode == 0, done.stderr
    assert [path for path in (computer.folder / "root").rglob("*") if "roomtone" in path.name] == []
    assert list(computer.state.glob("user-*")) == []
    assert computer.enabled == set()


def test_all_come_back_where_their_data_was_kept(computer):
    computer.install(OLD, "--uninstall", "--keep-data")
    assert computer.enabled == set()
    assert computer.install(NEW).returncode == 0
    computer.assert_settled(NEW, None, rooms=ROOMS)


@pytest.mark.parametrize("name", ["config", "Kitchen", "-kitchen", "kitchen-", "a" * 24, "", "../etc", "my room"])
def test_what_is_no_rooms_name_does_nothing(one_room, name):
    done = one_room.install(OLD, "--instance", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--instance {name}: expected a room's name" in done.stderr
    one_room.assert_settled(OLD, OLDEST)
