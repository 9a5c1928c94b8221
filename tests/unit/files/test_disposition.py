"""File names of downloads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.files import disposition


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"plain.txt", "attachment; filename=\"plain.txt\"; filename*=UTF-8''plain.txt"),
        (b'a"b', "attachment; filename=\"a_b\"; filename*=UTF-8''a%22b"),
        (b"a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        ("é".encode(), "attachment; filename=\"_\"; filename*=UTF-8''%C3%A9"),
        (b"\xff", "attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
        (b"100%;", "attachment; filename=\"100__\"; filename*=UTF-8''100%25%3B"),
    ],
)
def test_names_of_downloads(name: bytes, value: str) -> None:
    assert disposition.attachment(name) == value


@given(st.binary(max_size=300))
def test_no_name_gets_out_of_its_header(name: bytes) -> None:
    value = disposition.attachment(name)
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 2
