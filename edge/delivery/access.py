"""Where the broker is, and what it wants to see: the settings with their secrets read."""

import dataclasses
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from edge.addresses import hosts_of
from edge.config import Mqtt
from edge.credentials import held, located, secret
from edge.delivery.embedded import HOST, own
from edge.errors import ConfigError

_CERTIFICATE, _KEY = b"CERTIFICATE-----", b"PRIVATE KEY-----"  # how the first line of either ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the broker is and what it wants to see. standby: the one that is used where this is away."""

    host: str
    port: int
    keepalive_s: int
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None
    own_certificate_ends_s: float | None = None  # Unix time
    standby: "Access | None" = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def access(settings: Mqtt, *, host: str | None = None, port: int | None = None) -> Access:
    """Return how to reach the broker of the settings, and its standby, where they have one and no host is given.

    Raises ConfigError for secrets that cannot be read.
    """
    first, *others = (host,) if host else hosts_of(settings.host)
    reached = Access(
        host=first,
        port=port or settings.port or (1883 if settings.tls is None else 8883),
        keepalive_s=settings.keepalive_s,
        username=settings.username,
        password=secret("edge.mqtt.password_file", settings.password_file),
        tls=_tls(settings),
        own_certificate_ends_s=_own_ends_s(settings),
    )
    return dataclasses.replace(reached, standby=dataclasses.replace(reached, host=others[0])) if others else reached


def reached(settings: Mqtt) -> Mqtt:
    """Return the settings by which others on this machine reach the sensor's broker: an embedded one where it runs."""
    if settings.host != "embedded":
        return settings
    return replace(settings, host=HOST, port=own(settings.port) or settings.port)


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


def _own_ends_s(settings: Mqtt) -> float | None:
    if settings.tls is None or settings.tls.cert_file is None:
        return None
    text = held("edge.mqtt.tls.cert_file", settings.tls.cert_file)
    found = re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)  # its own is first
    return ends_s(ssl.PEM_cert_to_DER_cert(found[0].decode(errors="replace"))) if found else None


def ends_s(certificate: bytes) -> float | None:
    """Return the Unix time at which a certificate (DER) ends, None where it does not tell.

    RFC 5280, 4.1. `cryptography` would do it for 11 MB of a sensor's memory.
    """
    try:
        [(_, whole)] = _parts(certificate)
        signed = [part for part in _parts(next(_parts(whole))[1]) if part[0] != 0xA0]  # without the version
        _, (kind, until) = _parts(signed[3][1])
        form = "%y%m%d%H%M%SZ" if kind == 0x17 else "%Y%m%d%H%M%SZ"
        return datetime.strptime(until.decode(), form).replace(tzinfo=UTC).timestamp()
    except (ValueError, IndexError, StopIteration):
        return None


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield what a DER value is made of: tags and contents."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            more = length & 0x7F
            length = int.from_bytes(der[at : at + more])
            at += more
        yield tag, der[at : at + length]
        at += length


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
