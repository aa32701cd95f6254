"""Bundles as deploy/bundle.sh makes them: what is in one, listed and signed."""

import hashlib
import subprocess
from pathlib import Path

from tests.support.system import require_program

SIGNED = "roomtone bundle, SHA-256 of its SHA256SUMS: "  # and its digest: what is signed, in words


def seal(bundle: Path, key: Path | None, said: str = SIGNED) -> None:
    """List what is in an unpacked bundle, and have OpenSSL's own command sign that where there is a key."""
    (bundle / "SHA256SUMS.sig").unlink(missing_ok=True)
    listing = "find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS"
    subprocess.run(listing, shell=True, cwd=bundle, check=True)
    if key is not None:
        message = bundle.with_name(f"{bundle.name}.message")
        message.write_text(said + hashlib.sha256((bundle / "SHA256SUMS").read_bytes()).hexdigest())
        subprocess.run([require_program("openssl", "openssl"), "pkeyutl", "-sign", "-rawin", "-inkey", key,
                        "-in", message, "-out", bundle / "SHA256SUMS.sig"], check=True)  # fmt: skip
        message.unlink()
