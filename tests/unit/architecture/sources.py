"""The modules of the repository as syntax trees, and the imports among them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
PRODUCT = ("benchmarks", "godocker", "godocker_client", "services", "shared")


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    name: str  #: dotted; a package stands for its `__init__`
    tree: ast.Module
    is_package: bool = False

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def first_paragraph(self) -> str:
        """Of the docstring, on one line."""
        return " ".join((ast.get_docstring(self.tree) or "").split("\n\n")[0].split())


@functools.cache
def modules(*tops: str) -> tuple[Module, ...]:
    """Return the modules below these folders, by default those of the product."""
    return tuple(
        module(file, ROOT) for top in tops or PRODUCT for file in sorted((ROOT / top).rglob("*.py")) if file.is_file()
    )


def module(file: Path, root: Path) -> Module:
    """Parse one file below `root`."""
    parts = file.relative_to(root).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return Module(".".join(parts[:-1] if is_package else parts), ast.parse(file.read_bytes()), is_package)


@functools.cache
def imports(of: Module) -> tuple[str, ...]:
    """
    Return the dotted names that a module imports when it runs, those in functions too: `from a.b import c` is `a.b.c`.

    Imports below `if TYPE_CHECKING` are left out.
    """
    found: list[str] = []
    for node in statements(of.tree, running=True):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(of, node)
            found += [f"{base}.{alias.name}" for alias in node.names]
    return tuple(found)


def own_imports(of: Module, names: frozenset[str]) -> set[str]:
    """Return the modules among `names` that a module imports."""
    found = set()
    for name in imports(of):
        target = name if name in names else name.rpartition(".")[0]
        if target in names:
            found.add(target)
    return found - {of.name}


def _base(of: Module, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parts = of.package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def statements(node: ast.AST, *, running: bool = False) -> Iterator[ast.AST]:
    """Yield all statements below a node; if `running`, without those below `if TYPE_CHECKING`."""
    is_skipped = running and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for field in _BLOCKS if not is_skipped else ("orelse",):
        for child in getattr(node, field, ()):
            yield child
            yield from statements(child, running=running)
