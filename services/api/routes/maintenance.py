"""Begin and end the maintenance of the system or of a node."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import structlog
from fastapi import Path

from services.api.access.guards import permitted
from services.api.context import ContextDep
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.wire.answers import MaintenanceOut
from shared import clock, errors
from shared.auth.permissions import Action
from shared.models.node import ALL
from shared.models.user import User

log = structlog.get_logger(__name__)

router = routers.make("system", prefix="")

_ADMIN = permitted(Action.ADMINISTER_SYSTEM)


@router.get(
    "/admin/maintenance",
    response_model=list[MaintenanceOut],
    responses=AUTHENTICATED | responses(403),
    dependencies=[_ADMIN],
    summary="List the maintenance of the system and of each node",
)
async def list_maintenance(context: ContextDep) -> Json:
    return Json(await _maintenance(context))


@router.post(
    "/admin/maintenance/{node}/{status}",
    response_model=list[MaintenanceOut],
    responses=AUTHENTICATED | responses(403, 404),
    summary="Begin or end the maintenance of a node or of the system",
)
async def set_maintenance(
    node: Annotated[str, Path(max_length=64, description="Name of the node; `all` for the whole system")],
    status: Annotated[Literal["on", "off"], Path(description="Begin (`on`) or end (`off`) the maintenance")],
    context: ContextDep,
    admin: Annotated[User, _ADMIN],
) -> Json:
    """
    A node in maintenance gets no new tasks. A system in maintenance refuses new tasks, and pending ones wait. Running
    tasks continue.
    """
    # Maintenance can always be ended, even for a node that is no longer configured.
    if node not in {row["node"] for row in await _maintenance(context)}:
        raise errors.NotFound(f"no node {node}")
    await context.stores.maintenance.put(node, on=status == "on", by=admin.id, at=clock.now())
    log.info("maintenance.changed", node=node, status=status, by=admin.id)
    try:
        await context.broker.tell_scheduler_maintenance()
    except errors.BrokerUnavailable as error:
        log.warning("maintenance.hint_lost", error=str(error))  # the scheduler's next audit reads it
    return Json(await _maintenance(context))


async def _maintenance(context: ContextDep) -> list[dict[str, Any]]:
    on = await context.stores.maintenance.names()
    nodes = {node.id for node in await context.stores.nodes.list()} | on
    names = [ALL, *sorted(nodes - {ALL})]
    return [{"node": name, "status": "on" if name in on else "off"} for name in names]
