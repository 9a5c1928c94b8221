"""Hypothesis profiles of the unit tests, without deadlines: the machine may be busy with other work."""

from __future__ import annotations

import hypothesis
import pytest

hypothesis.settings.register_profile("unit", deadline=None, max_examples=100, stateful_step_count=20)
#: For the inner loop, `make unit`: every property, on fewer examples.
hypothesis.settings.register_profile("quick", hypothesis.settings.get_profile("unit"), max_examples=25)


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("hypothesis_profile", None):
        hypothesis.settings.load_profile("unit")
