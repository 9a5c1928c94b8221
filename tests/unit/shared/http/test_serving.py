"""The shipped proxy and the gateway agree on which of them closes an idle connection."""

from __future__ import annotations

import re
from pathlib import Path

from shared.http import serving

ROOT = Path(__file__).parents[4]


def test_the_proxy_closes_an_idle_connection_long_before_the_gateway() -> None:
    text = (ROOT / "deploy" / "proxy" / "Caddyfile").read_text()
    (upstream,) = re.findall(r"reverse_proxy api:6543 \{.*?\n\t\t\}", text, re.DOTALL)
    (seconds,) = re.findall(r"keepalive (\d+)s", upstream)
    assert int(seconds) * 2 <= serving.KEEP_ALIVE


def test_the_documents_state_how_long_an_idle_connection_is_kept() -> None:
    said = f"keeps an idle connection for {serving.KEEP_ALIVE} seconds"
    assert said in " ".join((ROOT / "docs" / "operations.md").read_text().split())
    assert f"keeps them for {serving.KEEP_ALIVE} seconds" in (ROOT / "deploy" / "proxy" / "Caddyfile").read_text()
