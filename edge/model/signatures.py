"""Signatures of models: Ed25519 over an artifact's SHA-256, by a key that the owner keeps off the sensors.

Keys are PEM files: PKCS #8 (mode 0600) and its public half, `NAME.pub`. `cryptography` is imported only where it is
used.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge.errors import ArtifactError, ConfigError, InputError
from edge.files import PlaceError, contents, write_atomically
from edge.model.artifact import Artifact, signed, unpack
from edge.model.record import NotPermittedError

_WHAT = b"roomtone model, SHA-256 of graph and manifest: "  # so that a signature of anything else does not fit


def keygen(name: str | Path) -> tuple[Path, Path]:
    """Make a pair of keys, `name`.key and `name`.pub, and return their paths. Raises InputError where one exists,
    PlaceError where none can be written.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    paths = Path(f"{name}.key"), Path(f"{name}.pub")
    for path, content, mode in zip(paths, (private, public), (0o600, 0o644), strict=True):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError as error:
            raise InputError(f"{path}: exists already: a key is never overwritten") from error
        except OSError as error:
            raise PlaceError(f"{path}: cannot be written ({error.strerror})") from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    return paths


def sign(path: str | Path, key_file: str | Path) -> Artifact:
    """Sign an artifact in place, replacing any signature it had. Raises ArtifactError or InputError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(contents(key_file), password=None)
    except (OSError, ValueError, TypeError) as error:
        why = getattr(error, "strerror", None) or "not a private key in PEM without a password"
        raise InputError(f"{key_file}: cannot be read ({why})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{key_file}: not an Ed25519 key: make one with `roomtone model keygen`")
    try:
        data = Path(path).read_bytes()
        data = signed(data, key.sign(_message(unpack(data))))
        write_atomically(path, data)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return unpack(data)


def verify(artifact: Artifact, trusted_keys: Iterable[str | Path]) -> str:
    """Return which of the public keys signed an artifact.

    Raises ArtifactError where none did, ConfigError for a key that cannot be read.
    """
    if artifact.signature is None:
        raise NotPermittedError("not signed: see `roomtone model sign`", "allow_unsigned")
    return signer(artifact.signature, _message(artifact), trusted_keys)


def signer(signature: bytes, message: bytes, trusted_keys: Iterable[str | Path]) -> str:
    """Return which of the public keys signed a message.

    Raises ArtifactError where none did, ConfigError for a key that cannot be read.
    """
    from cryptography.exceptions import InvalidSignature

    names = []
    for path in trusted_keys:
        key = public_key(path)
        try:
            key.verify(signature, message)
            return str(path)
        except InvalidSignature:
            names.append(str(path))
    raise ArtifactError(f"signed by none of the trusted keys ({', '.join(names) or 'there are none'})")


def public_key(path: str | Path) -> Any:
    """Return the key in one of the files of edge.model_store.trusted_keys. Raises ConfigError where it holds none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    where = f"edge.model_store.trusted_keys: {path}"
    try:
        key = load_pem_public_key(contents(path))
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror})") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{where}: not a public key in PEM: `roomtone model keygen` makes NAME.pub") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{where}: not an Ed25519 key: `roomtone model keygen` makes one")
    return key


def _message(artifact: Artifact) -> bytes:
    return _WHAT + artifact.digest.encode()
