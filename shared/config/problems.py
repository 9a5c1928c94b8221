"""Describe settings that break a rule: name, rule, value unless it may be a secret, and origin."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, SecretStr

from shared.config import sources
from shared.config.yaml_file import Document, Place
from shared.wording import model_paths, texts, validation

_LONGEST = 60  #: most characters of a shown value
_UNSHOWN = ("password", "passphrase", "secret", "key", "token", "url")  #: parts of names whose values may be secrets
_TEXT = frozenset({"string_type"})
_COMPOUND = frozenset({"list_type", "dict_type", "model_type", "model_attributes_type"})


def lines(
    document: Document, found: Iterable[Mapping[str, Any]], within: type[BaseModel], environment: Mapping[str, str]
) -> list[str]:
    """Return one line per problem: those of the file itself, and `found` (from `ValidationError.errors()`)."""
    problems = {problem.path: (_place(problem.path), problem.rule) for problem in document.problems}
    for name, ones in _by_path(found, within).items():
        if name not in problems:
            problems[name] = (_place(name), _rule(name, ones, within, environment))
    return [_line(name, place, rule, document, environment) for name, (place, rule) in problems.items()]


def _by_path(found: Iterable[Mapping[str, Any]], within: type[BaseModel]) -> dict[str, list[Mapping[str, Any]]]:
    """Group errors by value: the branches of a union all report the same value."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for number, one in enumerate(found):
        (problem,) = validation.problems([one], within)
        # Rules about several settings have no path and stay separate.
        grouped.setdefault(problem.path or f"\0{number}", []).append(one)
    return grouped


def _rule(name: str, ones: Sequence[Mapping[str, Any]], within: type[BaseModel], environment: Mapping[str, str]) -> str:
    (problem,) = validation.problems(ones, within, unknown="is not a setting")
    value, kinds = ones[0].get("input"), {one["type"] for one in ones}
    if kinds & {"missing", "extra_forbidden"} or name.startswith("\0"):
        return problem.rule
    rule = problem.rule
    origin = sources.origin(_place(name), environment, {})
    if kinds & _COMPOUND and isinstance(value, str) and origin is not None:
        return f"must be JSON: {rule.removeprefix('must be ')}{_not(name, value, within)}"
    if kinds <= _TEXT and isinstance(value, bool | int | float):
        return f"{rule}: write it in quotes"
    return f"{rule}{_not(name, value, within)}"


def _not(name: str, value: Any, within: type[BaseModel]) -> str:
    """Return the value as the end of a sentence; empty if it is long or may be a secret."""
    last = name.rpartition(".")[2]
    top = within.model_fields.get(name.partition(".")[0])
    secret = top is None or model_paths.takes(top.annotation, SecretStr) or any(part in last for part in _UNSHOWN)
    if secret or isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = texts.printable(json.dumps(value, ensure_ascii=False), keep="")
    return f", not {text}" if len(text) <= _LONGEST else ""


def _line(name: str, place: Place, rule: str, document: Document, environment: Mapping[str, str]) -> str:
    if name.startswith("\0"):
        return rule
    origin = sources.origin(place, environment, document.lines)
    return f"{texts.printable(name, keep='')}: {rule}" + (f" ({origin})" if origin else "")


def _place(name: str) -> Place:
    return tuple(int(step) if step.isdigit() else step for step in name.split("."))
