"""Known faults of server versions."""

from __future__ import annotations

import pytest

from shared.rules import known_faults
from shared.rules.known_faults import DOCKER, MONGOD, NO_COMPRESSION, NO_SCRIPTS, REDIS, RUNC


@pytest.mark.parametrize(
    ("part", "version", "has"),
    [
        (MONGOD, "6.0.5", True),
        (MONGOD, "6.0.26", True),
        (MONGOD, "6.0.27", False),
        (MONGOD, "6.1.0", True),  # of a line without a fix
        (MONGOD, "4.2.25", True),
        (MONGOD, "8.2.2", True),
        (MONGOD, "8.2.3", False),
        (MONGOD, "8.3.0", False),
        (REDIS, "6.2.14", True),
        (REDIS, "7.0.15", True),
        (REDIS, "7.2.11", False),
        (REDIS, "8.4.0", False),
        (DOCKER, "20.10.24+dfsg1", True),
        (DOCKER, "27.1.1", False),
        (DOCKER, "29.0.0", False),
        (RUNC, "1.1.5+ds1", True),
        (RUNC, "1.2.8", False),
        (RUNC, "1.3.2", True),
        (RUNC, "1.4.0", False),
    ],
)
def test_the_faults_of_a_version(part: str, version: str, *, has: bool) -> None:
    assert bool(known_faults.of(part, version)) is has


def test_an_unreachable_fault_is_closed() -> None:
    [closed] = known_faults.of(MONGOD, "6.0.5", closed=(NO_COMPRESSION,))
    [other] = known_faults.of(MONGOD, "6.0.5", closed=(NO_SCRIPTS,))
    assert (closed.is_closed, other.is_closed) == (True, False)
    assert str(closed).endswith("network compression is off")
    assert "6.0.27" in str(other)
