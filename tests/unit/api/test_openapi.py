"""The OpenAPI document is fit for readers and for generators of clients: names, bounds, descriptions, order."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from services.api import schemas
from services.api.wire import examples, task_out
from services.api.wire import task as wire
from shared.lifecycle import Ending, TaskStatus
from shared.models.task import Array, Network, TmpStorage
from shared.storage.directories import TaskDirectories
from shared.wording import model_paths
from tests.support import samples

#: Keywords of JSON Schema 2020-12 in use. `ge` and `le` are pydantic's own and validate nothing.
KEYWORDS = frozenset(
    [
        "$ref",
        "$schema",
        "$defs",
        "additionalProperties",
        "anyOf",
        "allOf",
        "const",
        "contentMediaType",
        "default",
        "description",
        "enum",
        "examples",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "format",
        "items",
        "maximum",
        "maxItems",
        "maxLength",
        "minimum",
        "minItems",
        "minLength",
        "pattern",
        "prefixItems",
        "properties",
        "required",
        "title",
        "type",
    ]
)
VERBS = frozenset(
    [
        "Activate",
        "Archive",
        "Begin",
        "Change",
        "Check",
        "Count",
        "Create",
        "Delete",
        "Download",
        "Explain",
        "Get",
        "Kill",
        "List",
        "Push",
        "Release",
        "Replace",
        "Reset",
        "Rerun",
        "Restart",
        "Resume",
        "Share",
        "Stop",
        "Suspend",
        "Upload",
    ]
)
#: Function names of generated clients: a change breaks their users' code.
OPERATIONS = {
    "POST /api/1.0/authenticate": "authenticate",
    "POST /api/1.0/task": "createTask",
    "POST /api/1.0/task/batch": "createTasks",
    "GET /api/1.0/task/active": "listActiveTasks",
    "GET /api/1.0/task/active/all": "listAllActiveTasks",
    "GET /api/1.0/task/over": "listFinishedTasks",
    "GET /api/1.0/task/over/all": "listAllFinishedTasks",
    "POST /api/1.0/task/over/all/{skip}/{limit}": "pageAllFinishedTasks",
    "POST /api/1.0/task/over/{skip}/{limit}": "pageFinishedTasks",
    "GET /api/1.0/task/status/{status}/count": "countTasks",
    "GET /api/1.0/task/{task_id}": "getTask",
    "DELETE /api/1.0/task/{task_id}": "killTask",
    "PUT /api/1.0/task/{task_id}": "changeTask",
    "GET /api/1.0/task/{task_id}/status": "getTaskStatus",
    "GET /api/1.0/task/{task_id}/pending": "releaseTask",
    "GET /api/1.0/task/{task_id}/suspend": "suspendTask",
    "GET /api/1.0/task/{task_id}/resume": "resumeTask",
    "GET /api/1.0/task/{task_id}/reschedule": "rescheduleTask",
    "GET /api/1.0/task/{task_id}/share": "shareTask",
    "GET /api/1.0/task/{task_id}/unshare": "unshareTask",
    "GET /api/1.0/task/{task_id}/token": "getTaskToken",
    "GET /api/1.0/task/{task_id}/monitor": "listTaskSamples",
    "GET /api/1.0/task/{task_id}/explain": "explainTask",
    "GET /api/1.0/task/{task_id}/log": "getTaskLog",
    "GET /api/1.0/task/{task_id}/attempts": "listAttempts",
    "POST /api/1.0/task/{task_id}/archive": "archiveTask",
    "GET /api/1.0/task/{task_id}/archive": "archiveTaskByGet",
    "DELETE /api/1.0/task/{task_id}/archive": "deleteTask",
    "POST /api/1.0/archive/{days}": "archiveOldTasks",
    "GET /api/1.0/archive/{days}": "archiveOldTasksByGet",
    "DELETE /api/1.0/archive/{days}": "deleteOldTasks",
    "GET /api/1.0/task/{task_id}/files/{path}": "getTaskFile",
    "GET /api/1.0/task/{task_id}/share/{token}/files/{path}": "getSharedTaskFile",
    "GET /api/1.0/user/{user_id}/files/{path}": "getUserFile",
    "PUT /api/1.0/user/{user_id}/files/{path}": "putUserFile",
    "DELETE /api/1.0/user/{user_id}/files/{path}": "deleteUserFile",
    "GET /api/1.0/task/{task_id}/files": "listTaskFiles",
    "GET /api/1.0/task/{task_id}/share/{token}/files": "listSharedTaskFiles",
    "GET /api/1.0/user/{user_id}/files": "listUserFiles",
    "GET /api/1.0/user": "listUsers",
    "GET /api/1.0/user/{user_id}": "getUser",
    "PUT /api/1.0/user/{user_id}": "changeUser",
    "DELETE /api/1.0/user/{user_id}": "deleteUser",
    "DELETE /api/1.0/user/{user_id}/apikey": "replaceApiKey",
    "GET /api/1.0/user/{user_id}/project": "listUserProjects",
    "GET /api/1.0/user/{user_id}/usage": "getUserUsage",
    "GET /api/1.0/user/{user_id}/billing/{year}/{month}": "getUserBilling",
    "DELETE /api/1.0/user/{user_id}/task": "killUserTasks",
    "POST /api/1.0/guest/status": "setGuestStatus",
    "GET /api/1.0/project": "listProjects",
    "POST /api/1.0/project": "createProject",
    "GET /api/1.0/project/{project_id}": "getProject",
    "POST /api/1.0/project/{project_id}": "changeProject",
    "DELETE /api/1.0/project/{project_id}": "deleteProject",
    "GET /api/1.0/project/{project_id}/usage": "getProjectUsage",
    "DELETE /api/1.0/project/{project_id}/quota": "resetProjectQuota",
    "GET /api/1.0/project/{project_id}/billing/{year}/{month}": "getProjectBilling",
    "GET /api/1.0/marketplace/recipe": "listRecipes",
    "GET /api/1.0/marketplace/recipe/{recipe_id}": "getRecipe",
    "POST /api/1.0/marketplace/recipe/{recipe_id}": "createRecipe",
    "PUT /api/1.0/marketplace/recipe/{recipe_id}": "changeRecipe",
    "DELETE /api/1.0/marketplace/recipe/{recipe_id}": "deleteRecipe",
    "GET /api/1.0/app/token": "listAppTokens",
    "POST /api/1.0/app/token": "createAppToken",
    "DELETE /api/1.0/app/token/{token_id}": "deleteAppToken",
    "GET /api/1.0/app/token/{token}/user": "getAppTokenUser",
    "GET /api/1.0/ping": "ping",
    "GET /api/1.0/config": "getConfig",
    "GET /api/1.0/image": "listImages",
    "GET /api/1.0/image/{image}": "getImage",
    "GET /api/1.0/usage": "listNodeUsage",
    "POST /api/1.0/prometheus": "pushMetrics",
    "GET /admin/maintenance": "listMaintenance",
    "POST /admin/maintenance/{node}/{status}": "setMaintenance",
    "GET /admin/node": "listNodes",
    "GET /health": "getHealth",
}


@functools.cache
def document() -> dict[str, Any]:
    return dict(schemas.documents()["openapi.json"])


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def schemas_within(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every nested schema with its path, except in examples and defaults."""
    if isinstance(schema, list):
        for number, one in enumerate(schema):
            yield from schemas_within(one, f"{path}/{number}")
        return
    if not isinstance(schema, dict):
        return
    yield path, schema
    for word, value in schema.items():
        if word in ("properties", "$defs"):
            for name, one in value.items():
                yield from schemas_within(one, f"{path}/{name}")
        elif word not in ("examples", "default", "const", "enum"):
            yield from schemas_within(value, f"{path}/{word}")


