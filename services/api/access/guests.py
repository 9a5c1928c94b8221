"""As whom a guest's tasks run: pure."""

from __future__ import annotations

from shared import errors
from shared.models.user import User
from shared.settings import Settings


def runs_as(owner: User, bind: User | None, settings: Settings) -> User:
    """
    The owner of a task with the numbers and the home that it runs with: a guest's are those of `bind`, the user that
    `guest_bind` names, without further groups, and a home below `guest_home_root`.

    Raises `errors.NotAllowed` for a guest where no guests are allowed, or nobody is there to run as.
    """
    if not owner.guest:
        return owner
    if not settings.guest_allow:
        raise errors.NotAllowed("guests may not send tasks here")
    if bind is None:
        raise errors.NotAllowed("guests may not send tasks here: the user they would run as is not there")
    home = str(settings.guest_home_root / owner.id) if settings.guest_home_root else None
    return owner.model_copy(update={"uid": bind.uid, "gid": bind.gid, "sgids": [], "home": home})
