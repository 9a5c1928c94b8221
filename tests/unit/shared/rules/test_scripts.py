"""First lines of scripts that do not run as intended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rules import scripts


@pytest.mark.parametrize(
    "script",
    [
        "echo hello",
        "#!/bin/sh\necho hello\n",
        "#!/usr/bin/env python3\nprint('a\\r')\n",
        "#! /bin/bash -e\n",
        "\n\necho blank lines before a command are fine",
        "# comment\n#!/bin/bash in the second line is a comment, said on purpose",
        "",
    ],
)
def test_a_script_that_runs_as_intended_causes_no_warning(script: str) -> None:
    assert scripts.problems_of(script) == []


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("#!/bin/bash\r\necho hello\r\n", "carriage return"),
        ("echo hello\r\nexit 0\r\n", "CR LF"),
        ("\n#!/usr/bin/python3\nprint(1)\n", "does not begin with `#!`"),
        ("  #!/usr/bin/python3\nprint(1)\n", "does not begin with `#!`"),
        ("\ufeff#!/usr/bin/python3\nprint(1)\n", "byte order mark"),
        ("\ufeffecho hello\n", "byte order mark"),
        (f"#!/{'d' * 130}/python3\n", "141 bytes"),
        ("#!bin/sh\n", "no absolute path"),
        ("#!\necho hello\n", "without an interpreter"),
    ],
)
def test_a_first_line_that_is_misread_is_named(script: str, word: str) -> None:
    (said,) = scripts.problems_of(script)
    assert word in said


def test_only_an_interpreter_that_no_image_can_have_is_hopeless() -> None:
    assert "carriage return" in (scripts.never_works("#!/bin/bash\r\n") or "")
    assert scripts.never_works("\n#!/bin/bash\n") is None
    assert scripts.never_works("echo hello\r\n") is None


@pytest.mark.parametrize(
    ("script", "path"),
    [("#!/bin/bash -e\n", "/bin/bash"), ("#! /usr/bin/env python\n", "/usr/bin/env"), ("#!\n", None), ("ls", None)],
)
def test_the_interpreter_is_the_first_word(script: str, path: str | None) -> None:
    assert scripts.interpreter(script) == path


@given(st.text())
def test_every_warning_is_one_line_without_control_characters(script: str) -> None:
    for text in ("#!" + script, script):
        assert all(line.isprintable() for line in scripts.problems_of(text))