def all_schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, schema in document()["components"]["schemas"].items():
        yield from schemas_within(schema, name)
    yield from schemas_within(schemas.documents()["task.json"], "task.json")
    for name, operation in operations():
        for parameter in operation.get("parameters", []):
            yield from schemas_within(parameter["schema"], f"{name} {parameter['name']}")
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                yield from schemas_within(content["schema"], f"{name} {status} {kind}")


def test_bounds_are_in_words_that_validators_know() -> None:
    unknown = {f"{path}: {word}" for path, schema in all_schemas() for word in schema.keys() - KEYWORDS}
    assert unknown == set()


def test_a_number_below_its_bound_does_not_validate() -> None:
    cpu = document()["components"]["schemas"]["RequirementsIn"]["properties"]["cpu"]
    assert cpu["anyOf"][0] == {"exclusiveMinimum": 0, "maximum": 1_000_000, "type": "number"}


def test_every_schema_has_a_plain_name_of_its_own() -> None:
    titles = Counter(schema.get("title") for schema in document()["components"]["schemas"].values())
    assert [title for title, times in titles.items() if times > 1] == []
    assert [name for name in document()["components"]["schemas"] if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []


def test_operations_keep_their_names() -> None:
    named = {name: operation["operationId"] for name, operation in operations()}
    assert {name: operation for name, operation in named.items() if name in OPERATIONS} == OPERATIONS
    assert named.keys() - OPERATIONS.keys() == set(), "a new operation: name it here too"
    assert len(set(named.values())) == len(named)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_summary_begins_with_a_verb(name: str) -> None:
    summary = dict(operations())[name]["summary"]
    assert summary.split()[0] in VERBS
    assert not re.search(r"`|\.$", summary), "Markdown is not rendered in a summary"
    assert len(summary) <= 90


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.startswith("archive")])
def test_archiving_names_the_deletion_in_its_summary(name: str) -> None:
    assert "delete" in dict(operations())[name]["summary"]


