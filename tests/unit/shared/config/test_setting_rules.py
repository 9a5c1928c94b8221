"""Rules on single settings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shared.settings import DynamicField, Settings


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "http://127.0.0.1:6546"),
        ({"internal_host": "0.0.0.0", "files_port": 1}, "http://127.0.0.1:1"),
        ({"internal_host": "::1"}, "http://[::1]:6546"),
        ({"files_url": "https://files.lab"}, "https://files.lab"),
    ],
)
def test_the_url_of_the_files_service(fields: dict[str, Any], url: str) -> None:
    assert Settings(**fields).files_base_url == url


@pytest.mark.parametrize(
    "wrong",
    [{"guest_allow": True}, {"guest_home_root": "relative"}, {"dynamic_fields": [{"name": "$x"}]}],
    ids=str,
)
def test_implausible_settings_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_a_dynamic_field_is_named_once() -> None:
    with pytest.raises(ValidationError, match="unique"):
        Settings(dynamic_fields=[DynamicField(name="x"), DynamicField(name="x", admin_only=True)])
