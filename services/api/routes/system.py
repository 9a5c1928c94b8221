"""Show the system: configuration, images, nodes, health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Path
from starlette.responses import RedirectResponse

from services.api.access.callers import TOKEN_NEEDED, MaybeCaller
from services.api.access.guards import permitted
from services.api.answers import public_config
from services.api.context import Context, ContextDep
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.wire.answers import ListedNode, Message, NodeUsage
from shared import errors
from shared.auth.permissions import Action
from shared.http import serving
from shared.models.user import User
from shared.system import inventory
from shared.units.sizes import GB

router = routers.make("system")
root_router = routers.make("system", prefix="")


@root_router.get("/", include_in_schema=False)
@root_router.get("/redoc", include_in_schema=False)
async def welcome() -> RedirectResponse:
    """Redirect browsers to the documentation, by a relative path: the gateway may be mounted below another path."""
    return RedirectResponse("docs")


@router.get("/ping", response_model=Message, summary="Check that the gateway answers")
async def ping() -> Json:
    return Json({"msg": "pong"})


@router.get("/config", response_model=dict[str, Any], summary="Get the configuration for clients")
async def get_config(context: ContextDep) -> Json:
    return Json(public_config.public(context.settings, context.features, version=serving.VERSION))


@router.get("/image", response_model=dict[str, int], responses=AUTHENTICATED, summary="Count tasks by image")
async def list_images(context: ContextDep, caller: MaybeCaller) -> Json:
    """Needs a token only if the setting `images_public` is false."""
    _check_images_public(context, caller)
    return Json(await context.stores.views.images())


@router.get(
    "/image/{image:path}",
    response_model=dict[str, int],
    responses=AUTHENTICATED,
    summary="Count the tasks of one image",
)
async def get_image(
    image: Annotated[str, Path(description="Name of the image")], context: ContextDep, caller: MaybeCaller
) -> Json:
    _check_images_public(context, caller)
    return Json({image: await context.stores.views.image(image)})


def _check_images_public(context: Context, caller: User | None) -> None:
    if caller is None and not context.settings.images_public:
        raise errors.NotAuthenticated(TOKEN_NEEDED)


@router.get("/usage", response_model=list[NodeUsage], summary="List used and total resources of each node")
async def list_node_usage(context: ContextDep) -> Json:
    used = {node: (cpu, ram) for node, cpu, ram in await context.stores.views.used()}
    rows = []
    for node in await context.stores.nodes.list():
        cpu, ram = used.get(node.id, (0.0, 0.0))
        rows.append(
            {
                "name": node.id,
                "cpu": [cpu, node.cpus],
                "mem": [round(ram * GB), node.memory],
                "disk": [node.disk_used, node.disk_total],
            }
        )
    return Json(rows)


@root_router.get(
    "/admin/node",
    response_model=list[ListedNode],
    responses=AUTHENTICATED | responses(403),
    dependencies=[permitted(Action.ADMINISTER_SYSTEM)],
    summary="List nodes with their state and resources",
)
async def list_nodes(context: ContextDep) -> Json:
    return Json([asdict(row) for row in await inventory.take(context.settings, context.stores, context.features)])


@root_router.get(
    "/health",
    response_model=dict[str, Any],
    responses={503: {"model": dict[str, Any], "description": "A part that the gateway depends on does not answer"}},
    summary="Check the parts that the gateway depends on",
)
async def get_health(context: ContextDep) -> Json:
    checks = {"mongo": context.stores.ping, "redis": context.broker.ping, "files": context.files.ping}
    status, body = await serving.health("api", checks)
    return Json(body, status_code=status)
