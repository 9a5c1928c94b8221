"""The packages of `shared/` import one another as docs/architecture.md lists them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
_ROW = re.compile(r"^\| `([a-z]+)` \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)


def allowed() -> dict[str, set[str]]:
    """Return the packages that each package may import, in the order of the table."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.split("## Packages of `shared/`")[1].split("\n## ")[0]
    return {name: set(imports.replace("–", "").replace(",", " ").split()) for name, imports in _ROW.findall(table)}


def imported() -> Iterator[tuple[str, str]]:
    """Yield (package, imported module) for each import of our own modules within `shared/`."""
    for file in sorted((ROOT / "shared").rglob("*.py")):
        package = file.relative_to(ROOT / "shared").with_suffix("").parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((package, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                yield from ((package, f"{node.module}.{alias.name}") for alias in node.names)


def test_each_package_imports_what_the_table_lists_and_no_more() -> None:
    used: dict[str, set[str]] = {name: set() for name in allowed()}
    for package, module in imported():
        first, _, rest = module.partition(".")
        if first == "shared" and rest and (other := rest.partition(".")[0]) != package:
            used[package].add(other)
    assert used == allowed()


def test_no_package_imports_one_below_it_in_the_table() -> None:
    seen: set[str] = set()
    for name, imports in allowed().items():
        assert imports <= seen, name
        seen.add(name)


def test_no_package_imports_a_service_or_the_command() -> None:
    above = {"services", "godocker", "tests", "benchmarks"}
    assert not [(package, module) for package, module in imported() if module.partition(".")[0] in above]
