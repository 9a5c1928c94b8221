"""Services count on one clock, whatever their machines' clocks show, and tokens between them have a leeway."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from services.scheduler.placement.backfill import Rules, reserve
from services.scheduler.placement.reservation import Amounts, Reservation
from shared import clock, errors
from shared.auth import grants, service_tokens, tokens
from shared.auth.grants import Grant, Mode
from shared.storage.directories import TaskDirectories
from shared.system import timekeeping
from tests.support import samples, waiting

SKEWS = [-3600.0, -31.0, 31.0, 3600.0, 86_400.0]
KEY = "k" * 64


class Server:
    """The clock of a MongoDB server."""

    def __init__(self, ahead: float = 0.0, *, away: int = 0) -> None:
        self.ahead = ahead
        self.away = away  #: requests that it does not answer

    async def now(self) -> float:
        if self.away:
            self.away -= 1
            raise errors.StoreUnavailable()
        return time.time() + self.ahead


@pytest.fixture(autouse=True)
def own_time() -> Iterator[None]:
    yield
    clock.anchor(None)
    clock.note_files_ahead(0.0)


def keeper(server: Server, directories: TaskDirectories | None = None) -> timekeeping.Timekeeper:
    return timekeeping.Timekeeper(server, directories)  # type: ignore[arg-type]


@pytest.mark.parametrize("ahead", SKEWS)
async def test_a_service_counts_from_the_time_of_the_server(ahead: float) -> None:
    await keeper(Server(ahead)).look()
    assert clock.now() == pytest.approx(time.time() + ahead, abs=0.5)


async def test_a_server_that_does_not_answer_at_first_is_soon_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeping, "SOON", 0.01)
    server = Server(3600.0, away=5)
    async with timekeeping.synchronized(server):  # type: ignore[arg-type]
        assert clock.now() == pytest.approx(time.time(), abs=0.5)
        await waiting.until(lambda: clock.now() > time.time() + 3000, "its time counts", timeout=timekeeping.EVERY / 2)


@pytest.mark.parametrize("ahead", [-0.5, 0.0, 0.5])
async def test_within_the_measuring_error_the_own_clock_continues(ahead: float) -> None:
    server = Server(ahead)
    made = keeper(server)
    before = clock.now()
    await made.look()
    assert before <= clock.now() == pytest.approx(time.time(), abs=0.3)


@pytest.mark.parametrize("jump", SKEWS)
async def test_a_jump_of_the_machine_s_clock_changes_nothing(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    made = keeper(Server())
    await made.look()
    before = clock.now()
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    assert clock.now() == pytest.approx(before, abs=0.5)


@pytest.mark.parametrize("ahead", SKEWS)
async def test_file_times_are_converted_to_the_same_clock(ahead: float, tmp_path: object) -> None:
    made = keeper(Server(ahead), TaskDirectories(tmp_path))  # type: ignore[arg-type]
    await made.look()
    assert clock.of_file(time.time()) == pytest.approx(clock.now(), abs=0.5)


@pytest.mark.parametrize("skew", [-31, -25, 0, 25, 31])
def test_a_grant_and_a_service_token_have_a_leeway(skew: int) -> None:
    grant = Grant("tasks/0/1", Mode.READ)
    made_at = clock.now() + skew
    token = grants.make(grant, key=KEY, now=made_at)
    service = service_tokens.make(key=KEY, now=made_at)
    if skew <= 29:
        assert grants.read(token, key=KEY) == grant
        service_tokens.check(service, key=KEY)
    else:
        with pytest.raises(errors.NotAuthenticated):
            grants.read(token, key=KEY)


@pytest.mark.parametrize("skew", [-3600, 3600, 86_400])
def test_a_difference_beyond_the_leeway_is_reported(skew: int) -> None:
    told = "differ by (35|36|863|864)"
    with pytest.raises(errors.NotAuthenticated, match=told):
        grants.read(grants.make(Grant("tasks/0/1", Mode.READ), key=KEY, now=clock.now() + skew), key=KEY)
    with pytest.raises(errors.NotAuthenticated, match=told):
        service_tokens.check(service_tokens.make(key=KEY, now=clock.now() + skew), key=KEY)


@pytest.mark.parametrize("skew", SKEWS)
async def test_a_session_is_checked_by_the_common_clock(skew: float) -> None:
    await keeper(Server(skew)).look()
    token = tokens.make_session("alice", "0" * 64, secret=KEY, now=clock.now(), seconds=600)
    assert tokens.read_session(token, secret=KEY).user == "alice"
    old = tokens.make_session("alice", "0" * 64, secret=KEY, now=clock.now() - 700, seconds=600)
    with pytest.raises(errors.NotAuthenticated):
        tokens.read_session(old, secret=KEY)


def test_a_reservation_of_a_clock_that_was_ahead_is_not_kept_until_then() -> None:
    now = samples.NOW
    last = Reservation(1, "cpus=8", "n1", None, Amounts(0, 0, 0, 0), now, None, since=now + 3600, patience=120.0)
    nodes = [samples.node("n1", free_cpus=0.0), samples.node("n2", free_cpus=0.0)]
    task = samples.pending(1, cpus=8.0, queued_at=now - 600)
    found = reserve(task, nodes, Rules(now, 60.0, None, last))
    assert found is not None
    assert found.since == now
