"""Fixtures for all tests: the real parts, started once for a session and taken down after it."""

from __future__ import annotations

import pytest

FIGURES = "figures"  #: the property under which a test records what it measured

pytest_plugins = [
    "tests.support.servers.engine",
    "tests.support.harness.cluster",  # uses the one before
    "tests.support.servers.ldap",
    "tests.support.harness.gateway",
    "tests.support.servers.mailbox",
    "tests.support.servers.stores",
]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests measured, whichever process they ran in."""
    figures = [
        (report.nodeid, value)
        for report in terminalreporter.stats.get("passed", [])
        for name, value in getattr(report, "user_properties", [])
        if name == FIGURES
    ]
    if figures:
        terminalreporter.section("figures")
        for test, value in sorted(figures):
            terminalreporter.write_line(f"{test}: {value}")
