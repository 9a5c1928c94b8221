"""The table of permissions covers every action, and closer roles are never allowed less."""

from __future__ import annotations

import pytest

from shared.auth import permissions
from shared.auth.permissions import ALLOWED, Action, Role


def test_every_action_has_its_row() -> None:
    assert {*ALLOWED} == {*Action}


@pytest.mark.parametrize("action", Action)
def test_an_admin_may_do_everything_and_an_owner_what_a_member_may(action: Action) -> None:
    assert permissions.allows(Role.ADMIN, action)
    assert permissions.allows(Role.OWNER, action) >= permissions.allows(Role.MEMBER, action)
    assert permissions.allows(Role.MEMBER, action) >= permissions.allows(Role.OTHER, action)
    assert permissions.allows(Role.OTHER, action) >= permissions.allows(Role.ANONYMOUS, action)
