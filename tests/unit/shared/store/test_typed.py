"""Values read from a document have the declared types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from bson import Int64

from shared.store import typed


@dataclass
class Held:
    memory: int
    cpus: float
    name: str | None = None


@pytest.mark.parametrize("memory", [1, Int64(8 * 1024**3)])
@pytest.mark.parametrize("cpus", [0.5, 2, Int64(2)])
def test_whole_numbers_are_whole_however_large(memory: Any, cpus: Any) -> None:
    assert typed.checked(Held(memory, cpus)).memory == memory


@pytest.mark.parametrize(
    ("memory", "cpus", "name"),
    [(True, 1.0, None), (1.5, 1.0, None), ("1", 1.0, None), (1, float("nan"), None), (1, False, None), (1, 1.0, 7)],
)
def test_a_value_of_another_type_is_named(memory: Any, cpus: Any, name: Any) -> None:
    with pytest.raises(TypeError, match="is of another type"):
        typed.checked(Held(memory, cpus, name))
