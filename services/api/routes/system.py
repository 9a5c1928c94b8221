"""Show the system: configuration, images, usage of the nodes, ping, health."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from starlette.responses import RedirectResponse

from services.api.access.callers import Here, MaybeCaller
from services.api.answers import public_config
from services.api.context import Context
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED
from services.api.wire.answers import Json, Message, NodeUsage
from shared import errors
from shared.http import serving
from shared.models.user import User
from shared.units.sizes import GB

router = routers.make("system")
health_router = routers.make("system", prefix="")


@health_router.get("/", include_in_schema=False)
@health_router.get("/redoc", include_in_schema=False)
async def welcome() -> RedirectResponse:
    """The documentation, for whoever comes with a browser. Its path is relative: the gateway may be below another one."""
    return RedirectResponse("docs")


@router.get("/ping", response_model=Message, summary="Check that the gateway answers")
async def ping() -> Json:
    return Json({"msg": "pong"})


@router.get("/config", response_model=dict[str, Any], summary="Get what tasks may ask for here")
async def get_config(here: Here) -> Json:
    return Json(public_config.offered(here.settings, here.features, version=serving.VERSION))


@router.get("/image", response_model=dict[str, int], responses=AUTHENTICATED, summary="Count tasks by image")
async def list_images(here: Here, caller: MaybeCaller) -> Json:
    """A session is needed only where the configuration says so (`images_public: false`)."""
    _check_images_open(here, caller)
    return Json(await here.stores.views.images())


@router.get(
    "/image/{image:path}",
    response_model=dict[str, int],
    responses=AUTHENTICATED,
    summary="Count the tasks of one image",
)
async def get_image(
    image: Annotated[str, Path(description="Name of the image")], here: Here, caller: MaybeCaller
) -> Json:
    _check_images_open(here, caller)
    return Json({image: await here.stores.views.image(image)})


def _check_images_open(here: Context, caller: User | None) -> None:
    if caller is None and not here.settings.images_public:
        raise errors.NotAuthenticated("a token is needed: Authorization: Bearer <token>")


@router.get("/usage", response_model=list[NodeUsage], summary="List what is used and what there is, node by node")
async def list_node_usage(here: Here) -> Json:
    used = {node: (cpu, ram) for node, cpu, ram in await here.stores.views.used()}
    rows = []
    for node in await here.stores.nodes.list():
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


@health_router.get(
    "/health",
    response_model=dict[str, Any],
    responses={503: {"model": dict[str, Any], "description": "Something it depends on does not answer"}},
    summary="Check the parts that the gateway depends on",
)
async def get_health(here: Here) -> Json:
    checks = {"mongo": here.stores.ping, "redis": here.broker.ping, "files": here.files.ping}
    status, body = await serving.health("api", checks)
    return Json(body, status_code=status)
