"""Accept measurements from other programs for Prometheus."""

from __future__ import annotations

import hmac
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.api.context import ContextDep
from services.api.http import routers
from services.api.http.errors import responses
from services.api.http.json_responses import Json
from services.api.pushed_metrics import Measurement
from services.api.wire.answers import Message
from shared import errors

router = routers.make("system")


class MeasurementIn(BaseModel):
    """One measurement."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(max_length=64, description="Name of the measurement, from a fixed list")]
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
async def push_metrics(sent: Push, context: ContextDep) -> Json:
    """Answers 404 if no `prometheus_key` is configured."""
    key = context.settings.prometheus_key.get_secret_value() if context.settings.prometheus_key else ""
    if not key:
        raise errors.NotFound("measurements are not accepted: no prometheus_key is configured")
    if not hmac.compare_digest(sent.key.encode(), key.encode()):
        raise errors.NotAuthenticated("wrong prometheus_key")
    context.pushed.take([Measurement(one.name, one.value, one.host) for one in sent.stat])
    return Json({"msg": "Metrics recorded"})
