"""The factory builds the executor that the settings name, and each runs through the contract suite."""

from __future__ import annotations

import typing

import pytest

from shared.executors import factory
from shared.executors.types import Feature
from shared.settings import Settings
from tests.contract import test_executor_contract as contract

KINDS = typing.get_args(Settings.model_fields["executor"].annotation)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_class_named_after_it(kind: str) -> None:
    made = factory.build(Settings(executor=kind))
    assert type(made).__name__ == f"{kind.title()}Executor"


def test_each_kind_runs_through_the_contract_suite() -> None:
    tested = {getattr(kind, "values", (kind,))[0] for kind in contract.KINDS}
    assert tested == {*KINDS, "fake"}


@pytest.mark.parametrize("kind", KINDS)
def test_only_processes_run_without_configured_hosts(kind: str) -> None:
    assert (Feature.HOSTS in factory.features(Settings(executor=kind))) is (kind != "process")
