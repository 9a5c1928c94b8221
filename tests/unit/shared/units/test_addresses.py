"""Mail addresses."""

from __future__ import annotations

import pytest

from shared.units import addresses

GOOD = ["a@b", "alice@lab.test", "first.last+tag@sub.lab-1.org", "o'hara@lab.test", "x" * 64 + "@lab.test"]
BAD = [
    "",
    "alice",
    "@lab.test",
    "alice@",
    "alice@lab.test\n",
    "alice@lab.test\r\nBcc: all@lab.test",
    "alice@lab.test, bob@lab.test",
    "alice@lab.test;bob@lab.test",
    "Alice <alice@lab.test>",
    "<alice@lab.test>",
    "alice@lab..test",
    "alice@-lab.test",
    "al ice@lab.test",
    "alice@lab@test",
    "ålice@lab.test",
    "alice@lab.test\0",
    "a" * 250 + "@b.cd",
]


@pytest.mark.parametrize("text", GOOD)
def test_an_address_is_one(text: str) -> None:
    assert addresses.is_address(text)


@pytest.mark.parametrize("text", BAD)
def test_texts_around_an_address_are_rejected(text: str) -> None:
    assert not addresses.is_address(text)
