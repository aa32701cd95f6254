"""Settings that the environment gives, for containers: ROOMTONE_MQTT__HOST=broker.lan is `edge.mqtt.host: broker.lan`.

One rule for every setting: ROOMTONE_, then its keys below `edge` in capitals, joined by two underscores. Where a text
is expected, the value is that text, and an empty one is `null`; everything else is YAML, as it would stand in the file,
as is a [list] where either is expected.
A name that begins so and is no setting is refused.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from edge.errors import ConfigError
from edge.strict_yaml import parse_yaml

PREFIX = "ROOMTONE_"
JOINT = "__"
# What the installers, the tests and the bench are told in the same way (deploy/README.md, tests/README.md).
OTHERS = {
    PREFIX + name
    for name in ("BROKER", "BROKER_PORT", "CORPORA", "FLEET", "INNER_PORT", "MACHINES", "PAGE_PORT", "PATIENCE_S",
                 "PROBATION_S", "ROOT", "STOP_AT", "SUITE")
}  # fmt: skip


def settings_in(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that are to be settings, a section before its keys."""
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in OTHERS)


def overlaid(value: Any, kind: type[msgspec.Struct], environ: Mapping[str, str]) -> Any:
    """Return what a section of the file holds with the environment's settings over it.

    Raises ConfigError for a name that is no setting, or a value that is no YAML.
    """
    for variable in settings_in(environ):
        keys = variable.removeprefix(PREFIX).lower().split(JOINT)
        given = _given(variable, environ[variable], _expected(variable, keys, kind))
        value = _with(value, keys, given)
    return value


def _expected(variable: str, keys: list[str], kind: type[msgspec.Struct]) -> list[inspect.Type]:
    """Return the types that a setting may have. Raises ConfigError where there is none of that name."""
    parts: list[inspect.Type] = [inspect.type_info(kind)]
    for key in keys:
        fields = {field.name: field.type for part in parts if isinstance(part, inspect.StructType)
                  for field in part.fields}  # fmt: skip
        if key not in fields:
            near = difflib.get_close_matches("_".join(keys), known := list(names(kind)), n=1, cutoff=0.5)
            hint = f"did you mean {_variable(near[0])}?" if near else f"they begin with {_begun(known)}"
            raise ConfigError(f"{variable}: no such setting in the environment: {hint}")
        parts = list(_alternatives(fields[key]))
    return parts


def _given(variable: str, text: str, expected: list[inspect.Type]) -> Any:
    if not text.isascii() and text.encode("utf-8", "surrogateescape") != text.encode("utf-8", "replace"):
        raise ConfigError(f"{variable}: not UTF-8 text")
    listed = text.startswith("[") and any(isinstance(part, inspect.VarTupleType) for part in expected)
    if listed or not any(isinstance(part, inspect.StrType | inspect.LiteralType) for part in expected):
        return parse_yaml(variable, text)
    return text or None


def _with(value: Any, keys: list[str], given: Any) -> Any:
    """Return a copy of a mapping with `given` where `keys` lead; what is no mapping stays, for its own error."""
    if not keys:
        return given
    if value is not None and not isinstance(value, dict):
        return value
    inner = value or {}
    return {**inner, keys[0]: _with(inner.get(keys[0]), keys[1:], given)}


def names(kind: type[msgspec.Struct]) -> Iterator[str]:
    """Yield the dotted path of each setting below a section."""

    def within(part: inspect.Type, path: str) -> Iterator[str]:
        structs = [one for one in _alternatives(part) if isinstance(one, inspect.StructType)]
        if not structs:
            yield path
        for struct in structs:
            for field in struct.fields:
                yield from within(field.type, f"{path}.{field.name}".lstrip("."))

    return within(inspect.type_info(kind), "")


def _variable(path: str) -> str:
    return PREFIX + path.upper().replace(".", JOINT)


def _begun(known: list[str]) -> str:
    return ", ".join(_variable(first) for first in sorted({path.partition(".")[0] for path in known}))


def _alternatives(part: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(part, inspect.Metadata):
        yield from _alternatives(part.type)
    elif isinstance(part, inspect.UnionType):
        for one in part.types:
            yield from _alternatives(one)
    else:
        yield part
