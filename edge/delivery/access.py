"""Where the broker is, and what it wants to see: the settings with their secrets read."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.config import Mqtt
from edge.delivery.credentials import located
from edge.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the broker is and what it wants to see."""

    host: str
    port: int
    keepalive_s: int
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def access(settings: Mqtt, *, host: str | None = None, port: int | None = None) -> Access:
    """Return how to reach the broker of the settings. Raises ConfigError for secrets that cannot be read."""
    return Access(
        host=host or settings.host,
        port=port or default_port(settings),
        keepalive_s=settings.keepalive_s,
        username=settings.username,
        password=_secret(settings.password_file),
        tls=_tls(settings),
    )


def default_port(settings: Mqtt) -> int:
    """Return the port that the settings name or imply."""
    return settings.port or (1883 if settings.tls is None else 8883)


def _tls(settings: Mqtt) -> ssl.SSLContext | None:
    tls = settings.tls
    if tls is None:
        return None
    with _said_of(f"ca_file: {tls.ca_file}"):
        context = ssl.create_default_context(cafile=tls.ca_file and located(tls.ca_file))
    if tls.cert_file is not None:
        with _said_of(f"cert_file, key_file: {tls.cert_file}, {tls.key_file or 'the same file'}"):
            context.load_cert_chain(located(tls.cert_file), tls.key_file and located(tls.key_file))
    return context


@contextmanager
def _said_of(files: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = "not a certificate (and key) in PEM" if isinstance(error, ssl.SSLError) else _why(error)
        raise ConfigError(f"edge.mqtt.tls.{files}: {why}") from error


def _why(error: OSError | ValueError) -> str:
    why = (getattr(error, "strerror", None) or str(error)).lower()
    return f"{why}: try with sudo" if isinstance(error, PermissionError) else why


def _secret(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(located(path)).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"edge.mqtt.password_file: {path}: not text in UTF-8") from error
    except OSError as error:
        raise ConfigError(f"edge.mqtt.password_file: {path}: cannot be read ({_why(error)})") from error
