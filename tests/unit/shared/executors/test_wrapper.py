"""The wrapper, run by the shells that images have."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.executors import types, wrapper
from shared.models import attempt_files
from shared.models.attempt_files import Result
from shared.storage import directories
from tests.support import waiting

BUSYBOX = Path("/bin/busybox")
SHELLS = [
    pytest.param(["/bin/sh"], id="sh"),
    pytest.param(
        ["/bin/bash", "--posix"], id="bash", marks=pytest.mark.skipif(not Path("/bin/bash").exists(), reason="no bash")
    ),
    pytest.param([str(BUSYBOX), "sh"], id="ash", marks=pytest.mark.skipif(not BUSYBOX.exists(), reason="no busybox")),
]


class Wrapped:
    """A task's directory with the wrapper started in it."""

    def __init__(self, directory: Path, shell: list[str]) -> None:
        self.directory = directory
        self._shell = shell
        self.processes: list[subprocess.Popen[bytes]] = []
        (directory / attempt_files.STATE).mkdir()

    def start(self, script: str, *, attempt: int = 1) -> subprocess.Popen[bytes]:
        path = self.directory / "cmd.sh"
        if not path.exists() or path.read_text() != script:  # a running script must not be truncated
            path.write_text(script)
            path.chmod(0o700)
        handle = types.Handle("n1", 7, attempt)
        run = types.Run(handle, "", os.getuid(), os.getgid(), (), 1, 1, str(self.directory), script.startswith("#!"))
        environment = {"PATH": os.environ["PATH"]} | wrapper.environment(run, workdir=str(self.directory), home=None)
        command = [*self._shell, *wrapper.argv(run)[1:]]
        # In a directory that is not the task's, as containers and processes start.
        made = subprocess.Popen(command, env=environment, cwd="/", start_new_session=True)
        self.processes.append(made)
        return made

    def result(self, attempt: int = 1) -> Result | None:
        return directories.read_result(self.directory, attempt)

    def read(self, name: str) -> str:
        return (self.directory / name).read_text()


@pytest.fixture(params=SHELLS)
def wrapped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wrapped]:
    made = Wrapped(tmp_path, request.param)
    yield made
    for process in made.processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_exit_code_is_that_of_the_command_and_is_written(wrapped: Wrapped, code: int) -> None:
    process = wrapped.start(f"exit {code}")
    assert process.wait(10) == code
    assert wrapped.read(".godocker/exit.1") == f"{code}\n"
    result = wrapped.result()
    assert result is not None
    assert (result.exit_code, result.pid) == (code, process.pid)


def test_a_command_killed_by_a_signal_has_its_number(wrapped: Wrapped) -> None:
    assert wrapped.start("kill -KILL $$").wait(10) == 137
    assert wrapped.read(".godocker/exit.1") == "137\n"


def test_output_and_times_are_in_their_files(wrapped: Wrapped) -> None:
    wrapped.start("echo out; echo err >&2").wait(10)
    assert (wrapped.read("god.log"), wrapped.read("god.err")) == ("out\n", "err\n")
    begun, ended = map(int, wrapped.read("god.info").split())
    assert time.time() - 20 < begun <= ended <= time.time()


def test_an_attempt_is_taken_once(wrapped: Wrapped) -> None:
    wrapped.start("echo one >> witness; exit 3").wait(10)
    assert wrapped.start("echo two >> witness").wait(10) == attempt_files.TAKEN
    assert wrapped.read("witness") == "one\n"
    assert wrapped.read(".godocker/exit.1") == "3\n"


def test_of_many_wrappers_of_an_attempt_one_runs_the_command(wrapped: Wrapped) -> None:
    processes = [wrapped.start("echo once >> witness; sleep 0.1") for _ in range(8)]
    assert sorted(process.wait(10) for process in processes) == [0, *[attempt_files.TAKEN] * 7]
    assert wrapped.read("witness") == "once\n"


def test_another_attempt_runs_and_keeps_what_the_first_one_left(wrapped: Wrapped) -> None:
    wrapped.start("exit 3").wait(10)
    assert wrapped.start("exit 4", attempt=2).wait(10) == 4
    assert (wrapped.read(".godocker/exit.1"), wrapped.read(".godocker/exit.2")) == ("3\n", "4\n")


def test_a_script_may_name_its_interpreter(wrapped: Wrapped) -> None:
    assert wrapped.start("#!/bin/cat\nprinted\n").wait(10) == 0
    assert wrapped.read("god.log") == "#!/bin/cat\nprinted\n"


@pytest.mark.parametrize(("interpreter", "code"), [("/bin/missing", (126, 127)), ("/etc/passwd", (126, 127))])
def test_an_interpreter_that_cannot_be_run_is_reported(
    wrapped: Wrapped, interpreter: str, code: tuple[int, ...]
) -> None:
    assert wrapped.start(f"#!{interpreter}\n").wait(10) in code
    assert wrapped.read("god.err")


