"""The nodes as an operator sees them."""

from __future__ import annotations

from dataclasses import asdict

from services.api.access.callers import Here, permitted
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.wire.answers import Json, ListedNode
from shared.auth.permissions import Action
from shared.system import inventory

router = routers.make("system", prefix="")


@router.get(
    "/admin/node",
    response_model=list[ListedNode],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.ADMINISTER_SYSTEM)],
    summary="List nodes with their state, size and use",
)
async def list_nodes(here: Here) -> Json:
    return Json([asdict(row) for row in await inventory.take(here.settings, here.stores, here.features)])
