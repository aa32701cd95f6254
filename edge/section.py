"""config.yaml, strictly: each program decodes its own top-level key; any other key is an error.

Errors read `config.yaml: edge.mqtt.port: expected int, got 'abc'`.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from edge.environment import overlaid, settings_in
from edge.errors import ConfigError
from edge.strict_yaml import SixtyBased, read_yaml

SECTIONS = ("features", "train", "convert", "edge")
LARGEST = 1e15  # number of any setting

Positive = Annotated[float, msgspec.Meta(gt=0)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]


def written(pattern: str, words: str) -> msgspec.Meta:
    """Return what makes a text one that matches `pattern` from its first to its last character; `words` say it."""
    return msgspec.Meta(pattern=rf"\A(?:{pattern})\Z", description=words)  # `$` would let a newline pass


Line = Annotated[str, written(r"[^\x00-\x1f\x7f]*", "one line of text")]


def looked_at(look: Callable[[str], str], *, of: str = "") -> msgspec.Meta:
    """Return what has `look` take a text as it is read: it returns it as it goes on, or raises ValueError in words.

    of: what the text is, where `load_section` is to place it.
    """
    return msgspec.Meta(extra={"look": look, "of": of})


def at_home(text: str) -> str:
    """Return a path with `~` as a home folder. Raises ValueError in words."""
    if not text or not text.isprintable():
        raise ValueError("expected the path of a file or folder")
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise ValueError(f"there is no home folder {path.partition('/')[0]}")
    return path


File = Annotated[str, looked_at(at_home, of="file")]  # a path; here, and nowhere else, `~` becomes a home folder
Secret = Annotated[str, looked_at(at_home, of="secret")]  # likewise, or a credential's name (edge/credentials.py)
Place = Callable[[str, str], str]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strict, read-only part of the configuration."""


S = TypeVar("S", bound=msgspec.Struct)


def load_section(
    path: str | Path | None,
    section: str,
    kind: type[S],
    *,
    place: Place = lambda name, of: name,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> S:
    """Return one top-level key of a YAML file as `kind`; an absent key, or no file, gives the defaults.

    place: given every path and whether it is that of a `file` or a `secret`, returns the path that is meant.
    environ: what stands over the file (see edge/environment.py).

    Raises ConfigError for a file that is missing or not YAML, for an unknown key (anywhere in the section, or at the
    top level), a wrong type, or a value out of range.
    """
    data = {} if path is None else _read(path)
    for key in data:
        if key not in SECTIONS:
            raise ConfigError(f"{path}: {key}: unknown key (the file has {', '.join(SECTIONS)})")
    overlaid(data.get(section), kind, environ)  # what is no setting says itself which variable it is

    def taken(environ: Mapping[str, str]) -> S:
        value = overlaid(data.get(section), kind, environ)
        value = {} if value is None else value
        try:
            return _looked_at(msgspec.convert(value, kind), kind, section, place)
        except msgspec.ValidationError as error:
            raise ConfigError(explain(str(error), section, value, kind)) from error

    try:
        return taken(environ)
    except ConfigError as error:
        raise ConfigError(f"{_said_by(str(error), taken, environ) or path}: {error}") from error


def _said_by(complaint: str, taken: Callable[[Mapping[str, str]], Any], environ: Mapping[str, str]) -> str | None:
    """Return the variable with which a complaint began, as they are laid over each other; None: it is the file's."""
    before = {name: environ[name] for name in settings_in(environ)}
    while before:
        name, _ = before.popitem()
        try:
            taken(before)
        except ConfigError as earlier:
            if str(earlier) == complaint:
                continue
        return name
    return None


def _looked_at(value: Any, hint: Any, where: str, place: Place) -> Any:
    """Return a value with every text in it as its own look (see `looked_at`) gives it.

    Raises ConfigError where a look does, and for a number that no setting can mean.
    """
    if isinstance(value, msgspec.Struct):
        hints = get_type_hints(type(value), include_extras=True)
        seen = {name: _looked_at(getattr(value, name), hints[name], f"{where}.{name}", place) for name in hints}
        return msgspec.structs.replace(value, **seen)
    if isinstance(value, dict):
        return {key: _looked_at(inner, hint, f"{where}.{key}", place) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_looked_at(inner, hint, f"{where}[{at}]", place) for at, inner in enumerate(value))
    if isinstance(value, int | float) and not abs(value) <= LARGEST:  # which a NaN is not, either
        raise ConfigError(f"{where}: expected a number of at most {LARGEST:.0e}, got {_shown(value)}")
    for look, of in _looks(hint) if isinstance(value, str) else ():
        try:
            value = place(look(value), of) if of else look(value)
        except ValueError as error:
            got = "" if _shown(value) in str(error) else f", got {_shown(value)}"
            raise ConfigError(f"{where}: {error}{got}") from error
    return value


def _looks(hint: Any) -> Iterator[tuple[Callable[[str], str], str]]:
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, msgspec.Meta) and part.extra:
            yield part.extra["look"], part.extra["of"]
    for part in get_args(hint):
        yield from _looks(part)


