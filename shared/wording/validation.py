"""Turn pydantic's validation errors into sentences: pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.errors import FieldError
from shared.wording import model_paths, patterns, suggestions

_NAMED = 8  #: most fields of an object that its rule names

#: By pydantic's name of the error; `{…}` comes from the error's context.
_SENTENCES: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_sub_type": "must be text",
    "string_unicode": "must be valid Unicode text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "none_required": "must be null or left out",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "path_type": "must be the path of a file",
}
_OBJECTS = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type", "dataclass_type"})
_LISTS = frozenset({"list_type", "tuple_type", "set_type"})


def problems(
    found: Iterable[Mapping[str, Any]], within: Any = None, *, unknown: str = "is not known"
) -> list[FieldError]:
    """
    Return one broken rule per path of `found` (from `ValidationError.errors()`). `within` is the validated model or type:
    with it a rule shows an example, and a misspelt name a suggestion. `unknown` is the rule for unknown names.
    """
    rules: dict[str, list[str]] = {}
    for one in found:
        location = one["loc"]
        path, holder = (list(location), None) if within is None else model_paths.follow(within, location)
        if one["type"] in ("missing", "extra_forbidden"):
            path = list(location)
        sentences = rules.setdefault(".".join(map(str, path)), [])
        if (rule := sentence(one, holder, unknown=unknown)) not in sentences:
            sentences.append(rule)
    return [FieldError(path, _joined(said)) for path, said in rules.items()]


def sentence(one: Mapping[str, Any], annotation: Any = None, *, unknown: str = "is not known") -> str:
    """Return the broken rule. `annotation` is the type of the value, or of its container if the name is unknown."""
    kind, context = one["type"], one.get("ctx") or {}
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", one["msg"]))
    if kind == "string_pattern_mismatch":
        return patterns.rule_of(context["pattern"])
    if kind in _OBJECTS:
        return f"must be an object{_like(annotation)}"
    if kind in _LISTS:
        return f"must be a list{_list_like(annotation)}"
    if kind == "extra_forbidden":
        return unknown + suggestions.did_you_mean(str(one["loc"][-1]), model_paths.fields_of(annotation))
    if kind in ("string_too_short", "too_short") and context.get("min_length") == 1:
        return "must not be empty"
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(**{name: _shown(value) for name, value in context.items()})
    return str(one["msg"]).replace("Input should", "must")


def _joined(rules: Sequence[str]) -> str:
    """Combine the rules of a union's branches for one value, sharing their common beginning."""
    if len(rules) > 1 and all(rule.startswith("must be ") for rule in rules):
        return "must be " + " or ".join(rule.removeprefix("must be ") for rule in rules)
    return " or ".join(rules)


def _shown(value: Any) -> str:
    # 1000000.0 is a bound declared as an integer.
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def _like(annotation: Any) -> str:
    """Return an example of an object of this type, or the names of its fields."""
    for model in model_paths.models_of(annotation):
        extra = model.model_config.get("json_schema_extra")
        examples = extra.get("examples") if isinstance(extra, dict) else None
        if isinstance(examples, list) and examples:
            return f" like {json.dumps(examples[0])}"
    names = list(model_paths.fields_of(annotation))
    if not names:
        return ""
    return f" with the fields {', '.join(names[:_NAMED])}" + (" …" if len(names) > _NAMED else "")


def _list_like(annotation: Any) -> str:
    _, inner = model_paths.follow(annotation, [0])
    return f" of objects{_like(inner)}" if model_paths.models_of(inner) else ""
