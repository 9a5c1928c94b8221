"""Checks of MongoDB and Redis."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from godocker.checks import clocks, findings
from shared import errors
from shared.broker import broker
from shared.broker import connection as broker_connection
from shared.rules import known_faults
from shared.settings import Node, Settings
from shared.store import stores

_OLDEST_MONGO = (6, 0)  #: the first with `$in` in partial indexes
_OLDEST_REDIS = (6, 2)


async def mongo(settings: Settings) -> list[findings.Finding]:
    """Check that MongoDB answers and stores data durably."""
    part = "mongodb"
    try:
        async with stores.connect(settings) as store:
            await store.ping()
            server = await store.server()
            faults = await store.faults()
    except errors.GoDockerError as error:
        return [findings.bad(part, str(error))]
    except Exception as error:  # any error of the driver, such as a refused login, belongs in the report
        return [findings.bad(part, f"{type(error).__name__}: {error}"[:300])]
    return [
        check_version(part, server.version, _OLDEST_MONGO),
        *findings.faults(part, faults),
        check_replica_set(server.replica_set, server.members, has_primary=server.has_primary),
        check_journal(server.has_journal),
        clocks.check("MongoDB", server.time, server.asked_at, server.answered_at),
    ]


async def faults(settings: Settings) -> list[known_faults.Found]:
    """Return the known faults of both stores that can be reached; none for a store that does not report its version."""
    results: list[known_faults.Found] = []
    with contextlib.suppress(Exception):  # also the drivers' errors; other checks report them
        async with stores.connect(settings) as store:
            results += await store.faults()
    with contextlib.suppress(Exception):
        async with broker_connection.client(settings) as client:
            results += await broker.Broker(client, settings.redis_prefix).faults()
    return [fault for fault in results if not fault.is_closed]


async def added_hosts(settings: Settings) -> list[Node]:
    """Return the hosts added with `godocker node add`; none if MongoDB does not answer, which another check reports."""
    try:
        async with stores.connect(settings) as store:
            return await store.hosts.list()
    except Exception:  # also the driver's errors, as above
        return []


async def redis(settings: Settings) -> list[findings.Finding]:
    """Check that Redis answers and persists. Missing persistence is only a warning, since Redis holds hints."""
    part = "redis"
    try:
        async with broker_connection.client(settings) as client:
            server = await broker_connection.translated(client.info)("server")
            try:
                options = await broker_connection.translated(client.config_get)("*")
            except errors.BrokerUnavailable:
                options = {}  # hosted servers often refuse CONFIG
            faults = await broker.Broker(client, settings.redis_prefix).faults()
    except errors.GoDockerError as error:
        return [findings.bad(part, f"{error}: {error.__cause__}")]
    answers = check_version(part, str(server["redis_version"]), _OLDEST_REDIS)
    return [answers, *findings.faults(part, faults), *check_redis(options)]


def check_version(part: str, version: str, oldest: tuple[int, ...]) -> findings.Finding:
    if findings.version(version) < oldest:
        return findings.bad(part, f"version {version} is older than {'.'.join(map(str, oldest))}")
    return findings.well(part, f"answers, version {version}")


def check_replica_set(name: str | None, members: int, *, has_primary: bool) -> findings.Finding:
    if not name:
        return findings.bad(
            "mongodb", "is not a replica set, which majority writes and retries need; one member is enough"
        )
    if not has_primary:
        return findings.bad("mongodb", f"replica set {name} has no primary")
    return findings.well("mongodb", f"replica set {name} with {members} member{'s' if members != 1 else ''}")


def check_journal(is_on: bool | None) -> findings.Finding:
    if is_on is None:
        return findings.warning("mongodb", "this login may not query whether journaling is on")
    if not is_on:
        return findings.bad("mongodb", "journaling is off: accepted tasks can be lost")
    return findings.well("mongodb", "journaling is on")


def check_redis(options: Mapping[Any, Any]) -> list[findings.Finding]:
    if not options:
        return [findings.warning("redis", "this login may not query the server's settings")]
    results = []
    if options.get("appendonly") == "yes":
        results.append(findings.well("redis", f"append-only file on, fsync {options.get('appendfsync')}"))
    elif options.get("save"):
        results.append(findings.well("redis", f"snapshots on ({options['save']})"))
    else:
        results.append(
            findings.warning("redis", "no persistence: a restart loses hints and the counts of failed logins")
        )
    policy = options.get("maxmemory-policy", "noeviction")
    if policy == "noeviction":
        results.append(findings.well("redis", "maxmemory-policy noeviction"))
    else:
        results.append(findings.warning("redis", f"maxmemory-policy {policy} may evict our keys: use noeviction"))
    return results
