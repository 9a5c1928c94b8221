"""Users that tasks run as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.api.admission import owners
from shared import errors
from shared.settings import Settings
from tests.support import samples

BIND = samples.user("visitor", uid=31000, gid=31001, sgids=[1])


OPEN = Settings.model_construct(guest_allow=True, guest_bind="visitor", guest_home_root=Path("/srv/guests"))


def test_a_guest_runs_with_the_numbers_of_the_bound_user_and_their_own_home() -> None:
    guest = samples.user("gast", guest=True, sgids=[5], home="/root", email="g@example.org")
    runs = owners.runs_as(guest, BIND, OPEN)
    assert runs == guest.model_copy(update={"uid": 31000, "gid": 31001, "sgids": [], "home": "/srv/guests/gast"})
    without = OPEN.model_copy(update={"guest_home_root": None})
    assert owners.runs_as(guest, BIND, without).home is None


def test_a_regular_user_runs_as_themselves() -> None:
    user = samples.user()
    assert owners.runs_as(user, None, Settings.model_construct(guest_allow=False)) is user


@pytest.mark.parametrize(("bind", "allowed"), [(None, True), (BIND, False), (None, False)])
def test_a_guest_is_refused_without_a_user_to_run_as_or_the_permission(bind: Any, allowed: bool) -> None:
    settings = OPEN.model_copy(update={"guest_allow": allowed})
    with pytest.raises(errors.NotAllowed):
        owners.runs_as(samples.user("gast", guest=True), bind, settings)
