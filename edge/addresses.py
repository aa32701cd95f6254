"""Where a broker, a store and a model are and what topics are called, as a configuration may write them."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated

import msgspec

from edge.section import at_home, looked_at, written

OPEN_MODEL = Path(__file__).parent / "model" / "bundled" / "open.tflite"
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Topic = Annotated[
    str,
    written(
        r"(?=.{1,64}\Z)[a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*",
        "a topic such as homeassistant, without wildcards, and without a / at an end or two of them in a row",
    ),
]


def host_name(text: str) -> str:
    """Return a host's name or address as it is, with nothing around it. Raises ValueError in words."""
    if scheme := re.match(r"[\w.+-]+://", text):
        raise ValueError(f"expected a host name alone, without {scheme[0]}")
    if text != text.strip():
        raise ValueError("expected a host name without blanks around it")
    if text.lower() == "embedded" != text:
        raise ValueError("a broker of our own is called embedded, in small letters")
    if text.startswith("[") or text.endswith("]"):
        raise ValueError("expected an IPv6 address without brackets, and its port in edge.mqtt.port")
    if port := re.fullmatch(r"[^:]*:([0-9]*)", text):
        raise ValueError(f"expected a host name alone: the port goes into edge.mqtt.port{port[1] and f' ({port[1]})'}")
    try:
        if ":" in text:
            ipaddress.IPv6Address(text)
        elif re.fullmatch(r"[0-9.]+", text):
            ipaddress.IPv4Address(text)
        else:
            text.encode("idna")  # as the resolver will
            if not re.fullmatch(r"[\w-]+(\.[\w-]+)*\.?", text):
                raise ValueError
    except ValueError:
        raise ValueError("expected a host name or an IP address") from None
    return text


Host = Annotated[str, looked_at(host_name)]
Hosts = Annotated[tuple[Host, ...], msgspec.Meta(min_length=1, max_length=2)]  # a broker's, and that of its standby


def hosts_of(host: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return one or two hosts, in their order."""
    return (host,) if isinstance(host, str) else host


def require_two(host: str | tuple[str, ...]) -> None:
    """Raise ValueError where two hosts are no two brokers that somebody else runs."""
    if not isinstance(host, str) and ("embedded" in host or len({*host}) < len(host)):
        raise ValueError("expected two different brokers in host, none of them embedded")


def model_place(text: str) -> str:
    """Return the file of a model; `open` names the bundled one that is for any use. Raises ValueError in words."""
    return str(OPEN_MODEL) if text == "open" else at_home(text)


def store_place(text: str) -> str:
    """Return where a history is, as it is named. Raises ValueError in words."""
    if not text.strip() or not text.isprintable():
        raise ValueError("expected a file, or a postgresql:// address")
    if (scheme := re.match(r"[\w.+-]+://", text)) and scheme[0] not in ("postgresql://", "postgres://"):
        raise ValueError(f"expected a file, or a postgresql:// address, without {scheme[0]}")
    return text if scheme else os.path.expanduser(text)


def store_in(folder: str, name: str) -> str:
    """Return where a store is that a file in `folder` names."""
    return name if "://" in name else os.path.join(folder, name)


def listening_place(text: str) -> str:
    """Return HOST:PORT as it is, with a number for a port. Raises ValueError in words."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65_535:
        raise ValueError("expected HOST:PORT, e.g. 127.0.0.1:9464")
    if bracketed := re.fullmatch(r"\[(.*)\]", host):
        host = bracketed[1]
    elif ":" in host:
        raise ValueError("expected an IPv6 address in brackets, e.g. [::1]:9464")
    if not host_name(host):
        raise ValueError("expected HOST:PORT, e.g. 127.0.0.1:9464")
    return text


def host_and_port(place: str) -> tuple[str, int]:
    """Return the two that a HOST:PORT names."""
    host, _, port = place.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


Listens = Annotated[str, looked_at(listening_place)]  # where something of ours answers
Store = Annotated[str, looked_at(store_place, of="store")]  # of a history
Model = Annotated[str, looked_at(model_place, of="file")]
