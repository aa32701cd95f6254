"""Whether an unpacked bundle (deploy/bundle.sh) may be installed: before anything in it runs, by what is installed.

`python -I -m edge.updates.bundle FOLDER CONFIG...` ends with status 0 where it may. The installer calls it so, with the
configuration of each room: the bundle must be signed by a key that each of them trusts which trusts any. What
`edge.model_store` allows of models, it does not allow of bundles: these run as root.
"""

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge.config import load_edge
from edge.entry import concluded
from edge.errors import ArtifactError
from edge.files import contents
from edge.model.signatures import signer

SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
_WHAT = b"roomtone bundle, SHA-256 of its SHA256SUMS: "  # so that a signature of anything else does not fit
_LINE = re.compile(r"([0-9a-f]{64})  \./([^\\]+)")
_MOST_BYTES = 1_000_000


def verify(folder: Path, configurations: Iterable[str]) -> Iterator[str]:
    """Yield by whom a bundle is signed, for each configuration with trusted keys, having found it whole.

    Raises ArtifactError for a bundle that is not signed so, or not as it was made, ConfigError for a key or a
    configuration that cannot be read.
    """
    sums = _read(folder, SUMS)
    for configuration in configurations:
        if keys := load_edge(configuration).model_store.trusted_keys:
            yield f"{folder.name}: signed by {_signer(folder, sums, configuration, keys)}"
    _compare(folder, sums)


def _signer(folder: Path, sums: bytes, configuration: str, keys: Iterable[str]) -> str:
    if not (folder / SIGNATURE).is_file():
        raise ArtifactError(f"bundle {folder.name}: not signed, and {configuration} has edge.model_store.trusted_keys: "
                            "make it with `make bundle KEY=model.key`")  # fmt: skip
    message = _WHAT + hashlib.sha256(sums).hexdigest().encode()
    try:
        return signer(_read(folder, SIGNATURE), message, keys)
    except ArtifactError as error:
        raise ArtifactError(f"bundle {folder.name}: {configuration}: {error}") from error


def _compare(folder: Path, sums: bytes) -> None:
    """Raise ArtifactError where the files are not exactly those that are listed."""
    listed = {}
    for line in sums.decode("utf-8", "replace").splitlines():
        if not (found := _LINE.fullmatch(line)):
            raise ArtifactError(f"bundle {folder.name}: {SUMS} is damaged")
        listed[found[2]] = found[1]
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if (path.is_dir() and not path.is_symlink()) or name in (SUMS, SIGNATURE):
            continue
        if path.is_symlink() or not path.is_file() or name not in listed:
            raise ArtifactError(f"bundle {folder.name}: {name} is none of its files")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != listed.pop(name):
                raise ArtifactError(f"bundle {folder.name}: {name} was changed since it was made: copy it again")
    if listed:
        raise ArtifactError(f"bundle {folder.name}: {min(listed)} is missing: copy it again")


def _read(folder: Path, name: str) -> bytes:
    try:
        if (folder / name).is_symlink():
            raise ArtifactError(f"bundle {folder.name}: {name} is a link")
        return contents(folder / name, most_bytes=_MOST_BYTES)
    except OSError as error:
        raise ArtifactError(f"bundle {folder.name}: {name}: cannot be read ({error.strerror})") from error


def _main() -> int:
    folder, *configurations = sys.argv[1:]
    for said in verify(Path(folder), configurations):
        print(f"roomtone: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(concluded(_main, called="roomtone"))
