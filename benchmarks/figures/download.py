"""Throughput of one large file: through the gateway, from the files service alone, and from nginx."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks import samples
from benchmarks.bench import Bench
from benchmarks.loads import downloads
from benchmarks.results import Row
from benchmarks.systems import nginx, processes, simulated
from benchmarks.systems.gateway import Gateway, NotDone
from shared import clock
from shared.auth import grants
from shared.auth.grants import Grant, Mode
from tests.support.harness.system import System

TITLE = "Download of one large file"
LIMIT = 120.0

_NAME = "large"
_BLOCK = 16 * 1024**2


def run(bench: Bench) -> None:
    if not nginx.is_there():
        raise NotDone("nginx is not installed: there is nothing to compare with (Debian: apt-get install nginx-light)")
    size, rounds = bench.size(1024**3, 256 * 1024**2), bench.size(7, 5)
    with simulated.running() as system, Gateway(system) as gateway:
        gateway.put_file(f"/user/admin/files/{_NAME}", b"first")
        folder = system.settings().shared_dir / "users" / "admin"
        _write(folder / _NAME, size)
        with nginx.running(folder) as beside:
            ways: dict[str, Callable[[], downloads.Order]] = {
                "through the gateway": lambda: _through_gateway(gateway),
                "from the files service": lambda: _from_files(system),
                "nginx, sendfile": lambda: downloads.Order(f"{beside.url}/{_NAME}"),
            }
            _measure(bench, system, size, rounds, ways)
    bench.remark(f"{size / 1e6:.0f} MB of real bytes, all of it in the page cache; by turns, {rounds} rounds")
    bench.remark(
        "the client reads into one buffer and looks at nothing; it shares the machine's cores with the servers"
    )


def _write(path: Path, size: int) -> None:
    """Fill the file with real bytes, which stay in the page cache; the owner does not change."""
    with path.open("r+b", buffering=0) as file:
        for _ in range(size // _BLOCK):
            file.write(os.urandom(_BLOCK))
        os.fsync(file.fileno())


def _through_gateway(gateway: Gateway) -> downloads.Order:
    return downloads.Order(
        f"{gateway.url}/api/1.0/user/admin/files/{_NAME}", {"Authorization": f"Bearer {gateway.token}"}
    )


def _from_files(system: System) -> downloads.Order:
    settings = system.settings()
    key = grants.key(settings.secret_passphrase.get_secret_value())
    grant = grants.make(Grant("users/admin", Mode.READ), key=key, now=clock.now())
    return downloads.Order(f"{settings.files_base_url}/files?path={_NAME}", {"Authorization": f"Bearer {grant}"})


def _measure(
    bench: Bench, system: System, size: int, rounds: int, ways: dict[str, Callable[[], downloads.Order]]
) -> None:
    taken: dict[str, list[downloads.Taken]] = {way: [] for way in ways}
    cores: dict[str, dict[str, float]] = {}
    for number in range(rounds + 1):
        for way, order in ways.items():
            before = processes.cpu_seconds(system)
            one = downloads.take(order())
            if one.size != size:
                raise NotDone(f"{one.size} of {size} bytes came {way}")
            if number:  # the first only warms up
                taken[way].append(one)
                cores[way] = processes.cpu_shares(before, processes.cpu_seconds(system), one.seconds)
    best = samples.median([one.rate for one in taken["nginx, sendfile"]])
    for way in ways:
        _add(bench, way, taken[way], best, cores[way])


def _add(bench: Bench, way: str, taken: list[downloads.Taken], best: float, cores: dict[str, float]) -> None:
    rates = [one.rate for one in taken]
    rate = samples.median(rates)
    busy = {name: share for name, share in cores.items() if share >= 0.05}
    bench.add(
        Row(
            way,
            round(rate),
            "MB/s",
            spread=f"{min(rates):.0f}–{max(rates):.0f} MB/s, {len(rates)} times",
            compared=f"{rate / best:.2f} of nginx's {best:.0f} MB/s",
            details={"rates": [round(value) for value in rates], "cores": busy, "client_cpu": round(taken[-1].cpu, 2)},
        )
    )
    used = ", ".join(f"{name} {share:.2f}" for name, share in busy.items())
    bench.remark(f"cores in use {way}: {used or 'none of ours'}; client {taken[-1].cpu:.2f}")
