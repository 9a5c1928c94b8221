"""One pull per image and node at a time, shared by all that wait for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import aiodocker
import pytest

from shared import errors
from shared.executors.docker import client, images
from tests.support import waiting


class Registry:
    """An engine without images; a pull lasts until `done` is set."""

    name = "n1"

    def __init__(self) -> None:
        self.present: set[str] = set()
        self.looks = 0
        self.pulls = 0
        self.under_way = 0
        self.done = asyncio.Event()
        self.error: str | None = None

    async def call(self, method: str, path: str) -> tuple[int, Any]:
        self.looks += 1
        if path.removeprefix("images/").removesuffix("/json") not in self.present:
            raise aiodocker.DockerError(404, "no such image")
        return 200, {}

    @contextlib.asynccontextmanager
    async def stream(self, method: str, path: str, *, params: dict[str, str], **_: Any) -> AsyncIterator[Any]:
        self.pulls += 1
        self.under_way += 1
        try:
            yield self._lines(params["fromImage"])
        finally:
            self.under_way -= 1

    async def _lines(self, image: str) -> AsyncIterator[Any]:
        yield {"status": "pulling"}
        await self.done.wait()
        if self.error:
            yield {"error": self.error}
        self.present.add(image)


def stock_of(registry: Registry, *, pull_timeout: float = 5.0) -> images.Images:
    return images.Images(cast(client.Engine, registry), pull_timeout=pull_timeout)


async def test_requests_for_the_same_image_share_one_pull() -> None:
    registry = Registry()
    stock = stock_of(registry)
    all_waiting = [asyncio.create_task(stock.ensure(name)) for name in ("tool", "tool:latest", "tool")]
    await waiting.until(lambda: registry.looks == 3 and registry.pulls, "all have looked")
    registry.done.set()
    await asyncio.gather(*all_waiting)
    assert registry.pulls == 1
    await stock.ensure("tool")
    assert registry.looks == 3, "what is known to be there is not asked for"
    stock.forget("tool")
    await stock.ensure("tool")
    assert (registry.looks, registry.pulls) == (4, 1)


async def test_all_waiters_get_the_same_error_and_the_next_request_tries_again() -> None:
    registry = Registry()
    registry.error = "manifest unknown"
    registry.done.set()
    stock = stock_of(registry)
    results = await asyncio.gather(*(stock.ensure("tool") for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {errors.ImageNotFound}
    registry.error = None
    await stock.ensure("tool")


async def test_a_pull_continues_when_one_of_two_waiters_gives_up() -> None:
    registry = Registry()
    stock = stock_of(registry)
    first, second = (asyncio.create_task(stock.ensure("tool")) for _ in range(2))
    await waiting.until(lambda: registry.looks == 2 and registry.pulls, "both wait")
    first.cancel()
    await asyncio.wait({first})
    assert registry.under_way == 1
    registry.done.set()
    await second
    assert registry.pulls == 1


async def test_a_pull_ends_with_its_last_waiter_and_can_be_repeated() -> None:
    registry = Registry()
    stock = stock_of(registry)
    only = asyncio.create_task(stock.ensure("tool"))
    await waiting.until(lambda: registry.pulls == 1, "it is being pulled")
    only.cancel()
    again = asyncio.create_task(stock.ensure("tool"))
    await waiting.until(lambda: registry.pulls == 2 and registry.under_way == 1, "one ended, one began")
    registry.done.set()
    await again


async def test_a_pull_that_takes_too_long_ends() -> None:
    registry = Registry()
    with pytest.raises(errors.ImageUnreachable, match=r"in 0\.05 s"):
        await stock_of(registry, pull_timeout=0.05).ensure("tool")
    await waiting.until(lambda: registry.under_way == 0, "the pull is over")


async def test_closing_ends_the_pulls_and_fails_their_waiters() -> None:
    registry = Registry()
    stock = stock_of(registry)
    waiter = asyncio.create_task(stock.ensure("tool"))
    await waiting.until(lambda: registry.pulls == 1, "it is being pulled")
    await stock.close()
    with pytest.raises(errors.NodeUnavailable):
        await waiter
    assert registry.under_way == 0


@pytest.mark.parametrize(
    "image",
    ["debian", "debian:12", "group/tool:1.0-x_y", "host.example:5000/a/b", "localhost:1/x", "x@sha256:" + "a" * 64],
)
def test_valid_references_are_accepted(image: str) -> None:
    images.check_reference(image)


@pytest.mark.parametrize(
    "image",
    [
        *(
            "",
            " ",
            "a b",
            "../x",
            "a/../b",
            "/a",
            "a/",
            "a//b",
            "-a",
            "a:",
            "a@sha256:1",
            "a?x=1",
            "a#b",
            "a%2fb",
            "a\nb",
        ),
        *("http://a/b", "a:b:c", "a" * 600, "a-" * 100 + "!", "é"),
    ],
)
def test_invalid_references_are_refused(image: str) -> None:
    with pytest.raises(errors.ImageNotFound):
        images.check_reference(image)
