"""
Read a YAML file of settings, with the line of each.

Values follow the core schema of YAML 1.2: `yes`, `12:30:00` and `2024-01-01` are text, where YAML 1.1 reads a truth value,
a number in base 60 and a date. Values that the two versions read as different numbers are rejected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from shared import errors
from shared.errors import FieldError
from shared.wording import model_paths

Place = tuple[str | int, ...]

_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # as declared by PyYAML


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?((0|[1-9][0-9]*)?\.[0-9]+|(0|[1-9][0-9]*)\.)([eE][-+]?[0-9]+)?|[-+]?(0|[1-9][0-9]*)[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file, their lines, and problems of the file itself."""

    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[Place, int] = field(default_factory=dict)
    problems: tuple[FieldError, ...] = ()


def read(path: Path, within: Any = None) -> Document:
    """
    Read the settings of a file; an empty one has none. `within` is their model. Raises `errors.ConfigurationError` if the
    file cannot be read or is not a mapping.
    """
    loader = _Loader(_content(path))
    try:
        root = loader.get_single_node()
        if root is None:
            return Document()
        if not isinstance(root, yaml.MappingNode):
            kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
            raise errors.ConfigurationError(f"{path} must contain lines of the form `name: value`, and is {kind}")
        walk = _Walk(within)
        walk.mapping(root, ())
        values = loader.construct_document(root)
    except yaml.YAMLError as error:
        raise errors.ConfigurationError(f"the configuration file {path} is not YAML: {_first_of(error)}") from None
    except (ValueError, RecursionError) as error:
        raise errors.ConfigurationError(f"the configuration file {path} cannot be read: {error}") from None
    return Document(values, walk.lines, tuple(walk.problems))


def _content(path: Path) -> str:
    if path.is_dir():
        raise errors.ConfigurationError(f"the configuration file {path} is a directory")
    if not path.exists():
        raise errors.ConfigurationError(f"the configuration file {path} does not exist")
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise errors.ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise errors.ConfigurationError(f"{path} is not UTF-8 text: see byte {error.start}") from None


def _first_of(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    text = str(getattr(error, "problem", None) or error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {text}" if mark else text


class _Walk:
    """One pass over all nodes of a file."""

    def __init__(self, within: Any) -> None:
        self.lines: dict[Place, int] = {}
        self.problems: list[FieldError] = []
        self._within = within
        self._open: set[int] = set()  #: nodes on the current path: an alias may lead back to one

    def mapping(self, node: yaml.MappingNode, path: Place) -> None:
        for key, value in node.value:
            place = (*path, str(key.value))
            line = key.start_mark.line + 1
            if place in self.lines and not key.tag.endswith(":merge"):
                self._complain(place, f"appears twice, on lines {self.lines[place]} and {line}")
            self.lines.setdefault(place, line)
            self._visit(value, place)

    def _visit(self, node: yaml.Node, path: Place) -> None:
        if id(node) in self._open:
            return
        self._open.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self.mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for number, one in enumerate(node.value):
                self.lines[(*path, number)] = one.start_mark.line + 1
                self._visit(one, (*path, number))
        elif isinstance(node, yaml.ScalarNode) and self._is_octal(node) and not self._takes_text(path):
            rule = f"{node.value} is octal to some readers of YAML: leave the zero out, or write it in quotes"
            self._complain(path, rule)
        self._open.discard(id(node))

    def _is_octal(self, node: yaml.ScalarNode) -> bool:
        return node.style is None and _LEADING_ZERO.fullmatch(node.value) is not None

    def _takes_text(self, path: Place) -> bool:
        if self._within is None:
            return True
        taken, annotation = model_paths.follow(self._within, path)
        return len(taken) < len(path) or model_paths.takes(annotation, str, Path, SecretStr)

    def _complain(self, path: Place, rule: str) -> None:
        self.problems.append(FieldError(".".join(map(str, path)), rule))