def _read(path: str | Path) -> dict[str, Any]:
    data = read_yaml(path)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys {', '.join(SECTIONS)}, got {type(data).__name__}")
    return data


_WRITTEN = {"object": "keys with values ({key: value})", "array": "a list ([one, other])"}


def explain(message: str, section: str, value: Any, kind: Any) -> str:
    """Turn msgspec's "Expected `int`, got `str` - at `$.mqtt.port`" into "edge.mqtt.port: expected int, got 'abc'".

    section: what `value`, which is no `kind`, is called.
    """
    text, _, path = message.partition(" - at `$")
    path = path.rstrip("`")
    where = section + path
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", path):
        try:
            value = value[name] if name else value[int(index)]
            kind = _field(kind, name) if name else kind
        except (KeyError, IndexError, TypeError):  # within an entry of a mapping, which msgspec does not name
            return f"{where}: {_plain(text)}"
    if text[:1].islower():  # a record's own check, which says what it got
        return f"{where}: {text}"
    if unknown := re.match(r"Object contains unknown field `(.*)`", text):
        known = get_type_hints(_struct(kind)) if _struct(kind) else {}
        near = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
        return f"{where}.{unknown[1]}: unknown key ({hint})"
    if text.startswith("Expected `str") and isinstance(value, int | float | date | SixtyBased):
        read = f" (YAML reads it as {str(value).lower()})" if isinstance(value, bool) else f': "{value}"'
        return f"{where}: write it in quotes{read}"
    if text.startswith("Invalid enum value"):
        expected = "expected one of " + ", ".join(part for part in _parts(kind) if isinstance(part, str))
    elif "matching regex" in text:
        expected = "expected " + next(part.description for part in _parts(kind) if _described(part))
    else:
        expected = re.sub(r", got .*$", "", _plain(text))
    return f"{where}: {expected}, got {_shown(value)}"


def _plain(text: str) -> str:
    """Return msgspec's words without their marks, and JSON's kinds as people write them."""
    plain = text[:1].lower() + text[1:].replace("`", "").replace(" | null", "")
    return re.sub(r"(?<=expected )(object|array)", lambda kind: _WRITTEN[kind[0]], plain)


def _field(kind: Any, name: str) -> Any:
    """Return the declared type of a struct's field, without what stands for nothing."""
    hint = get_type_hints(_struct(kind), include_extras=True)[name]
    parts = [part for part in get_args(hint) if part not in (type(None), msgspec.UnsetType)] if _optional(hint) else []
    return parts[0] if len(parts) == 1 else hint


def _optional(hint: Any) -> bool:
    return isinstance(hint, UnionType) or get_origin(hint) is Union


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _parts(kind: Any) -> Iterator[Any]:
    """Yield what a type is made of, all the way down."""
    for part in get_args(kind):
        yield part
        yield from _parts(part)


def _described(part: Any) -> bool:
    return isinstance(part, msgspec.Meta) and part.description is not None


def _shown(value: Any) -> str:
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 60 else shown[:57] + "..."
