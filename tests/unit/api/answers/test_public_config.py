"""Configuration that clients see."""

from __future__ import annotations

from services.api.answers import public_config
from shared.settings import DynamicField, Settings


def test_the_dynamic_fields_are_offered_to_clients() -> None:
    settings = Settings(dynamic_fields=[DynamicField(name="maxlifespan"), DynamicField(name="x", admin_only=True)])
    offered = public_config.public(settings, frozenset(), version="1")
    assert offered["dynamic_fields"] == [
        {"name": "maxlifespan", "admin_only": False},
        {"name": "x", "admin_only": True},
    ]
