"""Texts of users are stored only if they cannot control a terminal, and are printed as they are."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from rich.console import Console

from godocker.commands.common import checked, tables
from services.api.routes import app_tokens
from services.api.wire import project, recipe, submission, user
from shared import errors
from shared.wording import model_paths, texts

ROOT = Path(__file__).parents[4]
STEERING = {
    "escape": "\x1b[2J",
    "bell": "a\x07",
    "return": "a\rb",
    "C1 control": "\x9b31m",
    "override": "a\u202eb",
    "isolate": "a\u2066b",
    "mark": "a\u200fb",
    "arabic mark": "a\u061cb",
}
HARMLESS = ["Zoë", "نص عربي", "עברית", "日本語", "👩‍🔬", "a [/red] b", "%s {x} $(y)", "tab and space  "]
#: Never shown unchanged: a script is run, and the others are parsed by their own rules.
FREE = {
    *("command.cmd", "container.image"),
    *("requirements.array.values", "requirements.tmpstorage.size", "requirements.maxlifespan"),
}


@pytest.mark.parametrize("text", STEERING.values(), ids=STEERING)
def test_text_that_controls_a_terminal_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="control"):
        texts.one_line(text)
    assert texts.one_line(texts.printable(text, keep="")) != text


@pytest.mark.parametrize("text", HARMLESS)
def test_texts_of_all_languages_are_accepted_and_printed_unchanged(text: str) -> None:
    assert texts.one_line(text) == texts.paragraphs(text) == texts.printable(text) == text


@given(st.text())
def test_printed_text_is_one_line_without_control_characters(text: str) -> None:
    texts.one_line(texts.printable(text, keep=""))


# --- what the Web API takes ---------------------------------------------------------------


def text_fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, annotation in ((name, field.annotation) for name, field in model.model_fields.items()):
        here = f"{path}{name}"
        inner = model_paths.models_of(annotation)
        for one in inner:
            yield from text_fields(one, f"{here}.")
        if not inner and "str" in str(annotation) and "list" not in str(annotation):
            yield here


def refuses(model: type[BaseModel], path: str, text: str) -> bool:
    document: Any = text
    for step in reversed(path.split(".")):
        document = {step: document}
    try:
        TypeAdapter(model).validate_python(document)
    except ValidationError as error:
        return any(".".join(map(str, one["loc"])).startswith(path) for one in error.errors())
    return False


FIELDS = [
    (model, path)
    for model in (
        *(submission.TaskIn, project.ProjectIn, project.ProjectChange, recipe.RecipeIn, recipe.RecipeChange),
        *(user.UserChange, app_tokens.NewToken),
    )
    for path in text_fields(model)
    if path not in FREE
]


@pytest.mark.parametrize(("model", "path"), FIELDS, ids=[f"{model.__name__}.{path}" for model, path in FIELDS])
def test_a_field_of_the_web_api_rejects_text_that_controls_a_terminal(model: type[BaseModel], path: str) -> None:
    assert refuses(model, path, "\x1b[2J")
    assert refuses(model, path, "a\u202eb@c.d")


def test_lists_of_names_reject_it_too() -> None:
    for document in (
        {"meta": {"tags": ["a\u202eb"]}},
        {"requirements": {"label": ["a\x1bb"]}},
        {"requirements": {"uris": ["\x07"]}},
    ):
        with pytest.raises(ValidationError) as caught:
            submission.TaskIn.model_validate(document)
        assert any(one["loc"][0] == next(iter(document)) for one in caught.value.errors())


# --- what commands take ---------------------------------------------------------------------


@pytest.mark.parametrize("text", STEERING.values(), ids=STEERING)
def test_no_command_accepts_it(text: str) -> None:
    for check in (
        lambda: checked.login("login", text),
        lambda: checked.project(text),
        lambda: checked.line("name", text, most=100),
        lambda: checked.email(f"{text}@lab.test"),
        lambda: checked.paragraphs("description", text.replace("\r", "\x00"), most=100),
    ):
        with pytest.raises(errors.InvalidInput) as caught:
            check()
        assert texts.one_line(str(caught.value))


# --- what is printed --------------------------------------------------------------------------


def printed(monkeypatch: pytest.MonkeyPatch, *rows: list[object]) -> str:
    out = io.StringIO()
    monkeypatch.setattr(tables, "Console", lambda **_: Console(file=out, width=200, force_terminal=False))
    tables.show(["one", "two"], rows)
    return out.getvalue()


@pytest.mark.parametrize("text", ["[/red]a@b", "[/x]", "[link=http://x]y[/link]", "[bold]", "\\[", ":smile:", "a[0]"])
def test_markup_in_data_is_data(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert text in printed(monkeypatch, [text, "x"], ["y", text])


@pytest.mark.parametrize("text", STEERING.values(), ids=STEERING)
def test_a_table_shows_control_characters_as_numbers(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = printed(monkeypatch, [text, "x"])
    assert not any(sign in shown for sign in "\x1b\x07\r\x9b\u202e\u2066\u200f\u061c")
    assert "\\u" in shown


def test_a_list_in_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_json([{"name": "".join(STEERING.values())}])
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == [{"name": "".join(STEERING.values())}]


def test_every_table_of_a_command_is_made_by_one_helper() -> None:
    """Tables of `rich` interpret markup in their cells."""
    for file in sorted((ROOT / "godocker").rglob("*.py")):
        names = {
            alias.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich")
            for alias in node.names
        }
        if "Table" in names:
            assert file.name in ("tables.py", "show.py"), f"{file} makes a table of its own"
