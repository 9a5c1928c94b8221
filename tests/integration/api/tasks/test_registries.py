"""A registry whose name resolves to an internal address is refused at submission."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from services.api.admission.registries import Registries
from shared.settings import Image, Settings
from tests.support import samples
from tests.support.harness.gateway import Gateway


class Names:
    """A name server that records its queries."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self._addresses = {name.replace("_", "."): found for name, found in addresses.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host not in self._addresses:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._addresses[host]


NAMES = {
    "good_example_org": ["93.184.216.34"],
    "bad_example_org": ["10.0.0.7"],
    "both_example_org": ["93.184.216.34", "127.0.0.1"],
    "six_example_org": ["fd00::1"],
}


@pytest.mark.parametrize(
    ("image", "refused"),
    [
        ("good.example.org/x", False),
        ("bad.example.org/x", True),
        ("bad.example.org:5000/group/x:tag", True),
        ("BAD.example.org/x", True),
        ("both.example.org/x", True),
        ("six.example.org/x", True),
        ("unknown.example.org/x", False),  # does not resolve
    ],
)
async def test_a_registry_is_refused_if_its_name_resolves_to_an_internal_address(image: str, refused: bool) -> None:
    problem = await Registries(Settings(), Names(**NAMES).resolve).problem_of(image)
    assert (problem is not None) is refused
    assert problem is None or "which resolves to the internal address" in problem


async def test_configured_names_are_not_resolved() -> None:
    names = Names(**NAMES)
    named = Settings(allowed_registries=["bad.example.org"])
    offered = Settings(default_images=[Image(name="ours", url="bad.example.org/ours")])
    assert await Registries(named, names.resolve).problem_of("bad.example.org/x") is None
    assert await Registries(offered, names.resolve).problem_of("bad.example.org/ours") is None
    assert await Registries(Settings(), names.resolve).problem_of("debian:12") is None
    assert names.asked == []
    assert await Registries(offered, names.resolve).problem_of("bad.example.org/other") is not None


async def test_an_answer_is_cached_for_a_while() -> None:
    names = Names(**NAMES)
    registries = Registries(Settings(), names.resolve)
    for _ in range(3):
        await registries.problem_of("good.example.org/x")
        await registries.problem_of("good.example.org/y")
    assert names.asked == ["good.example.org"]


@pytest.mark.stores
async def test_a_task_from_such_a_registry_is_refused_by_each_way_in(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await gateway.add_user("alice")
    monkeypatch.setattr(gateway.context.registries, "_resolve", Names(**NAMES).resolve)
    sent = samples.submission(**{"container.image": "bad.example.org/x"})
    for path, body in (("/task", sent), ("/task?dry_run=true", sent), ("/task/batch", [sent])):
        answer = await gateway.ask("POST", path, by=alice, json=body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["path"].endswith("container.image")
    sent = samples.submission(**{"container.image": "good.example.org/x"})
    assert (await gateway.ask("POST", "/task", by=alice, json=sent)).status_code == 200
