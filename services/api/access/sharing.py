"""Give the owner of a task the token that shares it: the one that is good already, or a new one."""

from __future__ import annotations

from typing import Any

from services.api import array_actions
from services.api.context import Context
from services.api.http.routers import API
from shared import clock
from shared.auth import share_tokens
from shared.auth.share_tokens import ShareToken
from shared.models.task import Task

_TRIES = 3  #: when others share, or stop sharing, at the same moment


async def token_of(here: Context, task: Task, *, anew: bool = False) -> ShareToken:
    """
    The task's token; with `anew` another one, which ends the one before. Raises `errors.TaskNotFound`, and `errors.Conflict` for
    a child of an array that is not made yet.
    """
    key = here.settings.secret_passphrase.get_secret_value()
    seen: Task | None = task
    for _ in range(_TRIES):
        if seen is None:
            break
        now = clock.now()
        if not anew and (alive := share_tokens.living(seen.share, key=key, now=now)) is not None:
            return alive
        made = share_tokens.generate(key=key, now=now, seconds=here.settings.share_timeout)
        # Compared: of two that ask for the first token at once, neither must be given a dead one.
        if await here.stores.tasks.replace_share(task.id, made.stored, old=seen.share):
            return made
        seen = await here.stores.views.get(task.id)
    raise array_actions.not_stored(task)


def shown(task: Task, token: ShareToken) -> dict[str, Any]:
    """The token as the Web API answers it. The name that reaches this server from outside is not known: paths, not addresses."""
    return {
        "token": token.secret,
        "url": f"{API}/task/{task.id}?share={token.secret}",
        "files_url": f"{API}/task/{task.id}/share/{token.secret}/files/",
        "expires": token.stored.until,
    }
