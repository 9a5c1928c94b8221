"""Checks of the configuration of `godocker up` before it starts anything."""

from __future__ import annotations

import asyncio
import os
import sys

from godocker import configuration
from godocker.docker import engine_probe
from godocker.local import environment, gateway_workers
from shared import errors
from shared.broker import broker
from shared.settings import Settings
from shared.store import stores


def check(given: Settings, executor: environment.Executor) -> None:
    """Raise `errors.ConfigurationError` if services would not start. `given` are the settings before `up` adds its own."""
    if problems := configuration.policy_problems(given):
        raise errors.ConfigurationError("; ".join(problems))
    if executor.name == "docker":
        _check_engines(given)
    _check_ports(given)
    asyncio.run(_check_stores(given))


def _check_engines(given: Settings) -> None:
    """Require an answer of the default engine; only warn of configured engines, which may be down for now."""
    if "nodes" not in given.model_fields_set:
        node = engine_probe.configured(os.environ)
        try:
            engine_probe.ask(node, "/version")
        except errors.NodeUnavailable as error:
            raise errors.ConfigurationError(
                f"no Docker Engine answers at {node.url}: {error.reason}. Start it, or run tasks as processes: --executor process"
            ) from None
        return
    for node in given.nodes:
        try:
            engine_probe.ask(node, "/version")
        except errors.NodeUnavailable as error:
            print(f"godocker: warning: {error}", file=sys.stderr, flush=True)


def _check_ports(given: Settings) -> None:
    """Require that configured ports are free; `up` chooses the others."""
    for name in environment.SERVICES:
        field = f"{name}_port"
        if field in given.model_fields_set and (port := getattr(given, field)):
            try:
                gateway_workers.listen(given.internal_host, port).close()
            except errors.ConfigurationError as error:
                raise errors.ConfigurationError(f"{field}: {error}") from None


async def _check_stores(given: Settings) -> None:
    """Require an answer of configured stores; `up` starts the others."""
    if "mongo_url" in given.model_fields_set:
        try:
            async with stores.connect(given) as store:
                await store.ping()
        except errors.StoreUnavailable as error:
            raise errors.ConfigurationError(f"{error}. It is configured as mongo_url") from None
    if {"redis_host", "redis_socket"} & given.model_fields_set:
        try:
            async with broker.connect(given) as hints:
                await hints.ping()
        except errors.BrokerUnavailable as error:
            cause = str(error.__cause__).rstrip(".")
            raise errors.ConfigurationError(f"Redis does not answer: {cause}. It is configured as redis_host") from None