def test_a_directory_that_is_not_there_is_no_attempt(wrapped: Wrapped, tmp_path: Path) -> None:
    (tmp_path / attempt_files.STATE).rmdir()
    assert wrapped.start("exit 0").wait(10) == attempt_files.TAKEN
    assert wrapped.result() is None


def test_sigterm_goes_on_to_the_command(wrapped: Wrapped) -> None:
    process = wrapped.start("trap 'echo heard > heard; exit 9' TERM; echo > ready; while :; do sleep 0.05; done")
    waiting.until_blocking((wrapped.directory / "ready").exists, "the command is ready")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 9
    assert wrapped.read(".godocker/exit.1") == "9\n"
    assert wrapped.read("heard") == "heard\n"


def test_a_command_that_goes_on_after_sigterm_is_waited_for(wrapped: Wrapped) -> None:
    process = wrapped.start(
        "trap 'echo heard > heard' TERM; echo > ready; while [ ! -e end ]; do sleep 0.05; done; exit 5"
    )
    waiting.until_blocking((wrapped.directory / "ready").exists, "the command is ready")
    process.send_signal(signal.SIGTERM)
    waiting.until_blocking((wrapped.directory / "heard").exists, "the signal was heard")
    (wrapped.directory / "end").touch()
    assert process.wait(10) == 5
    assert wrapped.read(".godocker/exit.1") == "5\n"


def test_sigterm_is_never_lost_however_early_it_comes(wrapped: Wrapped) -> None:
    """Each try sends it a little later; a lost signal would leave the command running for ten seconds."""
    for attempt in range(1, 41):
        process = wrapped.start("exec sleep 10", attempt=attempt)
        if attempt > 5:  # the first ones hit the shell before its trap
            waiting.until_blocking(
                lambda attempt=attempt: (wrapped.directory / attempt_files.started_file(attempt)).exists(),
                "it began",
                interval=0,
            )
            until = time.perf_counter() + attempt * 50e-6
            while time.perf_counter() < until:
                pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(8) in (143, -signal.SIGTERM)
        result = wrapped.result(attempt)
        # A wrapper that took the attempt leaves its code.
        assert result is None or result.exit_code == 143


@pytest.mark.parametrize("code", [9, 127, 143])
def test_the_code_of_a_command_that_ends_by_sigterm_is_its_own(wrapped: Wrapped, code: int) -> None:
    for attempt in range(1, 13):
        process = wrapped.start(
            f"trap 'exit {code}' TERM; echo > ready.{attempt}; while :; do :; done", attempt=attempt
        )
        waiting.until_blocking(
            lambda attempt=attempt: (wrapped.directory / f"ready.{attempt}").exists(), "it is ready", interval=0.001
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == code
        assert wrapped.read(attempt_files.exit_file(attempt)) == f"{code}\n"


@pytest.mark.parametrize("wrapped", [SHELLS[2]], indirect=True)
def test_a_signal_to_the_whole_group_does_not_change_the_code(wrapped: Wrapped) -> None:
    """Service managers send it so: the command's end and the signal fall into one `wait`, which then returns 143."""
    for attempt in range(1, 13):
        process = wrapped.start(f"trap 'exit 9' TERM; echo > ready.{attempt}; while :; do :; done", attempt=attempt)
        waiting.until_blocking(
            lambda attempt=attempt: (wrapped.directory / f"ready.{attempt}").exists(), "it is ready", interval=0.001
        )
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(10) == 9


def test_a_planted_link_is_not_taken_for_an_attempt(wrapped: Wrapped, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (tmp_path / attempt_files.STATE / "started.1").symlink_to(outside)
    assert wrapped.start("exit 0").wait(10) == attempt_files.TAKEN
    assert not outside.exists()


def test_our_variables_in_the_environment_cannot_be_overridden() -> None:
    names = (
        "GODOCKER_JID",
        "GODOCKER_PWD",
        "GODOCKER_HOME",
        "GODOCKER_RUN",
        "GODOCKER_CPUS",
        "GODOCKER_MEMORY_MB",
        "HOME",
    )
    run = types.Run(
        types.Handle("n1", 7, 2), "", 1, 1, (), 1, 2**29, "/x", False, environment=dict.fromkeys(names, "mine")
    )
    made = wrapper.environment(run, workdir="/work", home="/home")
    assert made == {
        "GODOCKER_JID": "7",
        "GODOCKER_PWD": "/work",
        "GODOCKER_HOME": "/home",
        "HOME": "/home",
        "GODOCKER_RUN": "god-7-2",
        "GODOCKER_CPUS": "1",
        "GODOCKER_MEMORY_MB": "512",
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/bin/sh", "-c", "…", "god-7-1", "1", "shell"], True),
        (["/bin/sh", "-c", "…", "god-7-1", "2", "shell"], False),
        (["/bin/sh", "-c", "…", "god-7-11", "1", "shell"], False),
        (["/bin/sh", "god-7-1", "1"], False),
        (["vi", "god-7-1", "1"], False),
        ([], False),
    ],
)
def test_a_wrapper_is_known_by_its_command_line(arguments: list[str], expected: bool) -> None:
    assert wrapper.is_of(arguments, "god-7-1", 1) is expected
