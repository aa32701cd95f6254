"""Where the broker is, and what it wants to see: the settings with their secrets read."""

import ssl
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
    try:
        context = ssl.create_default_context(cafile=tls.ca_file and located(tls.ca_file))
        if tls.cert_file is not None:
            context.load_cert_chain(located(tls.cert_file), tls.key_file and located(tls.key_file))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        files = ", ".join(file for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)
        raise ConfigError(f"edge.mqtt.tls: {files}: {getattr(error, 'strerror', None) or error}") from error
    return context


def _secret(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(located(path)).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"edge.mqtt.password_file: {path}: cannot be read ({error})") from error
