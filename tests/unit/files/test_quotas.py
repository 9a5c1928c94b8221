"""Usage and quota of a personal storage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.files import quotas
from shared import errors


def test_claims_take_and_give_back() -> None:
    account = quotas.Account()
    with quotas.Claim(account, quota=10 * 4096) as first, quotas.Claim(account, quota=10 * 4096) as second:
        first.grow(4 * 4096)
        second.grow(1)
        assert account.pending == 5 * 4096
        with pytest.raises(errors.QuotaExceeded, match=r"of 40 KB of personal storage 20 KB are left"):
            second.grow(7 * 4096)
        second.grow(6 * 4096)
        first.settle(2 * 4096, replaced=4096)
        assert (account.settled, account.pending) == (4096, 6 * 4096)
    assert (account.settled, account.pending) == (4096, 0)


def test_usage_is_counted_in_blocks_without_following_links(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "big").write_bytes(b"x" * 100_000)
    (folder / "empty").touch()
    (folder / "sub" / "file").write_bytes(b"x" * 5000)
    (folder / "link").symlink_to(outside)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sub = max((folder / "sub").stat().st_size, 4096)
        assert quotas.measure(descriptor) == 4096 + 8192 + sub + 4096
    finally:
        os.close(descriptor)
