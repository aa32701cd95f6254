"""YAML as a configuration needs it: what is wrong with a file is one line with the file, the line and what to do."""

from pathlib import Path
from typing import Any

import yaml

from edge.errors import ConfigError

LARGEST_BYTES = 1_000_000
_DEEPEST = 60  # lists and keys within each other
_MOST = 100_000  # values, those of an alias counted wherever it stands
_LONGEST = 100  # digits of a number

# What helps against PyYAML's own complaints, by a part of them; the first that fits.
_HELP = {
    "mapping values are not allowed": "put a text that holds a colon in quotes",
    "could not find expected ':'": "a key ends with a colon and a blank",
    "'\\t'": "indent with blanks instead of tabs",
    "found unexpected end of stream": "close the quotes",
    "'<stream end>'": "close what a [ or { opens",
    "expected <block end>": "indent what stands side by side alike, and close quotes and brackets",
    "another document": "one document is read: remove the line ---",
    "YAML document": "remove the line that begins with %",
    "for merging": "<< takes a mapping such as *name",
    "unhashable": "a key is a word",
    "base64": "leave !!binary out",
    "tag": "leave the tag (!...) out",
    "node": "leave the tag (!!...) out, or give what it names",
    "expected a sequence": "leave the tag (!!...) out, or give what it names",
    "undefined alias": "name it before with &, or put a text that begins with * in quotes",
    "special characters": "remove it",
}
_HELP_OTHERWISE = "correct this line or the one before, and put text with special characters in quotes"


class SixtyBased:
    """What YAML 1.1 takes for a number of base 60, such as 22:00 (1320). Nobody means that: no type accepts it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class _Wrong(yaml.MarkedYAMLError):
    """What is wrong at a place, and what to do."""

    def __init__(self, problem: str, at: yaml.Node | yaml.Event) -> None:
        super().__init__(problem=problem, problem_mark=at.start_mark)


class _Loader(yaml.SafeLoader):
    """YAML without PyYAML's surprises.

    A key that stands twice is refused, where the last one would silently count; so are the halves of a character that
    an escape can make, which are no text; and 22:00 is not 1320. Whatever a constructor trips over has its line.
    Nesting has an end, and aliases neither lead back to themselves nor grow without bound.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event = self.peek_event()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Wrong(f"more than {_DEEPEST} levels within each other, which no setting has", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if not hasattr(node, "values_in_all"):
                raise _Wrong(f"*{event.anchor} stands within what it means: write out what it should hold", event)
            return node
        inside = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = [part for pair in inside for part in pair] if isinstance(node, yaml.MappingNode) else inside
        node.values_in_all = 1 + sum(part.values_in_all for part in parts)
        if node.values_in_all > _MOST:
            raise _Wrong(f"more than {_MOST} values, those of its aliases counted: no configuration is so large", event)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # of a value that its tag does not fit, PyYAML's constructors raise anything
            kind, text = node.tag.rpartition(":")[2], str(node.value)
            shown = repr(text if len(text) <= 40 else f"{text[:40]}...")
            raise _Wrong(
                f"{shown} is no {kind}: correct it, or put what is text in quotes and leave out any !!{kind}", node
            ) from error

    def construct_scalar(self, node: yaml.Node) -> Any:
        text = super().construct_scalar(node)
        try:  # two escapes may be one character, as in JSON
            return text.encode("utf-16", "surrogatepass").decode("utf-16") if isinstance(text, str) else text
        except UnicodeDecodeError as error:
            raise _Wrong(f"{text!r}: half a character (a lone surrogate): write the character itself", node) from error

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        if ":" in node.value:
            return SixtyBased(node.value)
        if len(node.value) > _LONGEST:
            raise _Wrong(f"a number of {len(node.value)} digits: write a smaller one, or put text in quotes", node)
        return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            name = str(key.value)
            if name in seen:
                raise _Wrong(f"{name}: stands twice: keep one of them", key)
            seen.add(name)
        return super().construct_mapping(node, deep)


for _tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.construct_number)


def read_yaml(path: str | Path) -> Any:
    """Return what a YAML file holds; None for an empty one. Raises ConfigError with the file and, in it, the line."""
    return parse_yaml(path, _text(path))


def parse_yaml(path: str | Path, text: str) -> Any:
    """Return what YAML says; None where it says nothing. Raises ConfigError with the line, and `path`, its origin."""
    try:
        return yaml.load(text, _Loader)
    except yaml.reader.ReaderError as error:
        line, problem = 1 + text.count("\n", 0, error.position), f"{chr(error.character)!r}: {error.reason}"
        raise _refusal(path, line, problem) from error
    except _Wrong as error:
        raise ConfigError(f"{path}:{error.problem_mark.line + 1}: not valid YAML: {error.problem}") from error
    except yaml.MarkedYAMLError as error:
        raise _refusal(path, error.problem_mark.line + 1, error.problem) from error


def _text(path: str | Path) -> str:
    if not str(path):
        raise ConfigError("'': no file: give the name of a configuration, such as config.yaml")
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(data) > LARGEST_BYTES:
        raise ConfigError(f"{path}: larger than {LARGEST_BYTES // 1_000_000} MB: no configuration")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise ConfigError(f"{path}:{line}: not UTF-8 text: save it as UTF-8") from error


def _refusal(path: str | Path, line: int, problem: str) -> ConfigError:
    helps = next((help_ for part, help_ in _HELP.items() if part in problem), _HELP_OTHERWISE)
    return ConfigError(f"{path}:{line}: not valid YAML: {problem}: {helps}")
