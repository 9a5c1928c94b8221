"""Requirements of tasks beyond cores and memory."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from services.api.admission import submission
from services.api.wire.submission import TaskIn
from shared import errors
from shared.executors.types import Feature
from shared.models.task import Network, Task, TmpStorage
from shared.settings import FailurePolicy, Settings
from tests.support import samples

ALL = frozenset(Feature)


def admitted(features: frozenset[Feature] = ALL, settings: Settings | None = None, **fields: Any) -> Task:
    return submission.admit(
        TaskIn.model_validate(samples.submission(**fields)),
        owner=samples.user(),
        settings=settings or Settings(),
        features=features,
        now=samples.NOW,
    )


def refused(features: frozenset[Feature] = ALL, settings: Settings | None = None, **fields: Any) -> dict[str, str]:
    """Return the broken rules by the path of their field."""
    try:
        admitted(features, settings, **fields)
    except ValidationError as error:
        return {".".join(map(str, item["loc"])): item["msg"] for item in error.errors()}
    except errors.InvalidInput as error:
        return {field.path: field.rule for field in error.fields}
    raise AssertionError("the task was admitted")


@pytest.mark.parametrize("label", ["storage==ssd", "storage!=ssd", "a.b/c-d==1.0", "x_y==Z"])
def test_a_label_requires_or_excludes_a_value(label: str) -> None:
    assert admitted(**{"requirements.label": [label]}).spec.labels == [label]


@pytest.mark.parametrize(
    "label", ["", "storage", "storage=ssd", "==ssd", "storage==", "a==b==c", "a== b", "$where==1", "a==b\n", "a" * 200]
)
def test_an_invalid_label_is_refused(label: str) -> None:
    assert list(refused(**{"requirements.label": [label]})) == ["requirements.label.0"]


def test_ports_switch_on_the_public_network() -> None:
    spec = admitted(**{"requirements.ports": ["8080", 22]}).spec
    assert (spec.ports, spec.network) == ([8080, 22], Network.PUBLIC)


@pytest.mark.parametrize(
    ("fields", "network"),
    [
        ({"container.network": False}, None),
        ({"container.network": False, "requirements.network": "public"}, None),
        ({"container.network": True}, Network.PUBLIC),
        ({"container.network": False, "requirements.network": "user"}, Network.USER),
        ({"requirements.network": "user", "container.network": True}, Network.USER),
    ],
)
def test_the_network_is_the_one_that_was_asked_for(fields: dict[str, Any], network: Network | None) -> None:
    assert admitted(**fields).spec.network is network


@pytest.mark.parametrize("value", ["host", "container:abc", "none", "user "])
def test_no_other_network_can_be_named(value: str) -> None:
    assert refused(**{"requirements.network": value}) == {
        "requirements.network": "must be one of: public, user, project"
    }


def test_the_default_project_has_no_network() -> None:
    assert "requirements.network" in refused(**{"requirements.network": "project"})


def test_temporary_storage_has_a_size_and_a_path() -> None:
    sent = {"size": "1g", "path": "/scratch/run"}
    assert admitted(**{"requirements.tmpstorage": sent}).spec.tmpstorage == TmpStorage(
        size=1024**3, path="/scratch/run"
    )


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ({"size": "1g"}, "path"),
        ({"size": "1g", "path": "scratch"}, "path"),
        ({"size": "1g", "path": "/scratch/../etc"}, "path"),
        ({"size": "1g", "path": "/etc/x"}, "path"),
        ({"size": "1g", "path": "/mnt/go-docker"}, "path"),
        ({"size": "1g", "path": "/"}, "path"),
        ({"size": "1g", "path": "/a:ro"}, "path"),
        ({"size": "many", "path": "/scratch"}, "size"),
        ({"size": 10, "path": "/scratch"}, "size"),
        ({"path": "/scratch"}, "size"),
    ],
)
def test_invalid_temporary_storage_is_refused(sent: dict[str, Any], path: str) -> None:
    assert list(refused(**{"requirements.tmpstorage": sent})) == [f"requirements.tmpstorage.{path}"]


@pytest.mark.parametrize(
    ("path", "value", "feature"),
    [
        ("requirements.gpus", 1, Feature.GPUS),
        ("requirements.ports", [80], Feature.PORTS),
        ("requirements.network", "user", Feature.NETWORKS),
        ("requirements.tmpstorage", {"size": "1g", "path": "/scratch"}, Feature.TMPSTORAGE),
    ],
)
def test_a_feature_that_the_executor_lacks_is_refused(path: str, value: Any, feature: Feature) -> None:
    admitted(**{path: value})
    assert list(refused(ALL - {feature}, **{path: value})) == [path]


def test_ports_are_distinct_and_limited_in_number() -> None:
    assert list(refused(**{"requirements.ports": [80, 80]})) == ["requirements.ports"]
    assert list(refused(**{"requirements.ports": list(range(1, 40))})) == ["requirements.ports"]


def test_restarts_are_limited_by_the_configuration() -> None:
    settings = Settings(failure_policy=FailurePolicy(strategy=2))
    assert admitted(settings=settings, **{"requirements.failure_policy": "2"}).spec.restarts == 2
    assert refused(settings=settings, **{"requirements.failure_policy": 3}) == {
        "requirements.failure_policy": "must be at most 2 here"
    }


@pytest.mark.parametrize(("value", "seconds"), [("7d", 7 * 86400), ("12h", 43200), ("90s", 90), (90, 90), ("1.5m", 90)])
def test_a_lifespan_may_be_written_in_units(value: Any, seconds: float) -> None:
    assert admitted(**{"requirements.maxlifespan": value}).spec.lifespan == seconds


@pytest.mark.parametrize("value", ["forever", "-1s", "11w1", "99999w", "1 d d"])
def test_an_invalid_lifespan_is_refused(value: Any) -> None:
    assert list(refused(**{"requirements.maxlifespan": value})) == ["requirements.maxlifespan"]


def test_a_lifespan_is_within_the_configured_one() -> None:
    found = refused(settings=Settings(maxlifespan="1h"), **{"requirements.maxlifespan": "2h"})
    assert found == {"requirements.maxlifespan": "must be at most 1 hour"}
