"""Say why a task is where it is."""

from __future__ import annotations

from services.api.access.callers import Here, Visible
from services.api.answers import explanations
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.wire.answers import Json
from services.api.wire.explanation import Explanation

router = routers.make("tasks")


@router.get(
    "/task/{task_id}/explain",
    response_model=Explanation,
    responses=AUTHENTICATED | responses(404),
    summary="Explain why a task waits, node by node",
)
async def explain_task(task: Visible, here: Here) -> Json:
    """
    Asked of the scheduler that leads, at this moment: all reasons, never just the first, what would make each go away, one
    verdict per node, the task's place in the queue and its score. `verdict` tells apart what can never run here, what
    waits, and what is being started. Of a task that is over: how it ended, its exit code and the last lines of `god.err`.
    """
    return Json(await explanations.of_task(here, task))
