"""Take measurements of other programs for Prometheus."""

from __future__ import annotations

import hmac
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.api.access.callers import Here
from services.api.http import routers
from services.api.http.errors import responses
from services.api.pushed_metrics import Measurement
from services.api.wire.answers import Json, Message
from shared import errors

router = routers.make("system")


class MeasurementIn(BaseModel):
    """One measurement."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[
        str, Field(max_length=64, description="Name of the measurement; names outside a fixed list are ignored")
    ]
    value: Annotated[float, Field(allow_inf_nan=False, description="Value of the measurement")]
    host: Annotated[str, Field(max_length=253, description="Host that was measured")]


class Push(BaseModel):
    """Measurements of another program."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"key": "…", "stat": [{"name": "god_scheduler", "value": 0.2, "host": "head1"}]}]
        },
    )

    key: Annotated[str, Field(max_length=256, description="The configured `prometheus_key`")] = ""
    stat: Annotated[list[MeasurementIn], Field(max_length=1000, description="Measurements")] = []


@router.post(
    "/prometheus",
    response_model=Message,
    responses=responses(401, 404),
    summary="Push measurements to the metrics of the gateway",
)
async def push_metrics(sent: Push, here: Here) -> Json:
    """404 where no `prometheus_key` is configured: then nothing can be pushed."""
    key = here.settings.prometheus_key.get_secret_value() if here.settings.prometheus_key else ""
    if not key:
        raise errors.NotFound("nothing can be pushed here: no prometheus_key is configured")
    if not hmac.compare_digest(sent.key.encode(), key.encode()):
        raise errors.NotAuthenticated("this is not the prometheus_key")
    here.pushed.take([Measurement(one.name, one.value, one.host) for one in sent.stat])
    return Json({"msg": "Metrics recorded"})
