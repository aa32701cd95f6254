"""What is asked of the file system before anything relies on it: what may be read, where something can be kept; and how
a file is written that must be whole."""

import errno
import os
import stat
import tempfile
from pathlib import Path

from edge.errors import RoomtoneError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_LARGEST_BYTES = 1_000_000
_SPARE = 16  # letters of a name: what is written whole has a longer one until it is


class PlaceError(RoomtoneError):
    """Nothing can be kept where it was asked for."""

    exit_status = 73


def contents(path: str | Path, *, most_bytes: int = _LARGEST_BYTES) -> bytes:
    """Return what a small file holds: a key, a password, a certificate.

    Raises OSError, its `strerror` in words, for whatever cannot be read, and for what never ends or may block.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"{_KINDS.get(kind, 'something else')}, expected a file", str(path))
    with open(path, "rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes // 1_000_000} MB", str(path))
    return data


def unwritable(path: str | Path, *, folder: bool) -> str | None:
    """Return in words why a folder (or a file) cannot be kept at a place; None where it can.

    It need not exist, nor the folders around it. What is tried leaves nothing behind.
    """
    path = Path(path)
    try:
        there = nearest(path if folder else path.parent)
        if not folder and os.path.lexists(path) and not path.is_file():
            return f"{_KINDS.get(stat.S_IFMT(os.stat(path).st_mode), 'something else')}, expected a file"
        if not there.is_dir():
            return f"{there} is no folder"
        longest = os.pathconf(there, "PC_NAME_MAX") - _SPARE
        if any(len(os.fsencode(part)) > longest for part in path.parts):
            return f"a name in it is longer than {longest} bytes"
        with tempfile.TemporaryDirectory(prefix=".roomtone-", dir=there):
            return None
    except (OSError, ValueError) as error:
        return f"nothing can be written there ({getattr(error, 'strerror', None) or error})"


def may_write(folder: Path) -> bool:
    """Return whether we may write into a folder, or may make it; as `unwritable`, but nothing is tried."""
    try:
        return os.access(nearest(folder), os.W_OK | os.X_OK)
    except OSError:
        return False


def output(path: str | Path, option: str, *, folder: bool = True) -> Path:
    """Return where something is about to be written, `~` expanded, before the work begins that is to end there.

    Raises PlaceError, which names the option, where it cannot be.
    """
    place = Path(os.path.expanduser(path))
    if trouble := unwritable(place, folder=folder):
        raise PlaceError(f"{option} {place}: {trouble}: name another place")
    return place


def nearest(path: Path) -> Path:
    """Return the path itself, or the nearest around it that is there. Raises OSError."""
    for place in (path, *path.parents):
        try:
            os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        return place
    return path


def write_atomically(path: str | Path, data: bytes) -> None:
    """Put `data` into a file that after a crash, or a power cut, is the old one or the new one. Raises OSError."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
