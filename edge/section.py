"""config.yaml, strictly: each program decodes its own top-level key; any other key is an error.

Errors read `config.yaml: edge.mqtt.port: expected int, got 'abc'`.
"""

import difflib
import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from edge.errors import ConfigError

SECTIONS = ("features", "train", "convert", "edge")

Positive = Annotated[float, msgspec.Meta(gt=0)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strict, read-only part of the configuration."""


S = TypeVar("S", bound=msgspec.Struct)


def load_section(path: str | Path, section: str, kind: type[S]) -> S:
    """Return one top-level key of a YAML file as `kind`; an absent key gives the defaults.

    Raises ConfigError for a file that is missing or not YAML, for an unknown key (anywhere in the section, or at the
    top level), a wrong type, or a value out of range.
    """
    data = _read(path)
    for key in data:
        if key not in SECTIONS:
            raise ConfigError(f"{path}: {key}: unknown key (the file has {', '.join(SECTIONS)})")
    value = {} if data.get(section) is None else data[section]
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error), section, value, kind)}") from error


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key that stands twice, where PyYAML would silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"{name}: stands twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def _read(path: str | Path) -> dict[str, Any]:
    try:
        data = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where else ""
        raise ConfigError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', None) or 'malformed'})") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys {', '.join(SECTIONS)}, got {type(data).__name__}")
    return data


def _explain(message: str, section: str, value: Any, kind: Any) -> str:
    """Turn msgspec's "Expected `int`, got `str` - at `$.mqtt.port`" into "edge.mqtt.port: expected int, got 'abc'"."""
    text, _, path = message.partition(" - at `$")
    path = path.rstrip("`")
    where = section + path
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", path):
        try:
            value = value[name] if name else value[int(index)]
            kind = _field(kind, name) if name else Any
        except (KeyError, IndexError, TypeError):
            return f"{where}: {text}"
    if text[:1].islower():  # a record's own check, which says what it got
        return f"{where}: {text}"
    if unknown := re.match(r"Object contains unknown field `(.*)`", text):
        known = get_type_hints(_struct(kind)) if _struct(kind) else {}
        near = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
        return f"{where}.{unknown[1]}: unknown key ({hint})"
    if text.startswith("Invalid enum value"):
        expected = "expected one of " + ", ".join(map(str, get_args(kind)))
    elif "matching regex" in text:
        expected = "expected " + next((part.description for part in get_args(kind) if _described(part)), text)
    else:
        expected = re.sub(r", got `.*`$", "", text).replace("`", "").replace(" | null", "")
        expected = expected[0].lower() + expected[1:]
    return f"{where}: {expected}, got {_shown(value)}"


def _field(kind: Any, name: str) -> Any:
    """Return the declared type of a struct's field, `| None` left out."""
    hint = get_type_hints(_struct(kind), include_extras=True)[name]
    return next((part for part in get_args(hint) if part is not type(None)), hint) if _optional(hint) else hint


def _optional(hint: Any) -> bool:
    return isinstance(hint, UnionType) or get_origin(hint) is Union


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _described(part: Any) -> bool:
    return isinstance(part, msgspec.Meta) and part.description is not None


def _shown(value: Any) -> str:
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 60 else shown[:57] + "..."
