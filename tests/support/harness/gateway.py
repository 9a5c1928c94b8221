"""A gateway on real stores, called over HTTP without a socket, with users of every kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.api import app, context
from shared import clock
from shared.auth import apikeys, tokens
from shared.broker import broker
from shared.executors.types import Feature
from shared.http import serving
from shared.models.project import Project
from shared.models.task import Task
from shared.models.usage import UsageRow, row_id
from shared.models.user import User
from shared.settings import Settings
from shared.store import stores
from tests.support import samples
from tests.support.servers.fileserver import FileServer

API = "/api/1.0"
JSON = "application/json; charset=UTF-8"


class Gateway:
    """A gateway within this process. Its hints are collected and not sent."""

    def __init__(self, parts: context.Context) -> None:
        self.context = parts
        self.settings = parts.settings
        self.stores = parts.stores
        transport = httpx.ASGITransport(app=app.build(parts))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://gateway")
        self.keys: dict[str, str] = {}

    async def add_user(self, user_id: str, **fields: Any) -> User:
        """Create a user who can log in with `keys[user_id]`."""
        key = apikeys.generate()
        self.keys[user_id] = key.secret
        made = samples.user(user_id, apikey=key.stored, **fields)
        await self.stores.users.add(made)
        return made

    async def user(self, user_id: str) -> User:
        """Return the stored user."""
        found = await self.stores.users.get(user_id)
        assert found is not None
        return found

    async def add_project(self, project_id: str, **fields: Any) -> Project:
        made = Project(id=project_id, **fields)
        await self.stores.projects.add(made)
        return made

    async def add_task(self, task_id: int, *args: Any, **fields: Any) -> Task:
        made = samples.task(task_id, *args, **fields)
        await self.stores.tasks.insert([made])
        return made

    async def task(self, task_id: int) -> Task:
        found = await self.stores.views.get(task_id)
        assert found is not None
        return found

    async def add_usage(self, task_id: int, *, user: str, at: float, project: str = "default", **fields: Any) -> None:
        """Store the usage of an attempt that ended at `at`: by default 2 cores and 3 GB for 10 seconds."""
        values = {"cpu": 2.0, "ram": 3.0, "seconds": 10.0, **fields}
        row = UsageRow(
            id=row_id(task_id, 1),
            task=task_id,
            attempt=1,
            user=user,
            project=project,
            started_at=at - 10,
            ended_at=at,
            day=clock.day(at),
            **values,
        )
        await self.stores.usage.add_many([row])

    def token(self, user: User) -> str:
        secret = self.settings.secret_passphrase.get_secret_value()
        return tokens.make_session(user.id, user.apikey.hash, secret=secret, now=clock.now(), seconds=3600)

    async def ask(self, method: str, path: str, by: User | None = None, **options: Any) -> httpx.Response:
        """Send a request below `/api/1.0` (`/admin/…` as it stands), as a user or anonymously."""
        headers = dict(options.pop("headers", {}))
        if by is not None:
            headers["Authorization"] = f"Bearer {self.token(by)}"
        url = path if path.startswith("/admin/") else API + path
        return await self.http.request(method, url, headers=headers, **options)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Gateway]:
    """Open a gateway for `settings`, on the contents of their stores."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(stores.connect(settings))
        hints = await stack.enter_async_context(broker.connect(settings))
        gateway = Gateway(context.build(settings, store, hints, frozenset(Feature)))
        stack.push_async_callback(gateway.context.files.close)
        stack.push_async_callback(gateway.context.scheduler.close)
        await stack.enter_async_context(gateway.http)
        yield gateway


@asynccontextmanager
async def with_files(settings: Settings, root: Path, **changes: Any) -> AsyncIterator[Gateway]:
    """Open a gateway with a files service behind it, whose directories are below `root`."""
    server = FileServer(root)
    try:
        await asyncio.to_thread(server.wait_ready)
        made = {
            "files_url": f"http://127.0.0.1:{server.port}",
            "secret_passphrase": type(settings.secret_passphrase)(server.secret),
            "shared_dir": server.shared,
            **changes,
        }
        async with opened(settings.model_copy(update=made)) as gateway:
            yield gateway
    finally:
        await asyncio.to_thread(server.close)


@asynccontextmanager
async def listening(gateway: Gateway) -> AsyncIterator[int]:
    """Serve the gateway on a port of this machine and return it."""
    stop = asyncio.Event()
    bound = serving.bind("127.0.0.1", 0)
    port = int(bound.getsockname()[1])
    serve = serving.serve(app.build(gateway.context), stop, host="127.0.0.1", port=port, listening=bound)
    server = asyncio.create_task(serve, name="gateway")
    try:
        yield port
    finally:
        stop.set()
        await server


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as made:
        yield made
