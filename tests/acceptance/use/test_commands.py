"""The commands of users, each run for real against a running system."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import UID, Place
from tests.support import waiting
from tests.support.harness.system import COMMAND, clean_environment

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.parametrize("module_ground", ["process"], indirect=True, scope="module"),
]

ROOT = Path(__file__).parents[3]
README, PYTHON = ROOT / "README.md", ROOT / "docs" / "python.md"

IMAGE = ("--image", "busybox", "--cpu", "0.1", "--ram", "0.1")
TASK = (*IMAGE, "--")


class Shell:
    """A user's shell: a configuration directory of its own, and nothing of GoDocker in the environment."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder = folder
        self.config = config
        self.environment = {**clean_environment(), "XDG_CONFIG_HOME": str(config), "NO_COLOR": "1"}

    def run(
        self, *arguments: str, code: int = 0, sent: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *arguments],
            input=sent if sent is not None else "",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.folder,
            env={**self.environment, **environment},
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def id_of(self, *arguments: str) -> int:
        return int(self.run("submit", *arguments).stdout)


@pytest.fixture(scope="module")
def key(place: Place) -> str:
    return place.system.add_user("bob", "--uid", str(UID + 5), "--gid", str(UID + 5))


@pytest.fixture(scope="module")
def config(place: Place, key: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration directory in which bob is logged in."""
    folder = tmp_path_factory.mktemp("config")
    login = ("login", place.system.base_url, "--user", "bob", "--key", "-")
    Shell(folder, folder).run(*login, sent=f"{key}\n")
    return folder


@pytest.fixture
def shell(place: Place, key: str, config: Path, tmp_path: Path) -> Iterator[Shell]:
    yield Shell(tmp_path, config)
    with place.system.client(place.system.token("bob", key)) as http:
        http.delete("/api/1.0/user/bob/task")


def test_a_login_is_kept_for_its_owner_alone_until_the_logout(place: Place, key: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path, tmp_path / "config")
    assert "you are not logged in" in shell.run("ls", code=1).stderr
    shell.run("login", place.system.base_url, "--user", "bob", "--key", "-", sent=f"{key}\n")
    file = shell.config / "godocker" / "contexts.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert shell.run("whoami").stdout == f"bob at {place.system.base_url}\n"
    assert "* 127.0.0.1" in shell.run("context").stdout
    shell.run("logout")
    assert key not in file.read_text()
    assert "a token is needed" in shell.run("ls", code=4).stderr


def test_the_environment_stands_above_the_contexts(shell: Shell, place: Place) -> None:
    environment = {"GODOCKER_URL": place.system.base_url, "GODOCKER_TOKEN": place.system.token()}
    assert "GODOCKER_TOKEN" in shell.run("whoami", **environment).stdout


def test_submit_prints_the_id_alone_and_wait_has_the_exit_code_of_the_task(shell: Shell) -> None:
    task_id = shell.id_of(*TASK, "sh", "-c", "echo out; exit 7")
    assert shell.run("wait", str(task_id), code=7).stdout == ""
    assert shell.run("logs", str(task_id)).stdout == "out\n"
    assert shell.run("logs", "last").stdout == "out\n"


def test_run_prints_both_streams_and_ends_as_the_task_does(shell: Shell) -> None:
    done = shell.run("run", *TASK, "sh", "-c", "echo out; echo bad >&2; exit 3", code=3)
    assert done.stdout == "out\n"
    assert "bad\n" in done.stderr


def test_ctrl_c_leaves_the_task_running_and_says_how_to_come_back(shell: Shell) -> None:
    with subprocess.Popen(
        [*COMMAND, "run", *TASK, "sh", "-c", "echo begun; sleep 60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=shell.folder,
        env=shell.environment,
        start_new_session=True,
        # A background job of a shell ignores SIGINT, and so do its children; a terminal's job does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    task_id = int(said.split()[1])
    assert process.returncode == 130
    assert f"godocker logs -f {task_id}" in said
    assert json.loads(shell.run("show", str(task_id), "--json").stdout)["status"]["primary"] == "running"
    shell.run("kill", str(task_id))
    shell.run("wait", str(task_id), code=137)


def test_a_script_holds_its_own_options_and_those_of_the_command_stand_above(shell: Shell) -> None:
    script = shell.folder / "job.sh"
    script.write_text(
        "#!/bin/sh\n#GODOCKER --image busybox --cpu 0.1 --ram 0.1\n#GODOCKER --name 'from script' --tag a\necho hi\n"
    )
    task_id = shell.id_of("--script", "job.sh", "--cpu", "0.2")
    shown = json.loads(shell.run("show", str(task_id), "--json").stdout)
    assert (shown["meta"]["name"], shown["meta"]["tags"], shown["requirements"]["cpu"]) == ("from script", ["a"], 0.2)
    shell.run("wait", str(task_id))
    assert shell.run("logs", str(task_id)).stdout == "hi\n"


@pytest.mark.parametrize(
    "content",
    [
        "image: busybox\ncpu: 0.1\nram: 0.1\ncommand: echo file\n",
        '{"image": "busybox", "cpu": 0.1, "ram": 0.1, "command": "echo file"}',
        '{"container": {"image": "busybox"}, "requirements": {"cpu": 0.1, "ram": 0.1}, "command": {"cmd": "echo file"}}',
    ],
)
def test_a_task_file_is_yaml_or_json_in_words_or_as_a_task_object(shell: Shell, content: str) -> None:
    (shell.folder / "task.yml").write_text(content)
    task_id = shell.id_of("task.yml")
    shell.run("wait", str(task_id))
    assert shell.run("logs", str(task_id)).stdout == "file\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"image: [\n", "task.yml: line 2: "),
        (b"\xff\xfe", "task.yml: is not text in UTF-8"),
        (b"image: busybox\ncomand: x\n", "comand: is not a word of a task; did you mean command?"),
        (None, "task.yml: No such file or directory"),
    ],
)
def test_a_task_file_that_cannot_be_read_is_refused_in_one_line(shell: Shell, content: bytes | None, said: str) -> None:
    if content is not None:
        (shell.folder / "task.yml").write_bytes(content)
    stderr = shell.run("submit", "task.yml", code=2).stderr
    assert stderr.startswith(f"godocker: {said}")
    assert len(stderr.splitlines()) == 1


def test_nodes_are_listed_with_what_they_have(shell: Shell) -> None:
    waiting.until_blocking(lambda: shell.run("usage", "-o", "json").stdout != "[]\n", "the node is seen", timeout=60)
    header, row = shell.run("usage").stdout.splitlines()
    assert header.split() == ["name", "cpu", "memory", "disk"]
    assert re.search(r" [0-9.]+/16 ", row)
    assert "64 GB" in row


def test_lists_are_whole_in_a_pipe_and_programs_get_the_servers_objects(shell: Shell) -> None:
    name = "n" * 200
    task_id = shell.id_of("--name", name, *TASK, "sleep", "60")
    for form in ("table", "wide", "csv", "json", "jsonl"):
        said = shell.run("ls", "-o", form).stdout
        assert name in said
        assert "\x1b" not in said
    assert [one["id"] for one in json.loads(shell.run("ls", "-o", "json").stdout)] == [task_id]
    row = next(csv.DictReader(io.StringIO(shell.run("ls", "-o", "csv").stdout)))
    assert (row["id"], row["name"]) == (str(task_id), name)
    assert shell.run("ls", "--columns", "id,state").stdout.splitlines()[0].split() == ["id", "state"]
    assert "there is no nope" in shell.run("ls", "--columns", "nope", code=2).stderr


def test_filters_of_a_list(shell: Shell) -> None:
    good, bad = shell.id_of("--tag", "x", *TASK, "true"), shell.id_of(*TASK, "false")
    shell.run("wait", str(good))
    shell.run("wait", str(bad), code=1)
    listed = lambda *options: [one["id"] for one in json.loads(shell.run("ls", "-o", "json", *options).stdout)]  # noqa: E731
    assert bad in listed("--failed")
    assert good not in listed("--failed")
    assert listed("-a", "--tag", "x") == [good]


def test_children_of_an_array_are_named_by_their_index(shell: Shell) -> None:
    parent = shell.id_of("--array", "3,7-9", *TASK, "echo $GODOCKER_TASK_ID; exit $((GODOCKER_TASK_ID == 8))")
    shell.run("wait", str(parent), code=1)
    assert shell.run("logs", f"{parent}.7").stdout == "7\n"
    assert shell.run("wait", f"{parent}[3,7,9]").stdout == ""
    shell.run("wait", f"{parent}.8", code=1)
    assert "no child with the index 4" in shell.run("logs", f"{parent}.4", code=2).stderr


def test_tasks_are_held_released_suspended_resumed_killed_archived_and_deleted(shell: Shell) -> None:
    task_id = str(shell.id_of("--hold", *TASK, "sleep", "60"))
    state = lambda: json.loads(shell.run("show", task_id, "--json").stdout)["status"]  # noqa: E731
    assert state()["primary"] == "created"
    shell.run("release", task_id)
    waiting.until_blocking(lambda: state()["primary"] == "running", "it runs", timeout=60)
    shell.run("suspend", task_id)
    waiting.until_blocking(lambda: state()["secondary"] == "suspended", "it is suspended", timeout=60)
    shell.run("resume", task_id)
    waiting.until_blocking(lambda: state()["secondary"] == "resumed", "it is resumed", timeout=60)
    shell.run("kill", task_id)
    shell.run("wait", task_id, code=137)
    shell.run("archive", task_id)
    shell.run("rm", task_id)
    shell.run("show", task_id, code=3)


def test_files_are_listed_and_copied_both_ways(shell: Shell) -> None:
    task_id = shell.id_of(*TASK, "mkdir results; seq 1 100000 > results/numbers; cat $GODOCKER_DATA/input 2>/dev/null")
    shell.run("wait", str(task_id), code=1)
    assert "numbers" in shell.run("ls", f"{task_id}:results").stdout
    shell.run("cp", f"{task_id}:results/numbers", ".")
    assert (shell.folder / "numbers").read_text().count("\n") == 100000
    assert not list(shell.folder.glob("*.part"))
    shell.run("cp", "numbers", "me:input")
    task_id = shell.id_of(*TASK, "wc -l < $GODOCKER_DATA/input")
    shell.run("wait", str(task_id))
    assert shell.run("logs", str(task_id)).stdout.strip() == "100000"
    shell.run("cp", f"{task_id}:nothing", ".", code=3)


def test_a_dry_run_creates_nothing_and_says_whether_it_could_ever_run(shell: Shell) -> None:
    assert json.loads(shell.run("submit", "--dry-run", *TASK, "true").stdout)["explanation"]["verdict"] != "never"
    assert shell.run("ls", "-o", "json").stdout.strip() == "[]"


def test_an_explanation_is_sentences_for_people(shell: Shell) -> None:
    gate = shell.id_of(*TASK, "sleep", "60")
    task_id = shell.id_of("--after", str(gate), *TASK, "true")
    assert str(gate) in shell.run("explain", str(task_id)).stdout
    assert json.loads(shell.run("explain", str(task_id), "--json").stdout)["verdict"] == "waiting"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("ls",), 0),
        (("show", "999999"), 3),
        (("logs", "999999"), 3),
        (("explain", "999999"), 3),
        (("kill", "999999"), 3),
        (("show", "x"), 2),
        (("submit", "--image", "busybox"), 2),
        (("submit", "--nope"), 2),
        (("submit", "--image", "busybox", "--cpu", "-4", "--", "true"), 5),
        (("submit", "--image", "busybox", "--project", "nope", "--", "true"), 5),
        (("kill", "1,2"), 2),
        (("nope",), 2),
    ],
)
def test_exit_codes(shell: Shell, arguments: tuple[str, ...], code: int) -> None:
    done = shell.run(*arguments, code=code)
    if code not in (0, 2):
        assert len(done.stderr.strip().splitlines()) == 1
        assert "(request " in done.stderr


def test_a_server_that_is_not_there_a_wrong_key_and_a_state_that_forbids_it(shell: Shell, place: Place) -> None:
    nobody = {"GODOCKER_URL": "http://127.0.0.1:9", "GODOCKER_TOKEN": "x", "GODOCKER_PATIENCE": "1"}
    assert "does not answer" in shell.run("ls", code=7, **nobody).stderr
    shell.run("login", place.system.base_url, "--user", "bob", "--key", "wrong", "--name", "other", code=4)
    task_id = shell.id_of(*TASK, "sleep", "60")
    shell.run("archive", str(task_id), code=6)
    shell.run("wait", str(task_id), "--timeout", "0.5", code=124)
    said = json.loads(shell.run("show", "999999", code=3, GODOCKER_JSON_ERRORS="1").stderr)
    assert said["error"]["code"] == "task_not_found"


def test_the_first_task_of_the_readme_says_hello(shell: Shell, place: Place) -> None:
    text = README.read_text().split("## A first task")[1]
    block = next(re.finditer(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))[1]
    script = block.replace("http://127.0.0.1:6543", place.system.base_url).replace("THE KEY", place.system.admin_key)
    environment = {**shell.environment, "XDG_CONFIG_HOME": str(shell.folder / "first")}
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=README.parent,
        timeout=120,
    )
    assert re.fullmatch(r"Hello from task [0-9]+\n", done.stdout), done.stderr


def test_ten_lines_of_python_as_the_page_shows_them(shell: Shell, place: Place, key: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PYTHON.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        script = block.replace("http://godocker.lab:8080", place.system.base_url).replace("THE KEY", key)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            env=shell.environment,
            timeout=120,
        )
        assert (done.stdout, done.stderr) == ("done\n1\n4\n9\n", "")
