"""Fixtures for all tests: the real parts, started once for a session and taken down after it."""

pytest_plugins = [
    "tests.support.engine",
    "tests.support.directory",
    "tests.support.gateway",
    "tests.support.mailbox",
    "tests.support.stores",
]
