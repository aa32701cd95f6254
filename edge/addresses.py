"""Where a broker and a store are and what topics are called, as a configuration may write them."""

import ipaddress
import os
import re
from typing import Annotated

import msgspec

from edge.section import looked_at, written

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


Store = Annotated[str, looked_at(store_place, of="store")]  # of a history
