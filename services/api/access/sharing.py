"""Return the share token of a task, or make one."""

from __future__ import annotations

from typing import Any

from services.api import array_actions
from services.api.context import Context
from services.api.http.routers import API
from shared import clock
from shared.auth import share_tokens
from shared.auth.share_tokens import ShareToken
from shared.models.task import Task

_TRIES = 3  #: if others share or unshare the task at the same moment


async def token_of(context: Context, task: Task, *, new: bool = False) -> ShareToken:
    """
    Return the task's valid token; with `new`, replace it by another one. Raises `errors.TaskNotFound`, and
    `errors.Conflict` for an array's child that does not exist yet.
    """
    key = context.settings.secret_passphrase.get_secret_value()
    seen: Task | None = task
    for _ in range(_TRIES):
        if seen is None:
            break
        now = clock.now()
        if not new and (valid := share_tokens.living(seen.share, key=key, now=now)) is not None:
            return valid
        made = share_tokens.generate(key=key, now=now, seconds=context.settings.share_timeout)
        # Compare and set: of two concurrent requests for the first token, neither may get one that the other replaced.
        if await context.stores.tasks.replace_share(task.id, made.stored, old=seen.share):
            return made
        seen = await context.stores.views.get(task.id)
    raise array_actions.not_stored(task)


def shown(task: Task, token: ShareToken) -> dict[str, Any]:
    """
    Return the token as the Web API shows it. With paths, not addresses: the public name of this server is not known.
    """
    return {
        "token": token.secret,
        "url": f"{API}/task/{task.id}?share={token.secret}",
        "files_url": f"{API}/task/{task.id}/share/{token.secret}/files/",
        "expires": token.stored.until,
    }
