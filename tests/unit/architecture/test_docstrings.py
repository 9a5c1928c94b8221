"""First lines of docstrings name a thing or an act; none begins with a question word."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.unit.architecture import sources
from tests.unit.architecture.sources import Module

QUESTIONS = frozenset(["That", "Those", "What", "Whether", "Which", "Who", "Whom", "Whose"])


def questions(of: Module) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and functions that begin with such a word, each by its first line."""
    for node in (of.tree, *sources.statements(of.tree)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            line = (ast.get_docstring(node) or "-").splitlines()[0]
            if line.split()[0].strip(",:;.") in QUESTIONS:
                name = "" if isinstance(node, ast.Module) else f".{node.name}"
                yield f"{of.name}{name}: {line}"


def test_no_docstring_begins_with_a_question_word() -> None:
    assert len(sources.modules()) > 300
    assert [line for module in sources.modules() for line in questions(module)] == []


def test_such_a_line_is_found_wherever_it_stands() -> None:
    text = (
        '"""Nodes."""\nclass A:\n    """Who asks."""\n    async def f(self):\n        """\n        What: it finds."""\n'
    )
    assert [*questions(Module("nodes", ast.parse(text)))] == ["nodes.A: Who asks.", "nodes.f: What: it finds."]
