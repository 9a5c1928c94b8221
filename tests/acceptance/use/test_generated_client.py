"""Tests of a client generated from the OpenAPI document: login, submission, wait, files."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.api import schemas
from tests.support import waiting
from tests.support.harness.system import System, running_system

ROOT = Path(__file__).parents[3]
PACKAGE = "generated_client"
CONFIG = f"post_hooks: []\npackage_name_override: {PACKAGE}\n"

pytestmark = [pytest.mark.stores, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the generated package. Warnings of the generator are failures."""
    made = tmp_path_factory.mktemp("generated")
    subprocess.run([ROOT / ".ci" / "generator"], check=True)
    (made / "config.yml").write_text(CONFIG)
    ended = subprocess.run(
        [
            ROOT / ".venv" / "generator" / "bin" / "openapi-python-client",
            *("generate", "--meta", "none", "--fail-on-warning"),
            *("--path", schemas.FOLDER / "openapi.json", "--config", made / "config.yml"),
            *("--output-path", made / PACKAGE),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return made


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running_system() as made:
        yield made


def operation(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.api.{name}")


def test_a_generated_client_sends_a_task_waits_and_reads_a_file(
    folder: Path, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    client, models = importlib.import_module(PACKAGE), importlib.import_module(f"{PACKAGE}.models")
    options = {"base_url": system.base_url, "httpx_args": {"trust_env": False}}

    with client.Client(**options) as nobody:
        session = operation("session.authenticate").sync(
            client=nobody, body=models.Credentials(user="admin", apikey=system.admin_key)
        )
    with client.AuthenticatedClient(token=session.token, **options) as god:
        added = operation("tasks.create_task").sync(
            client=god,
            body=models.TaskIn(
                meta=models.MetaIn(name="generated", tags=["client"]),
                requirements=models.RequirementsIn(cpu=1, ram=0.1),
                container=models.ContainerIn(image="busybox:latest"),
                command=models.CommandIn(
                    cmd="echo hello from $GODOCKER_JID; mkdir -p out; echo deep > out/below.txt; exit 3"
                ),
            ),
        )
        assert isinstance(added, models.Added)

        def over() -> Any:
            found = operation("tasks.get_task_status").sync(added.id, client=god)
            return found if found.status.primary is models.Primary.OVER else None

        status = waiting.until_blocking(over, "the task is over", timeout=60).status
        assert (status.exitcode, status.secondary) == (3, None)

        task = operation("tasks.get_task").sync(added.id, client=god)
        assert (task.meta.name, task.meta.tags, task.requirements.cpu) == ("generated", ["client"], 1)
        assert task.container.meta.state.exit_code == 3
        names = [entry.name for entry in operation("files.list_task_files").sync(added.id, client=god)]
        assert "god.log" in names
        read = operation("files.get_task_file")
        assert read.sync(added.id, "god.log", client=god).payload.read() == f"hello from {added.id}\n".encode()
        assert read.sync(added.id, "out/below.txt", client=god).payload.read() == b"deep\n"
        missing = operation("tasks.get_task").sync_detailed(999_999, client=god)
        assert (missing.status_code, missing.parsed.code) == (404, "task_not_found")
        mine = operation("tasks.list_finished_tasks").sync(client=god)
        assert [one.id for one in mine] == [added.id]
