"""Broken rules become our own sentences, with an example of the right form and a suggested name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core.core_schema import ErrorType

from services.api import app
from shared.settings import Settings
from shared.wording import patterns, suggestions, validation

#: Phrases of pydantic and Python that users must never see.
FOREIGN = re.compile(r"Input|Value error|String should|Field required|Extra inputs|extract fields|[\^$]\(|pydantic")


class Size(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"size": "10G"}]})

    size: str


class Volume(BaseModel):
    name: Annotated[str, Field(min_length=1)]
    acl: Annotated[str, Field(pattern=r"^(ro|rw)$")] = "ro"


def no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cpu: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1
    gpus: Annotated[int, Field(ge=0)] = 0
    room: Size | None = None
    volumes: Annotated[list[Volume], Field(max_length=2)] | None = None
    lifespan: str | int | None = None
    network: bool = False
    kind: Literal["disk", "memory"] = "disk"
    names: dict[str, Size] = {}


def told(value: Any, within: Any = Wanted) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(within).validate_python(value)
    return {one.path: one.rule for one in validation.problems(caught.value.errors(), within)}


@pytest.mark.parametrize(
    ("value", "path", "rule"),
    [
        ({"cpu": "many"}, "cpu", "must be a number"),
        ({"cpu": True}, "cpu", "must be a number"),
        ({"cpu": 0}, "cpu", "must be more than 0"),
        ({"cpu": 1e7}, "cpu", "must be at most 1000000"),
        ({"gpus": 1.5}, "gpus", "must be a whole number"),
        ({"gpus": -1}, "gpus", "must be at least 0"),
        ({"room": "10G"}, "room", 'must be an object like {"size": "10G"}'),
        ({"room": {}}, "room.size", "is missing"),
        ({"room": {"size": "1G", "siez": 1}}, "room.siez", "is not known; did you mean size?"),
        ({"volumes": "home"}, "volumes", "must be a list of objects with the fields name, acl"),
        ({"volumes": ["home"]}, "volumes.0", "must be an object with the fields name, acl"),
        ({"volumes": [{"name": ""}]}, "volumes.0.name", "must not be empty"),
        ({"volumes": [{"name": "a", "acl": "x"}]}, "volumes.0.acl", "must be ro (read only) or rw (read and write)"),
        ({"volumes": [{"name": "a"}] * 3}, "volumes", "must have at most 2 entries"),
        ({"lifespan": [3]}, "lifespan", "must be text or a whole number"),
        ({"network": "perhaps"}, "network", "must be true or false"),
        ({"kind": "tape"}, "kind", "must be 'disk' or 'memory'"),
        ({"names": {"a": 3}}, "names.a", 'must be an object like {"size": "10G"}'),
        ({"cpus": 3}, "cpus", "is not known; did you mean cpu?"),
        ({"zzz": 3}, "zzz", "is not known"),
        (3, "", "must be an object with the fields cpu, gpus, room, volumes, lifespan, network, kind, names"),
    ],
)
def test_a_broken_rule_is_a_sentence_with_its_path(value: Any, path: str, rule: str) -> None:
    assert told(value) == {path: rule}


def test_a_rule_within_a_list_is_found_under_its_number() -> None:
    assert told([{"room": "1G"}], list[Wanted]) == {"0.room": 'must be an object like {"size": "10G"}'}


def test_without_the_type_the_rule_is_reported_too() -> None:
    with pytest.raises(ValidationError) as caught:
        Wanted.model_validate({"room": "10G", "cpus": 3})
    assert {one.path: one.rule for one in validation.problems(caught.value.errors())} == {
        "room": "must be an object",
        "cpus": "is not known",
    }


def test_a_container_has_its_own_word_for_unknown_names() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"schedular_policy": "fifo"})
    (found,) = validation.problems(caught.value.errors(), Settings, unknown="is not a setting")
    assert (found.path, found.rule) == ("schedular_policy", "is not a setting; did you mean scheduler_policy?")


def test_no_value_is_repeated_in_its_rule() -> None:
    rules = told({"cpu": "hunter2", "room": "hunter2", "lifespan": ["hunter2"], "kind": "hunter2"})
    assert len(rules) == 4
    assert "hunter2" not in str(rules)


@pytest.mark.parametrize("kind", ErrorType.__args__)  # type: ignore[attr-defined]
def test_no_error_shows_pydantics_own_text(kind: str) -> None:
    context = {"gt": 1, "ge": 1, "lt": 1, "le": 1, "min_length": 2, "max_length": 2, "pattern": "^a$", "expected": "a"}
    one = {"type": kind, "loc": ("a",), "msg": "Input should be a valid thing", "ctx": {**context, "multiple_of": 2}}
    assert not FOREIGN.search(validation.sentence({**one, "ctx": {**one["ctx"], "error": ValueError("is odd")}}))


def patterns_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for value in schema.values():
            yield from patterns_in(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from patterns_in(value)


def test_every_pattern_of_settings_and_web_api_has_a_sentence() -> None:
    found = {*patterns_in(Settings.model_json_schema()), *patterns_in(app.document().openapi())}
    found.discard("^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$")  # pydantic's own, of decimals
    assert len(found) > 10
    assert found == found & patterns.RULES.keys(), f"no sentence for {sorted(found - patterns.RULES.keys())}"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("cpus", "cpu"),
        ("dryrun", "dry_run"),
        ("dry-run", "dry_run"),
        ("indexes", "index"),
        ("Tag", "tag"),
        ("qqq", None),
    ],
)
def test_the_nearest_name_is_found(word: str, meant: str | None) -> None:
    known = ("cpu", "dry_run", "index", "tag", "ram")
    assert suggestions.nearest(word, known) == meant
    assert suggestions.did_you_mean(word, known) == (f"; did you mean {meant}?" if meant else "")


def test_a_very_long_name_is_not_compared() -> None:
    assert suggestions.nearest("c" * 100_000, ["cpu"]) is None
