"""
The shell program that runs a task's command inside its container.

It needs `/bin/sh` and nothing else (`date` and `sleep` are optional), and is passed as an argument, so that no file of it
stands where a task could change it. Three shells share the work (`docs/discussions.md` says why):

* the outer one, the child of the engine's init, takes the attempt: creating `started.<attempt>` fails where it exists
  (`set -C` opens with O_EXCL, POSIX XCU 2.7.2), so the command of one attempt runs at most once, even if the container is
  started a second time. It reserves room for the end in `exit.<attempt>` before the command begins, waits for the two
  others, and then a bounded time for remaining processes, which may hold the task's output;
* the runner runs the command in its foreground, so that the command ignores no signal, and passes its exit code on
  through a pipe, whatever the task does to files;
* the listener waits for the code in a `read`, which a signal interrupts, unlike a `wait` for a foreground child. The stop
  signal, which init passes to the whole group, is SIGURG: processes ignore it by default. The listener turns it into
  one SIGTERM for all processes of the container's PID namespace except itself and init.

The files record the end a second time, for a container that is removed. They have a directory of their own, mounted beside the
task's: a task that cleans its own directory must not free its attempt to be taken again. The line of an end is the code,
then words about it (`attempt_files.Word`), written over the reserved room, and ends with a newline.
"""

from __future__ import annotations

from shared.executors import types, wrapper

STOP_SIGNAL = "SIGURG"  #: of a container; the wrapper turns it into SIGTERM

#: Makes the engine's init, tini, pass signals to its child's whole group. The command does not see it.
INIT_ENVIRONMENT = {"TINI_KILL_PROCESS_GROUP": "1"}

POLL = 0.05  #: seconds between two checks for remaining processes


_PROGRAM = """\
state=$2 mode=$3 threads=$4 left=$5 grace=$6 stop=
trap 'stop=" stopped"' URG
trap '' HUP INT QUIT ALRM TERM USR1 USR2
unset TINI_KILL_PROCESS_GROUP
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$threads}"
umask 022
cd "$GODOCKER_PWD" 2>/dev/null
set -C
{ echo "$$" > "$state/started.$1" && echo "________________________________________" > "$state/exit.$1"; } 2>/dev/null ||
exit 125
set +C
{
trap : HUP INT QUIT ALRM TERM USR1 USR2
if true >> god.log 2>> god.err; then
case $mode in
shebang) ./cmd.sh >> god.log 2>> god.err ;;
*) /bin/sh ./cmd.sh >> god.log 2>> god.err ;;
esac
echo "$?"
else
echo 125 output
fi
} 2>/dev/null | {
trap 'hit=1; trap "hit=1" URG; kill -TERM -1' URG
date +%s > god.info
while hit= code= word=; ! read -r code word; do
[ -n "$hit" ] || exit 137
done
[ -z "$word" ] || echo "$code $word" 1<> "$state/exit.$1"
exit "$code"
} 2>/dev/null
code=$? words=
[ -n "$stop" ] && left=$grace || trap 'trap : URG; stop=" stopped" left=$grace; kill -TERM -1' URG
date +%s >> god.info 2>/dev/null
while set -- "$1" /proc/[0-9]*; [ "$#" -gt 3 ] && [ "$left" -gt 0 ] && sleep 0.05; do
left=$((left - 1))
done 2>/dev/null
case $code in
125) read -r code words < "$state/exit.$1" && [ "$code" = 125 ] && words=" $words" || code=125 words= ;;
126 | 127)
if [ "$mode" = shebang ] && read -r line < cmd.sh; then
line=${line#??} line=${line#"${line%%[! 	]*}"} line=${line%%[ 	]*}
[ -e "$line" ] || words=" interpreter"
fi
while read -r _ point _ options _; do
case "$point $options," in "$GODOCKER_PWD "*[\\ ,]noexec,*) words="$words noexec" ;; esac
done < /proc/mounts
;;
esac 2>/dev/null
[ "$code" -lt 128 ] || for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
[ -r "$file" ] && while read -r key count; do
[ "$key" != oom_kill ] || [ "$count" = 0 ] || words="$words oom"
done < "$file"
done 2>/dev/null
echo "$code$stop$words" 1<> "$state/exit.$1"
exit "$code"
"""


def argv(run: types.Run, *, state: str, output_grace: float, grace: float) -> list[str]:
    """
    Return the command line of a run. `state` is the directory of its files, as the wrapper sees it; `output_grace` the seconds
    to wait after its end for processes that hold its output, and `grace` those after it was told to end.
    """
    looks = [str(round(seconds / POLL)) for seconds in (output_grace, grace)]
    mode = "shebang" if run.shebang else "shell"
    name = run.handle.name
    return [
        "/bin/sh",
        "-c",
        _PROGRAM,
        name,
        str(run.handle.attempt),
        state,
        mode,
        str(wrapper.threads(run.cpus)),
        *looks,
    ]
