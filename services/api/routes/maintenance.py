"""Begin and end the maintenance of the system or of a node."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import structlog
from fastapi import Path

from services.api.access.callers import Here, permitted
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.wire.answers import Json, MaintenanceOut
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
    summary="List what is in maintenance: the system first, then each node",
)
async def list_maintenance(here: Here) -> Json:
    return Json(await _listed(here))


@router.post(
    "/admin/maintenance/{node}/{status}",
    response_model=list[MaintenanceOut],
    responses=AUTHENTICATED | responses(403, 404),
    summary="Begin or end the maintenance of a node or of the system",
)
async def set_maintenance(
    node: Annotated[str, Path(max_length=64, description="Name of the node; `all` for the whole system")],
    status: Annotated[Literal["on", "off"], Path(description="Begin (`on`) or end (`off`) the maintenance")],
    here: Here,
    admin: Annotated[User, _ADMIN],
) -> Json:
    """
    In maintenance a node is given nothing new; while the system is, new tasks are refused and pending ones wait. What runs
    goes on.
    """
    # What is in maintenance can always be ended, also for a node that is no longer configured.
    if node not in {row["node"] for row in await _listed(here)}:
        raise errors.NotFound(f"no node {node}")
    await here.stores.maintenance.put(node, on=status == "on", by=admin.id, at=clock.now())
    log.info("maintenance.changed", node=node, status=status, by=admin.id)
    try:
        await here.broker.tell_scheduler_maintenance()
    except errors.BrokerUnavailable as error:
        log.warning("maintenance.not_told", error=str(error))  # the scheduler's next audit reads it
    return Json(await _listed(here))


async def _listed(here: Here) -> list[dict[str, Any]]:
    on = await here.stores.maintenance.names()
    nodes = {node.id for node in await here.stores.nodes.list()} | on
    names = [ALL, *sorted(nodes - {ALL})]
    return [{"node": name, "status": "on" if name in on else "off"} for name in names]
