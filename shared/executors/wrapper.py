"""
The shell program that runs a task's command inside its container, or as a process.

It needs `/bin/sh` and nothing else, and is passed as an argument, so that no file of it stands where a task could
change it. It does four things that are only possible from inside:

* it takes the attempt: creating `.godocker/started.<attempt>` fails where it exists (`set -C` opens with O_EXCL, POSIX
  XCU 2.7.2), so the command of one attempt runs at most once, even if the container is started a second time. A
  scheduler that slept while another took over can do that;
* it leaves the exit code and the times in files, so that a removed container still has a result. The code's line
  ends with a newline: without it the write is incomplete and ignored;
* it sends output to `god.log` and `god.err`, so that no log driver stands in the way;
* it passes SIGTERM on to the command, starting before it takes the attempt, so that a taken attempt leaves an exit code. A
  signal that reaches the forked shell before that shell has reset its inherited trap is lost; so the trap first creates a
  file, which the forked shell checks once the next signal would end it. A `wait` that the trap interrupted returns 143
  whatever the command's code is, even if the command had ended by then, so it is repeated: shells remember the code.

It is started in the task's directory, which need not be reachable by its name: a folder above may be closed to the user. If the
directory is missing, the attempt cannot be taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from shared.executors import types

_PROGRAM = """\
stop= child=
trap 'stop=1 hit=1; { : > ".godocker/stop.$1"; } 2>/dev/null; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM
cd "$GODOCKER_PWD" 2>/dev/null
set -C
{ echo "$$" > ".godocker/started.$1"; } 2>/dev/null || exit 125
set +C
[ -z "$stop" ] || : > ".godocker/stop.$1"
date +%s > god.info 2>/dev/null
case $2 in
shebang) ([ -e ".godocker/stop.$1" ] && exit 143; exec ./cmd.sh) > god.log 2> god.err & ;;
*) ([ -e ".godocker/stop.$1" ] && exit 143; exec /bin/sh ./cmd.sh) > god.log 2> god.err & ;;
esac
child=$!
[ -z "$stop" ] || kill -TERM "$child" 2>/dev/null
while :; do
hit=
wait "$child"
code=$?
[ -n "$hit" ] || break
done
date +%s >> god.info 2>/dev/null
echo "$code" > ".godocker/exit.$1"
exit "$code"
"""


def argv(run: types.Run) -> list[str]:
    """Return the command line of a run. It contains the run's name, which identifies the process."""
    mode = "shebang" if run.shebang else "shell"
    return ["/bin/sh", "-c", _PROGRAM, run.handle.name, str(run.handle.attempt), mode]


def is_of(arguments: Sequence[str], name: str, attempt: int) -> bool:
    """Return whether a command line is that of this attempt's wrapper."""
    return list(arguments[:2]) == ["/bin/sh", "-c"] and list(arguments[3:5]) == [name, str(attempt)]


def environment(run: types.Run, *, workdir: str, home: str | None, data: str | None = None) -> dict[str, str]:
    """
    Return the environment of a run, with the variables that scripts for GO-Docker rely on. `workdir`, `home` and `data` (the
    personal storage) are paths as the task sees them.
    """
    return {
        **run.environment,
        "GODOCKER_JID": str(run.handle.task_id),
        "GODOCKER_PWD": workdir,
        "GODOCKER_HOME": home or workdir,
        "HOME": home or workdir,
        "GODOCKER_RUN": run.handle.name,
        "GODOCKER_CPUS": f"{run.cpus:g}",
        "GODOCKER_MEMORY_MB": str(run.memory // 1024**2),
        **({"USER": run.login, "LOGNAME": run.login} if run.login else {}),
        **({"GODOCKER_DATA": data} if data else {}),
        **({"GODOCKER_GPUS": ",".join(run.gpus)} if run.gpus else {}),
        **({"GODOCKER_PORTS": ",".join(str(port.host) for port in run.ports)} if run.ports else {}),
        **{f"GODOCKER_PORT_{port.container}": str(port.host) for port in run.ports},
    }


def threads(cpus: float) -> int:
    """Return `OMP_NUM_THREADS` of a run, unless its owner or its image sets it."""
    return max(1, math.floor(cpus))
