"""`godocker node add` refuses a bad node in words of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from godocker.commands.operator import node
from shared import errors

URL = ("--url", "tcp://n1:2376")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("n 1", *URL), "name"),
        (("n1", *URL, "--gpu", "/etc/passwd"), "gpus.0"),
        (("n1", *URL, "--public-address", "http://x"), "public_address"),
        (("n1", *URL, "--tls-ca", "ca.pem"), "tls_ca"),
    ],
)
def test_a_bad_value_is_named_with_its_rule(
    arguments: tuple[str, ...], field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(node.app, ["add", *arguments]).exception
    assert isinstance(refused, errors.InvalidInput)
    (one,) = refused.fields
    assert one.path == field
    assert one.rule
    assert not [word for word in ("Input should", "Value error", "String should", "pattern") if word in one.rule]
