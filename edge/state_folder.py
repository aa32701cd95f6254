"""Where the sensor may keep things."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import ConfigError
from edge.files import unwritable


def state_folder(configured: str | None) -> Path | None:
    """Return where the sensor may keep things: as configured, else systemd's, else the user's; None without a home.

    It need not exist: whoever has something to keep makes it.
    """
    if configured is not None:
        return Path(configured)
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "roomtone"
    except RuntimeError:  # no home
        return None


def closed_to_us(folder: Path) -> bool:
    """Return whether systemd gave this folder to a service whose user we are not."""
    if "STATE_DIRECTORY" not in os.environ:
        return False
    try:
        os.stat(os.path.join(folder, os.curdir))  # a Path would drop the dot, which asks to enter it
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def require_state_folder(configured: str | None) -> Path | None:
    """Return the state folder, for whoever asks whether it can be relied on; None without one.

    Raises ConfigError where nothing can be kept there.
    """
    folder = state_folder(configured)
    if folder is not None and (trouble := unwritable(folder, folder=True)):
        raise ConfigError(f"edge.state_folder: {folder}: {trouble}: name a folder that this user may write to")
    return folder


@contextmanager
def as_owner(state: Path) -> Iterator[None]:
    """Write as the sensor's user, so that root neither follows its links nor leaves files that it cannot replace."""
    if os.geteuid() != 0 or not os.path.exists(state) or (owner := state.stat()).st_uid == 0:
        yield
        return
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
