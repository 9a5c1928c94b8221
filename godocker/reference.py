"""Descriptions of all settings, generated from their classes for `godocker settings` and docs/settings.md."""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import sys
import tokenize
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from shared import settings as settings_module
from shared.config import live
from shared.settings import Settings
from shared.units import durations, sizes
from shared.wording import model_paths

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

_HEAD = """# Settings

Generated from `shared/settings.py` by `python -m godocker.reference`; do not edit it here. `godocker settings NAME`
prints one entry.

Sources, each overriding the ones before: defaults, the YAML file named by `--config` or `GODOCKER_CONFIG`, files called
`godocker_NAME` in the directory named by `GODOCKER_SECRETS_DIR`, environment variables called `GODOCKER_NAME` (upper
case; lists and objects as JSON). Check a file before you use it with `godocker config check FILE`.

A duration is a number of seconds or a text like `90s`, `12h`, `7d`; a size is a number of bytes or a text like `500M`,
`10G`. Settings marked *reload* can change while the system runs, see [operations.md](operations.md#changing-settings);
the others need a restart.
"""
_WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret text",
}
_PARSERS = {durations.parse: "duration", sizes.parse: "size"}
_SECTION = re.compile(r"^# --- (.+)$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting, or one field of an object in the settings."""

    name: str
    kind: str  #: type of the value, in words
    default: str
    description: str
    section: str = ""
    reloads: bool = False


def entries() -> list[Entry]:
    """Return all settings, in the order of the class."""
    return list(_of(Settings))


def parts() -> dict[str, list[Entry]]:
    """Return the fields of each object in the settings, by class name."""
    objects: dict[str, list[Entry]] = {}
    for field in Settings.model_fields.values():
        for model in _models(field.annotation):
            objects.setdefault(model.__name__, list(_of(model)))
    return objects


def page() -> str:
    """Return the content of docs/settings.md."""
    blocks, objects = [_HEAD], parts()
    section = None
    for entry in entries():
        if entry.section != section:
            section = entry.section
            blocks.append(f"\n## {section[0].upper()}{section[1:]}\n\n{_COLUMNS}")
        blocks.append(_row(entry, objects))
    for name, fields in objects.items():
        model = getattr(settings_module, name)
        text = " ".join((inspect.getdoc(model) or "").split("\n"))
        blocks.append(f"\n## {name}\n\n{text}\n\n{_COLUMNS}")
        blocks += [_row(field, objects) for field in fields]
    return "".join(blocks)


_COLUMNS = "| name | value | default | description |\n|---|---|---|---|\n"


def _row(entry: Entry, objects: Iterable[str]) -> str:
    kind = re.sub(rf"\b({'|'.join(objects)})\b", lambda match: f"[{match[1]}](#{match[1].lower()})", entry.kind)
    mark = " *reload*" if entry.reloads else ""
    cells = (
        f"`{entry.name}`{mark}",
        kind,
        f"`{entry.default}`" if entry.default else "required",
        entry.description,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _of(model: type[BaseModel]) -> Iterator[Entry]:
    comments = _comments(model)
    for name, field in model.model_fields.items():
        section, description = comments.get(name, ("", ""))
        yield Entry(
            name=name,
            kind=_kind(field),
            default=_default(field),
            description=description,
            section=section,
            reloads=model is Settings and name in live.LIVE,
        )


def _comments(model: type[BaseModel]) -> Mapping[str, tuple[str, str]]:
    """Return section and description of each field: the `# ---` line before it, and its `#:` comment."""
    source = inspect.getsource(model)
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    sections = {line: match[1] for line, text in comments.items() if (match := _SECTION.match(text))}
    described = {line: text.removeprefix("#:").strip() for line, text in comments.items() if text.startswith("#:")}
    texts = source.splitlines()
    alone = {line for line in described if texts[line - 1].lstrip().startswith("#:")}
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.end_lineno or node.lineno
            above = _lines_before(node.lineno, alone)
            words = [described[line] for line in (*above, *range(node.lineno, last + 1)) if line in described]
            section = sections[max((line for line in sections if line < node.lineno), default=0)] if sections else ""
            found[node.target.id] = (section, _sentence(" ".join(words)))
    return found


def _lines_before(line: int, alone: Set[int]) -> Sequence[int]:
    """Return the lines of the comment block above `line`. `alone` are the lines that contain only a comment."""
    first = line
    while first - 1 in alone:
        first -= 1
    return range(first, line)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith((".", ")")) else ".")


def _kind(field: FieldInfo) -> str:
    parsers = [one.func for one in field.metadata if isinstance(one, BeforeValidator)]
    word = next((_PARSERS[parser] for parser in parsers if parser in _PARSERS), None)
    return (word or _words(field.annotation)) + _bounds(field)


def _words(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is Annotated:
        word = next(
            (_PARSERS[one.func] for one in inner[1:] if isinstance(one, BeforeValidator) and one.func in _PARSERS), None
        )
        return word or _words(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_words(one) for one in inner if one is not type(None))
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in inner)
    if origin is list:
        return f"list of {_words(inner[0])}"
    if origin is dict:
        return "object of texts"
    return str(annotation.__name__)


def _bounds(field: FieldInfo) -> str:
    words = []
    for one in field.metadata:
        if isinstance(one, annotated_types.Ge):
            words.append(f"at least {one.ge}")
        elif isinstance(one, annotated_types.Gt):
            words.append(f"more than {one.gt}")
        elif isinstance(one, annotated_types.Le):
            words.append(f"at most {one.le}")
    return f", {' and '.join(words)}" if words else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        return "none"
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return "none" if value is None else value if isinstance(value, str) and value else json.dumps(value, default=str)


def _models(annotation: Any) -> list[type[BaseModel]]:
    found = model_paths.models_of(annotation)
    return [*found, *(model for inner in get_args(annotation) for model in _models(inner) if model not in found)]


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}", file=sys.stderr)
