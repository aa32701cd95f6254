"""Where the broker is, and what it wants to see: the settings with their secrets read."""

import ssl
from dataclasses import dataclass

from edge.config import Mqtt
from edge.credentials import held, located, secret
from edge.errors import ConfigError

_CERTIFICATE, _KEY = b"CERTIFICATE-----", b"PRIVATE KEY-----"  # how the first line of either ends


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
        password=secret("edge.mqtt.password_file", settings.password_file),
        tls=_tls(settings),
    )


def default_port(settings: Mqtt) -> int:
    """Return the port that the settings name or imply."""
    return settings.port or (1883 if settings.tls is None else 8883)


def _tls(settings: Mqtt) -> ssl.SSLContext | None:
    tls = settings.tls
    if tls is None:
        return None
    at = "edge.mqtt.tls"
    ca_file = tls.ca_file and _pem(f"{at}.ca_file", tls.ca_file, _CERTIFICATE)
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{at}.ca_file: {tls.ca_file}: no certificate that can be read in it") from error
    if tls.cert_file is None:
        return context
    cert_file = _pem(f"{at}.cert_file", tls.cert_file, _CERTIFICATE)
    key_file = _pem(f"{at}.key_file", tls.key_file or tls.cert_file, _KEY)
    try:
        context.load_cert_chain(cert_file, key_file, password=_locked)
    except _KeyLockedError as error:
        raise ConfigError(f"{at}.key_file: {tls.key_file or tls.cert_file}: has a password, which nobody could type "
                          f"here: give a key without one") from error  # fmt: skip
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"{at}: {tls.cert_file} and {tls.key_file or tls.cert_file} are no certificate with its own "
                          f"key") from error  # fmt: skip
    return context


class _KeyLockedError(Exception):
    """OpenSSL wants a password."""


def _locked() -> str:
    raise _KeyLockedError


def _pem(key: str, path: str, holds: bytes) -> str:
    """Return where a file in PEM is. Raises ConfigError, which names the key, where it is none."""
    if holds not in held(key, path):
        what = "certificate" if holds == _CERTIFICATE else "private key"
        raise ConfigError(f"{key}: {path}: no {what} in PEM (a line -----BEGIN {holds.decode()} is missing)")
    return located(path)
