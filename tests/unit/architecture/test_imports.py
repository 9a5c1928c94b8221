"""The arrows between modules: services stand alone, drivers have one home, and nothing runs in a circle."""

from __future__ import annotations

import functools
from collections import defaultdict
from pathlib import Path

import pytest

from tests.unit.architecture import circles, sources
from tests.unit.architecture.sources import Module

#: The parts of the product that each may import besides itself.
FLOORS = {
    "shared": set[str](),
    "godocker_client": set[str](),
    "services": {"shared"},
    "godocker": {"godocker_client", "services", "shared"},
    "benchmarks": {"godocker", "godocker_client", "services", "shared", "tests"},
}
#: The one package that may import a driver. Benchmarks measure drivers, too.
HOMES = {
    "aiodocker": "shared.executors.docker",
    "bson": "shared.store",
    "fastapi": "services",
    "ldap3": "shared.auth.providers",
    "motor": "shared.store",
    "pymongo": "shared.store",
    "redis": "shared.broker",
    "typer": "godocker",
}
#: Holds what the parts of the gateway share, and so imports some of what imports it.
CONTEXT = "services.api.context"


@functools.cache
def graph() -> dict[str, set[str]]:
    """Return the modules that each module of the product imports."""
    modules = sources.modules()
    names = frozenset(module.name for module in modules)
    return {module.name: sources.own_imports(module, names) for module in modules}


def part(module: str) -> str:
    """Return the package or loose module of a service, of shared/ or of godocker/ that a module belongs to."""
    names = module.split(".")
    return ".".join(names[: 3 if names[0] == "services" else 2])


@pytest.mark.parametrize("top", FLOORS)
def test_a_part_of_the_product_imports_only_the_parts_below_it(top: str) -> None:
    others = {*FLOORS, "tests"} - {top} - FLOORS[top]
    found = [(module.name, name) for module in sources.modules(top) for name in sources.imports(module)]
    assert found
    assert [pair for pair in found if pair[1].split(".")[0] in others] == []


def test_a_service_imports_no_other_service() -> None:
    def service(name: str) -> str:
        return ".".join(name.split(".")[:2])

    pairs = [
        (module, other) for module, others in graph().items() for other in others if module.startswith("services.")
    ]
    across = [
        (module, other)
        for module, other in pairs
        if other.startswith("services.") and service(module) != service(other)
    ]
    assert len(pairs) > 100
    assert across == []


@pytest.mark.parametrize("driver", HOMES)
def test_a_driver_is_imported_by_its_one_package(driver: str) -> None:
    users = {
        module.name
        for module in sources.modules("godocker", "services", "shared")
        if any(name.split(".")[0] == driver for name in sources.imports(module))
    }
    away = {name for name in users if name != HOMES[driver] and not name.startswith(f"{HOMES[driver]}.")}
    assert users
    assert away == set()


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles.first(graph()) == []


@pytest.mark.parametrize("top", ["services.files", "services.scheduler", "services.watcher", "services.api", "shared"])
def test_no_package_imports_itself_by_way_of_others(top: str) -> None:
    packages = defaultdict[str, set[str]](set)
    for module, others in graph().items():
        if module.startswith(f"{top}.") and module != CONTEXT:
            packages[part(module)] |= {part(other) for other in others} - {part(module)}
    assert packages
    assert circles.first(packages) == []


def test_a_circle_is_found_and_one_for_type_checkers_alone_is_none(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("import two\n")
    (tmp_path / "two.py").write_text("from one import anything\n")
    (tmp_path / "three.py").write_text("if TYPE_CHECKING:\n    import four\nelse:\n    import five\n")
    (tmp_path / "four.py").write_text("def late():\n    from three import anything\n")
    modules: list[Module] = [sources.module(file, tmp_path) for file in sorted(tmp_path.glob("*.py"))]
    names = frozenset(module.name for module in modules)
    found = {module.name: sources.own_imports(module, names) for module in modules}
    assert found == {"one": {"two"}, "two": {"one"}, "three": set(), "four": {"three"}}
    assert circles.first(found) in (["one", "two", "one"], ["two", "one", "two"])
