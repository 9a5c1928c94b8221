"""Text of a log, however its bytes are cut, with nothing lost."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from services.api.streams.text import Decoder, as_json


@given(content=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=8))
def test_any_bytes_in_any_pieces_come_back_through_json(content: bytes, cuts: list[int]) -> None:
    decoder, text, begin = Decoder(), "", 0
    for end in [*sorted(min(cut, len(content)) for cut in cuts), len(content)]:
        text += json.loads(as_json(decoder.decode(content[begin:end])))
        begin = end
        assert len(text.encode("utf-8", "surrogateescape")) + decoder.held_back == end
    text += decoder.rest()
    assert text.encode("utf-8", "surrogateescape") == content
    assert text == content.decode("utf-8", "surrogateescape")


def test_a_character_that_is_cut_waits_for_its_rest() -> None:
    decoder = Decoder()
    assert (decoder.decode("é".encode()[:1]), decoder.held_back) == ("", 1)
    assert (decoder.decode("é".encode()[1:]), decoder.held_back) == ("é", 0)


def test_a_byte_that_is_no_character_is_a_lone_surrogate_in_ascii() -> None:
    assert as_json(Decoder().decode(b"a\xff\n")) == '"a\\udcff\\n"'
