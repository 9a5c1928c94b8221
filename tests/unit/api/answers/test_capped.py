"""Limits that an engine lowers are reported in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from services.api.answers import capped
from shared.models.node import Node
from tests.support import samples

GB = 1024**3


@pytest.mark.parametrize(
    ("has", "said"),
    [
        ({}, None),
        ({"engine_cpus": 4, "engine_memory": 8 * GB}, None),
        ({"engine_cpus": 2, "engine_memory": 8 * GB}, "limited to the 2 cores that the engine of n1 has"),
        ({"engine_cpus": 1}, "limited to the 1 core that the engine of n1 has"),
        ({"engine_cpus": 4, "engine_memory": 6 * GB}, "limited to the 6.0 GB of memory that the engine of n1 has"),
        (
            {"engine_cpus": 2, "engine_memory": 6 * GB},
            "limited to the 2 cores and the 6.0 GB of memory that the engine of n1 has",
        ),
    ],
)
def test_only_lowered_limits_are_reported(has: dict[str, Any], said: str | None) -> None:
    node = Node(id="n1", executor="docker", ready=True, cpus=64, memory=64 * GB, checked_at=0, **has)
    assert capped.sentence(samples.task(cpu=4, ram=8), node) == said
