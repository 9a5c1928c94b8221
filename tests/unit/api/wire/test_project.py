"""Changes of a project that a sender may make."""

from __future__ import annotations

from services.api.wire import project as project_wire
from shared.settings import Settings


def test_a_change_by_the_owner_has_no_admin_fields() -> None:
    sent = project_wire.ProjectChange(description="new", members=["a", "b", "a"], owner="me", prio=99, quota_cpu=1)
    settings = Settings()
    assert project_wire.changes(sent, settings, by_admin=False) == {"description": "new", "members": ["a", "b"]}
    every = project_wire.changes(sent, settings, by_admin=True)
    assert every == {"description": "new", "members": ["a", "b"], "owner": "me", "prio": 99, "quota_cpu": 1.0}


def test_a_field_that_is_not_sent_is_not_changed() -> None:
    assert project_wire.changes(project_wire.ProjectChange(), Settings(), by_admin=True) == {}
