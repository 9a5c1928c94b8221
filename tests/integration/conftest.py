"""The stores and the broker of a test, opened as a service opens them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.broker import broker
from shared.settings import Settings
from shared.store import stores


@pytest.fixture
async def opened(settings: Settings) -> AsyncIterator[stores.Stores]:
    """Empty stores, without indexes: making them takes longer than most tests."""
    async with stores.connect(settings) as opened:
        yield opened


@pytest.fixture
async def indexed(opened: stores.Stores) -> stores.Stores:
    """Empty stores as they are after a service has started."""
    await opened.ensure_indexes()
    return opened


@pytest.fixture
async def hints(settings: Settings) -> AsyncIterator[broker.Broker]:
    async with broker.connect(settings) as connected:
        yield connected
