"""The inside of a container, as `docs/your-task.md` describes it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from godocker.docker import local_engine
from shared.executors import types
from shared.models import attempt_files
from shared.models.task import Place
from tests.support.harness import rigs, systems
from tests.support.servers import engine as fixtures

pytestmark = pytest.mark.docker

MB = 1024**2
PLAIN = "plain-system"
WITH_SETTINGS = "with-settings"
LINK = {"bin/sh": "dash"}
DASH = Path(shutil.which("dash") or "/bin/dash")


@pytest.fixture
async def rig(docker_engine: local_engine.LocalEngine) -> AsyncIterator[rigs.Rig]:
    async with rigs.rig("docker", docker_engine.url) as made:
        yield made


async def said(rig: rigs.Rig, script: str, **fields: object) -> list[str]:
    """Return the lines that a script printed."""
    run = await rig.start(script, **fields)
    await rig.ended(run)
    return rig.file(run, "god.log").read_text().splitlines()


async def test_a_task_knows_itself_by_a_name_that_leads_to_it(rig: rigs.Rig) -> None:
    run = await rig.start("hostname; cat /etc/hosts; ls /sys/class/net")
    await rig.ended(run)
    name, *rest = rig.file(run, "god.log").read_text().splitlines()
    assert name == f"task-{run.handle.task_id}"
    assert ["127.0.0.1", name] in [line.split() for line in rest]
    assert rest[-1] == "lo"


async def test_shared_memory_is_as_large_as_the_memory_and_counts_as_such(rig: rigs.Rig) -> None:
    lines = await said(rig, "df -m /dev/shm | tail -n 1", memory=96 * MB)
    assert int(lines[0].split()[1]) == 96
    run = await rig.start("head -c 48000000 /dev/zero > /dev/shm/half; echo $?", memory=96 * MB)
    await rig.ended(run)
    assert rig.file(run, "god.log").read_text() == "0\n"
    run = await rig.start("head -c 200000000 /dev/zero > /dev/shm/all; echo $?", memory=64 * MB)
    ended = await rig.ended(run)
    result = await rig.tasks.read_result(Place(run.handle.task_id), 1)
    words = result.words if result else frozenset()
    assert (
        ended.out_of_memory
        or attempt_files.Word.OUT_OF_MEMORY in words
        or rig.file(run, "god.log").read_text() != "0\n"
    )


async def test_cores_and_memory_are_in_the_environment(rig: rigs.Rig) -> None:
    script = 'echo "$GODOCKER_CPUS $GODOCKER_MEMORY_MB $OMP_NUM_THREADS"'
    assert await said(rig, script, cpus=0.5, memory=64 * MB) == ["0.5 64 1"]
    assert await said(rig, script, cpus=2.0, memory=96 * MB) == ["2 96 2"]
    assert await said(rig, script, cpus=2.0, environment={"OMP_NUM_THREADS": "7"}) == ["2 64 7"]


async def test_nproc_shows_the_cores_of_the_node(rig: rigs.Rig) -> None:
    (shown,) = await said(rig, "nproc", cpus=0.5)
    (report,) = await rig.executor.nodes()
    assert int(shown) == report.cpus


async def test_the_user_has_a_name_and_entries_where_the_image_has_none(rig: rigs.Rig) -> None:
    lines = await said(rig, "id; echo $USER $LOGNAME; grep -c . /etc/passwd", login="alice", groups=(30001,))
    assert lines == [
        f"uid={rigs.UID}(alice) gid={rigs.GID}(alice) groups={rigs.GID}(alice),30001(g30001)",
        "alice alice",
        "2",
    ]


async def test_the_users_of_an_image_keep_their_names(rig: rigs.Rig, docker_engine: local_engine.LocalEngine) -> None:
    docker_engine.import_image(systems.with_shell("dash"), name=PLAIN)
    lines = await said(rig, "cat /etc/passwd /etc/group; id", image=PLAIN, uid=33, gid=33, login="alice")
    assert "www:x:33:33:www:/srv:/bin/false" in lines
    assert not [line for line in lines[:-1] if "alice" in line]
    # An account of the image has that name and keeps it.
    lines = await said(rig, "grep -h www /etc/passwd /etc/group", image=PLAIN, login="www")
    assert lines[0] == "www:x:33:33:www:/srv:/bin/false"
    assert f"u{rigs.UID}:x:{rigs.UID}:{rigs.GID}:u{rigs.UID}:{types.WORKDIR}:/bin/sh" in await said(
        rig, "cat /etc/passwd", image=PLAIN, login="www"
    )


async def test_a_name_that_no_passwd_can_hold_is_replaced_by_the_number(rig: rigs.Rig) -> None:
    lines = await said(rig, "tail -n 1 /etc/passwd", login="x:0:0::/:/bin/sh\nroot2")
    assert lines == [f"u{rigs.UID}:x:{rigs.UID}:{rigs.GID}:u{rigs.UID}:{types.WORKDIR}:/bin/sh"]


async def test_files_of_a_task_are_readable_for_all_who_may_enter_its_directory(rig: rigs.Rig) -> None:
    assert await said(rig, "umask; touch made; stat -c %a made") == ["0022", "644"]


async def test_resource_limits_do_not_depend_on_the_daemon() -> None:
    options = ("--default-ulimit", "nofile=64:64", "--default-ulimit", "nproc=100:100")
    local = local_engine.LocalEngine(Path(tempfile.mkdtemp(prefix="god-engine-")), options=options)
    try:
        local_engine.install()
        local.start()
        local.import_image(local_engine.busybox_archive(), name="busybox")
    except local_engine.EngineUnavailable as error:
        local.take_down()
        fixtures.cannot_have("docker", str(error))
    try:
        async with rigs.rig("docker", local.url) as rig:
            assert await said(rig, "ulimit -n; ulimit -Hn; ulimit -c") == ["8192", "16384", "0"]
    finally:
        local.take_down()


async def test_the_image_s_setup_applies_except_its_entry_point(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine
) -> None:
    with docker_engine.client() as client:
        made = client.post(
            "/images/create",
            params={
                "fromSrc": "-",
                "repo": WITH_SETTINGS,
                "tag": "latest",
                "changes": [
                    "ENV GREETING=hello",
                    "ENV OMP_NUM_THREADS=3",
                    "WORKDIR /srv",
                    'ENTRYPOINT ["/bin/false"]',
                    "VOLUME /data",
                ],
            },
            content=local_engine.busybox_archive(),
            headers={"Content-Type": "application/x-tar"},
        )
        made.raise_for_status()
    lines = await said(rig, "pwd; echo $GREETING $OMP_NUM_THREADS; ls -d /data", image=WITH_SETTINGS)
    assert lines == [types.WORKDIR, "hello 3", "/data"]


# --- ends that the image prevents --------------------------------------------------------------------

_ARM = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\x00\xb7\x00" + b"\0" * 200


@pytest.mark.parametrize(
    ("name", "archive", "said"),
    [
        ("no-shell", lambda: systems.archive(), "has no /bin/sh, which is needed to run the command"),
        ("closed-shell", lambda: systems.archive(files={"bin/sh": (b"\x7fELF", 0o644)}), "has a /bin/sh that is not executable"),
        ("no-program", lambda: systems.archive(files={"bin/sh": (b"nothing", 0o755)}), "has a /bin/sh that is not a program"),
        ("other-processor", lambda: systems.archive(files={"bin/sh": (_ARM, 0o755)}), "is for another processor"),
        ("no-loader", lambda: systems.archive(LINK, files={"bin/dash": (DASH.read_bytes(), 0o755)}), "which is missing"),
    ],
)  # fmt: skip
async def test_an_image_that_cannot_run_a_shell_is_recognized(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine, name: str, archive: object, said: str
) -> None:
    assert callable(archive)
    docker_engine.import_image(archive(), name=name)
    run = await rig.start("exit 0", image=name)
    ended = await rig.ended(run)
    assert ended.exit_code in (1, 126, 127)
    assert await rig.tasks.read_result(Place(run.handle.task_id), 1) is None
    around = await rig.executor.circumstances(run.handle, image=True)
    assert said in (around.shell or ""), around


async def test_an_image_that_can_is_not_blamed(rig: rigs.Rig, docker_engine: local_engine.LocalEngine) -> None:
    docker_engine.import_image(systems.with_shell("dash"), name=PLAIN)
    for image in (rigs.IMAGE, PLAIN):
        run = await rig.start("exit 127", image=image)
        await rig.ended(run)
        assert await rig.executor.circumstances(run.handle, image=True) == types.Circumstances()


# --- the first line of a script ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("#!/bin/bash\nexit 0\n", 127, {attempt_files.Word.NO_INTERPRETER}),
        ("#!  /bin/bash -e\nexit 0\n", 127, {attempt_files.Word.NO_INTERPRETER}),
        ("#!/bin/sh\nexit 127\n", 127, set()),
        ("#!/bin/sh\nexit 126\n", 126, set()),
        ("exit 127\n", 127, set()),
        ("nothing-of-that-name\n", 127, set()),
    ],
)
async def test_a_missing_interpreter_is_distinguished_from_a_missing_program(
    rig: rigs.Rig, script: str, code: int, words: set[attempt_files.Word]
) -> None:
    run = await rig.start(script)
    assert (await rig.ended(run)).exit_code == code
    result = await rig.tasks.read_result(Place(run.handle.task_id), 1)
    assert result is not None
    assert result.words == words


async def test_a_noexec_directory_is_reported(rig: rigs.Rig) -> None:
    run = await rig.run("#!/bin/sh\nexit 0\n")
    with noexec(run.directory):
        await rig.executor.prepare(run)
        await rig.executor.start(run)
        assert (await rig.ended(run)).exit_code == 126
    result = await rig.tasks.read_result(Place(run.handle.task_id), 1)
    assert result is not None
    assert result.words == {attempt_files.Word.NO_EXEC}


@contextlib.contextmanager
def noexec(directory: str) -> Iterator[None]:
    """Yield a directory that is mounted `noexec`."""
    subprocess.run(["mount", "--bind", directory, directory], check=True, timeout=10)
    try:
        subprocess.run(["mount", "-o", "remount,bind,noexec", directory], check=True, timeout=10)
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=False, timeout=10)


# --- somebody else -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "command"),
    [("stop?t=5", "docker stop"), ("kill", "docker kill (SIGKILL)"), ("kill?signal=SIGINT", "docker kill (SIGINT)")],
)
async def test_commands_of_others_are_reported(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine, path: str, command: str
) -> None:
    run = await rig.start("trap 'exit 130' INT; echo > ready; while :; do sleep 0.1; done")
    await rig.written(run, "ready")
    with docker_engine.client() as client:
        client.post(f"/containers/{run.handle.name}/{path}").raise_for_status()
    await rig.ended(run)
    around = await rig.executor.circumstances(run.handle, image=False)
    assert list(around.commands) == [command]


async def test_nobody_is_blamed_where_nobody_did_anything(rig: rigs.Rig) -> None:
    run = await rig.start("exit 137")
    await rig.ended(run)
    assert await rig.executor.circumstances(run.handle, image=False) == types.Circumstances()


# --- what an engine has ------------------------------------------------------------------------------


async def test_a_task_may_ask_for_more_than_the_engine_has(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine
) -> None:
    (report,) = await rig.executor.nodes()
    run = await rig.start("exit 0", cpus=report.cpus + 6, memory=report.memory * 2)
    assert (await rig.ended(run)).exit_code == 0
    with docker_engine.client() as client:
        config = client.get(f"/containers/{run.handle.name}/json").json()["HostConfig"]
    assert (config["NanoCpus"], config["Memory"]) == (report.cpus * 10**9, report.memory)
