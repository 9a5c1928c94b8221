"""A mail's subject decodes to the intended text, whatever a task's name contains."""

from __future__ import annotations

import email
from email import policy
from email.header import decode_header, make_header

import pytest
from aiosmtplib.email import flatten_message
from hypothesis import given
from hypothesis import strategies as st

from services.watcher.mail import templates
from shared.models.notice import Notice


def sent(subject: str) -> bytes:
    """Return the mail's bytes as they are sent."""
    notice = Notice(id="1-1-over", to="alice@lab.test", subject=subject, text="x", at=1.0)
    return flatten_message(templates.message(notice, sender="godocker@lab.test"))


def check(subject: str) -> None:
    wire = sent(subject)
    head = wire.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert max(len(line) for line in head.split(b"\r\n")) <= 78
    assert [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" "][:3] == [
        b"From",
        b"To",
        b"Subject",
    ]
    for read in (
        str(email.message_from_bytes(wire, policy=policy.default)["Subject"]),
        str(make_header(decode_header(email.message_from_bytes(wire)["Subject"]))),
    ):
        assert read == subject


@pytest.mark.parametrize(
    "name",
    [
        "align",
        "séquençage",
        "naïve café naïve café naïve café naïve café naïve café naïve café",
        "a  b   c",
        "שלום עולם",
        "\u202eright\u202c",
        "配列 🔑 é",
        "=?utf-8?q?x?=",
        "=?",
        "?= é =?utf-8?b?eA==?=",
        "x" * 200,
        " ".join(["word"] * 40),
        "é" * 200,
        "tab\there",
        'quote " and \\ (brackets) <angles> @ , ; :',
    ],
)
def test_a_subject_decodes_to_its_text(name: str) -> None:
    check(f"Task 1 ({name}) ended with exit code 3")


@given(
    st.lists(
        st.sampled_from(
            [
                "é",
                "ä b",
                "שלום",
                "a",
                "=?utf-8?q?x?=",
                "x" * 30,
                "配列",
                "\u200f",
                "-",
                "naïve",
                "🔑",
                "_",
                "?=",
                "=?",
                " ",
            ]
        ),
        max_size=30,
    )
)
def test_no_space_and_no_word_is_lost_or_changed(words: list[str]) -> None:
    check(f"Task 1 ({' '.join(words)}) is running")


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=200))
def test_any_text_of_one_line_is_a_subject(text: str) -> None:
    check(f"Task 1 ({text}) is running")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x0b", "\x85"])
def test_a_line_end_is_refused(end: str) -> None:
    with pytest.raises(ValueError, match="linefeed"):
        sent(f"Task 1{end}Bcc: everybody@lab.test")
