"""Several sensors on one machine: an instance of the service each, and where it has its things (deploy/rooms.sh); and
the recorder of a history beside them."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from edge.errors import UnavailableError

ROOT = Path("/")
_NAME = "(?!config$)[a-z0-9]([a-z0-9-]{0,21}[a-z0-9])?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A sensor as deploy/install.sh installs it. name: the room's, empty for the first. root: of its file system."""

    name: str
    root: Path

    @property
    def unit(self) -> str:
        """As systemd, `systemctl` and `journalctl -u` call it."""
        return f"roomtone@{self.name}" if self.name else "roomtone"

    @property
    def config(self) -> Path:
        return self.root / "etc/roomtone" / f"{self.name or 'config'}.yaml"

    @property
    def credentials(self) -> Path:
        return self.root / "etc/roomtone" / (f"{self.name}.credentials" if self.name else "credentials")

    @property
    def state(self) -> Path:
        return self.root / "var/lib" / (f"roomtone-{self.name}" if self.name else "roomtone")

    @property
    def enabled(self) -> bool:
        """Whether it runs whenever the machine does."""
        return (self.root / f"etc/systemd/system/multi-user.target.wants/{self.unit}.service").is_symlink()

    def take_place(self) -> str:
        """Have this process keep state and find secrets where the instance does; return its configuration's path."""
        os.environ["STATE_DIRECTORY"] = str(self.state)
        os.environ["CREDENTIALS_DIRECTORY"] = str(self.credentials)
        return str(self.config)


class Recorder(Instance):
    """The recorder of a history, as deploy/roomtone-history.service runs it."""

    unit = "roomtone-history"

    @property
    def config(self) -> Path:
        return self.root / "etc/roomtone/history.yaml"

    @property
    def credentials(self) -> Path:
        return self.root / "etc/roomtone/history"

    @property
    def state(self) -> Path:
        return self.root / "var/lib/roomtone-history"


def recorders() -> list[Instance]:
    """Return this machine's recorder, where there is one."""
    one = Recorder(name="", root=ROOT)
    return [one] if one.config.exists() else []


def take_recorders_place(config: str | Path) -> None:
    """Have this process keep state and find secrets where the recorder does, where that is its configuration and nobody
    but the command of the installed sensor has said where they are."""
    first = str(Instance(name="", root=ROOT).credentials)
    for one in recorders():
        if Path(os.path.abspath(config)) == one.config and os.environ.get("CREDENTIALS_DIRECTORY", first) == first:
            one.take_place()


def unit_of(name: str | None) -> str:
    """Return the service of the instance of that name, or of the first."""
    return Instance(name=name or "", root=ROOT).unit


def instances() -> list[Instance]:
    """Return those that are enabled on this machine, or, where none is, those that are there; the first one first."""
    named = sorted(path.stem for path in (ROOT / "etc/roomtone").glob("*.credentials") if is_name(path.stem))
    there = [made for name in ("", *named) if (made := Instance(name=name, root=ROOT)).config.exists()]
    return [one for one in there if one.enabled] or there


def is_name(text: str) -> bool:
    """Whether a room may be called so: an account of that name is made for it."""
    return re.fullmatch(_NAME, text) is not None


def instance(name: str) -> Instance:
    """Return the one of that name. Raises UnavailableError where there is none."""
    found = Instance(name=name, root=ROOT)
    if not found.config.exists():
        there = ", ".join(one.name for one in instances() if one.name) or "none"
        raise UnavailableError(f"--instance {name}: there is no {found.config} (rooms with a name here: {there})")
    return found


def neighbours(config: str | Path) -> list[Instance]:
    """Return the other instances on this machine; none where that configuration is not an instance's own."""
    path = Path(os.path.abspath(config))
    if path.parent != ROOT / "etc/roomtone" or not (path.stem == "config" or is_name(path.stem)):
        return []
    return [one for one in instances() if one.config != path]
