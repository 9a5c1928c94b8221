"""Changes of a user that a sender may make."""

from __future__ import annotations

from services.api.wire import user as user_wire


def test_only_an_admins_change_of_a_user_holds_rights_and_quotas() -> None:
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


def test_what_is_not_sent_is_not_changed() -> None:
    assert user_wire.changes(user_wire.UserChange(), by_admin=True) == {}
