"""Look at MongoDB and Redis."""

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

_OLDEST_MONGO = (6, 0)  #: `$in` in partial indexes
_OLDEST_REDIS = (6, 2)


async def mongo(settings: Settings) -> list[findings.Finding]:
    """Whether MongoDB answers and keeps what it is told."""
    part = "mongodb"
    try:
        async with stores.connect(settings) as store:
            await store.ping()
            server = await store.server()
            faults = await store.faults()
    except errors.GoDockerError as error:
        return [findings.bad(part, str(error))]
    except Exception as error:  # the driver's, such as a refused login: whatever it is, it belongs into the report
        return [findings.bad(part, f"{type(error).__name__}: {error}"[:300])]
    return [
        judge_version(part, server.version, _OLDEST_MONGO),
        *findings.faults(part, faults),
        judge_replica_set(server.replica_set, server.members, has_primary=server.has_primary),
        judge_journal(server.has_journal),
        clocks.judge("MongoDB", server.time, server.asked_at, server.answered_at),
    ]


async def faults(settings: Settings) -> list[known_faults.Found]:
    """The known faults of both stores that somebody may get to; of one that does not say its version, none."""
    found: list[known_faults.Found] = []
    with contextlib.suppress(Exception):  # the drivers', too: it is said elsewhere
        async with stores.connect(settings) as store:
            found += await store.faults()
    with contextlib.suppress(Exception):
        async with broker_connection.client(settings) as client:
            found += await broker.Broker(client, settings.redis_prefix).faults()
    return [fault for fault in found if not fault.is_closed]


async def added_hosts(settings: Settings) -> list[Node]:
    """The hosts that were added while the system ran; none where MongoDB cannot be asked, which is said elsewhere."""
    try:
        async with stores.connect(settings) as store:
            return await store.hosts.list()
    except Exception:  # the driver's too, as above
        return []


async def redis(settings: Settings) -> list[findings.Finding]:
    """Whether Redis answers; what it forgets is only hints, so that is worth a warning and no more."""
    part = "redis"
    try:
        async with broker_connection.client(settings) as client:
            server = await broker_connection.translated(client.info)("server")
            try:
                options = await broker_connection.translated(client.config_get)("*")
            except errors.BrokerUnavailable:
                options = {}  # CONFIG is often closed on hosted ones
            faults = await broker.Broker(client, settings.redis_prefix).faults()
    except errors.GoDockerError as error:
        return [findings.bad(part, f"{error}: {error.__cause__}")]
    answers = judge_version(part, str(server["redis_version"]), _OLDEST_REDIS)
    return [answers, *findings.faults(part, faults), *judge_redis(options)]


def judge_version(part: str, version: str, oldest: tuple[int, ...]) -> findings.Finding:
    if findings.version(version) < oldest:
        return findings.bad(part, f"version {version} is older than {'.'.join(map(str, oldest))}")
    return findings.well(part, f"answers, version {version}")


def judge_replica_set(name: str | None, members: int, *, has_primary: bool) -> findings.Finding:
    if not name:
        return findings.bad(
            "mongodb", "is not a replica set: majority writes and retries need one, of one node at least"
        )
    if not has_primary:
        return findings.bad("mongodb", f"replica set {name} has no primary")
    return findings.well("mongodb", f"replica set {name} with {members} member{'s' if members != 1 else ''}")


def judge_journal(is_on: bool | None) -> findings.Finding:
    if is_on is None:
        return findings.warning("mongodb", "whether it journals cannot be asked with this login")
    if not is_on:
        return findings.bad("mongodb", "journaling is off: tasks that were accepted can be lost")
    return findings.well("mongodb", "journaling is on")


def judge_redis(options: Mapping[Any, Any]) -> list[findings.Finding]:
    if not options:
        return [findings.warning("redis", "its settings cannot be asked with this login")]
    found = []
    if options.get("appendonly") == "yes":
        found.append(findings.well("redis", f"append-only file on, fsync {options.get('appendfsync')}"))
    elif options.get("save"):
        found.append(findings.well("redis", f"snapshots on ({options['save']})"))
    else:
        found.append(findings.warning("redis", "no persistence: hints and the count of login tries end with it"))
    policy = options.get("maxmemory-policy", "noeviction")
    if policy == "noeviction":
        found.append(findings.well("redis", "maxmemory-policy noeviction"))
    else:
        found.append(findings.warning("redis", f"maxmemory-policy {policy} may drop keys of ours: use noeviction"))
    return found
