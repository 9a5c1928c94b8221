"""Changes of a user that a sender may make."""

from __future__ import annotations

from services.api.wire import user as user_wire


def test_only_a_change_by_an_admin_has_rights_and_quotas() -> None:
    sent = user_wire.UserChange.model_validate(
        {"email": "", "admin": True, "active": False, "usage": {"prio": 1, "disk": None, "quota_cpu": None}}
    )
    assert user_wire.changes(sent, by_admin=False) == {"email": None}
    assert user_wire.changes(sent, by_admin=True) == {
        "email": None,
        "admin": True,
        "active": False,
        "usage.prio": 1,
        "usage.disk": None,
    }


def test_a_field_that_is_not_sent_is_not_changed() -> None:
    assert user_wire.changes(user_wire.UserChange(), by_admin=True) == {}
