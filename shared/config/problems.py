"""Say which settings break a rule: the name, the rule, the value unless it may be a secret, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, SecretStr

from shared.config import sources
from shared.config.yaml_file import Document, Place
from shared.wording import model_paths, texts, validation

_LONGEST = 60  #: characters of a value that is shown
_UNSHOWN = ("password", "passphrase", "secret", "key", "token", "url")  #: parts of names whose values may be secrets
_TEXT = frozenset({"string_type"})
_COMPOUND = frozenset({"list_type", "dict_type", "model_type", "model_attributes_type"})


def lines(
    document: Document, found: Iterable[Mapping[str, Any]], within: type[BaseModel], environment: Mapping[str, str]
) -> list[str]:
    """One line for each: of the file as such, and of `found` (what `ValidationError.errors()` gives)."""
    problems = {problem.path: (_place(problem.path), problem.rule) for problem in document.problems}
    for name, ones in _by_path(found, within).items():
        if name not in problems:
            problems[name] = (_place(name), _rule(name, ones, within, environment))
    return [_line(name, place, rule, document, environment) for name, (place, rule) in problems.items()]


def _by_path(found: Iterable[Mapping[str, Any]], within: type[BaseModel]) -> dict[str, list[Mapping[str, Any]]]:
    """The errors of each value; those of the branches of a union are of one value."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for number, one in enumerate(found):
        (problem,) = validation.problems([one], within)
        # Rules for several settings at once have no path: each stays one of its own.
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
    """The value, as the end of a sentence; empty where it may be a secret, or is long."""
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