def test_every_field_and_every_parameter_is_described() -> None:
    bare = [
        f"{path}.{name}"
        for path, schema in all_schemas()
        for name, one in schema.get("properties", {}).items()
        if not one.get("description")
    ]
    bare += [
        f"{name} {parameter['name']}"
        for name, operation in operations()
        for parameter in operation.get("parameters", [])
        if not parameter.get("description")
    ]
    assert bare == []


def test_every_schema_is_described() -> None:
    assert [name for name, one in document()["components"]["schemas"].items() if not one.get("description")] == []


def test_the_first_operation_on_tasks_creates_one() -> None:
    first = next(operation for _, operation in operations() if operation["tags"] == ["tasks"])
    assert first["operationId"] == "createTask"


def test_a_file_comes_before_a_list_where_an_answer_may_be_either() -> None:
    either = [
        list(operation["responses"]["200"]["content"])
        for _, operation in operations()
        if len(operation["responses"]["200"]["content"]) > 1
        and "text/plain" not in operation["responses"]["200"]["content"]
    ]
    assert len(either) == 3
    assert {kinds[0] for kinds in either} == {"application/octet-stream"}


def test_the_two_kinds_of_tokens_are_told_apart() -> None:
    schemes = document()["components"]["securitySchemes"]
    assert list(schemes) == ["User_token", "Application_token_for_services"]  # no blanks in keys: OpenAPI 3.1, 4.8.7.1
    assert schemes["User_token"]["description"].startswith("User token")
    assert schemes["Application_token_for_services"]["description"].startswith("Application token, for services")
    used = {name for _, operation in operations() for one in operation.get("security", []) for name in one}
    assert used == {*schemes}


# --- shown tasks -----------------------------------------------------------------------------------


def shown() -> Iterator[dict[str, Any]]:
    """Tasks in many states, as the gateway shows them."""
    directories = TaskDirectories(Path("/shared"))
    spec = samples.task().spec.model_copy(
        update={"ports": [80], "network": Network.PUBLIC, "tmpstorage": TmpStorage(size=1, path="/x"), "lifespan": 60.0}
    )
    placed = {"placement": samples.placement(), "attempt": 1}
    over = {**placed, "started_at": samples.NOW, "ended_at": samples.NOW + 1, "exit_code": 3, "ending": Ending.EXITED}
    array = Array(start=1, end=3, step=1, count=3, first_id=8)
    for task in (
        samples.task(7),
        samples.task(7, array=array),
        samples.task(7, TaskStatus.STARTING, spec=spec, **placed),
        samples.task(7, TaskStatus.RUNNING, spec=spec, **placed, started_at=samples.NOW),
        samples.task(7, TaskStatus.OVER, spec=spec, **over),
        samples.task(7, TaskStatus.ARCHIVED, **over),
    ):
        yield wire.shown(task, directories=directories, pending_reason=None)


def unknown_fields(model: type[BaseModel], value: Any, path: str = "") -> Iterator[str]:
    for name, one in value.items():
        field = model.model_fields.get(name)
        if field is None:
            yield f"{path}.{name}"
            continue
        for inner in model_paths.models_of(field.annotation):
            if isinstance(one, dict):
                yield from unknown_fields(inner, one, f"{path}.{name}")


def test_a_task_is_shown_as_it_is_described() -> None:
    for answer in (*shown(), examples.RUNNING, examples.FAILED):
        task_out.TaskOut.model_validate(answer, strict=False)
        assert [*unknown_fields(task_out.TaskOut, answer)] == []
        missing = {name for name in task_out.TaskOut.model_fields if name not in answer}
        assert missing == set()


def test_the_examples_have_the_fields_that_tasks_have() -> None:
    plain = next(one for one in shown() if one["status"]["primary"] == "over")
    for example in (examples.RUNNING, examples.FAILED):
        assert keys(example).keys() == keys(plain).keys()


def keys(value: dict[str, Any]) -> dict[str, Any]:
    """Return the field names of a task and of its parts."""
    return {f"{part}.{name}": None for part, one in value.items() if isinstance(one, dict) for name in one}
