"""Translation of an engine's messages about failed starts."""

from __future__ import annotations

import pytest

from shared import errors
from shared.executors import types
from shared.executors.docker import networks, start_errors

RUN = types.Run(
    handle=types.Handle("n1", 12, 3),
    image="debian",
    uid=1,
    gid=1,
    groups=(),
    cpus=1,
    memory=1024,
    directory="/",
    shebang=False,
    network=types.PUBLIC,
    ports=(types.PortMapping(80, 1000), types.PortMapping(81, 10002)),
    gpus=("0",),
)
ENDPOINT = "driver failed programming external connectivity on endpoint god-12-3 (0a:1000b): "


@pytest.mark.parametrize(
    ("said", "port"),
    [
        (f"{ENDPOINT}Bind for 0.0.0.0:10002 failed: port is already allocated", 10002),
        (f"{ENDPOINT}Error starting userland proxy: listen tcp4 0.0.0.0:1000: bind: address already in use", 1000),
        ("failed to bind host port for [::]:10002:172.17.0.2:81/tcp: address already in use", 10002),
        ("address already in use", None),
    ],
)
def test_a_port_that_is_taken(said: str, port: int | None) -> None:
    error = start_errors.start("n1", RUN, 500, said)
    assert isinstance(error, errors.PortTaken)
    assert error.port == port


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (500, "write /var/lib/docker/x: no space left on device", errors.NodeFull),
        (500, "no available IPv4 addresses on this network's address pools: lab.public", errors.NodeFull),
        (500, "transport is closing: unknown", errors.NodeUnavailable),
        (400, "transport is closing: unknown", errors.StartRefused),
        (404, "No such image: debian:latest", errors.ImageNotFound),
        (500, 'could not select device driver "nvidia" with capabilities: [[gpu]]', errors.StartRefused),
    ],
)
def test_why_a_start_failed(status: int, said: str, error: type[Exception]) -> None:
    assert type(start_errors.start("n1", RUN, status, said)) is error


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (404, "could not find an available, non-overlapping IPv4 address pool among the defaults", errors.NodeFull),
        (400, "all predefined address pools have been fully subnetted", errors.NodeFull),
        (500, "connection error: desc", errors.NodeUnavailable),
        (500, "cannot restrict inter-container communication", errors.StartRefused),
    ],
)
def test_why_a_network_could_not_be_made(status: int, said: str, error: type[Exception]) -> None:
    assert type(start_errors.network("n1", "user-ada", status, said)) is error


def test_every_network_has_its_own_bridge_with_a_valid_name() -> None:
    wanted = [
        ("lab", "n1", "user-ada"),
        ("lab", "n1", "user-bob"),
        ("lab", "n2", "user-ada"),
        ("lab-2", "n1", "user-ada"),
    ]
    made = {networks.bridge_name(*one) for one in wanted}
    assert len(made) == 4
    assert all(len(name) == 15 for name in made)
