"""
Check the first line of a task's script as the kernel reads it: pure.

`#!` counts only as the first two bytes of a file (execve(2)); the rest of the line is the interpreter's path and at most one
argument, and a carriage return is part of them.
"""

from __future__ import annotations

BOM = "\ufeff"
KERNEL_LINE = 127  #: bytes of a first line that every kernel reads; 255 since Linux 5.1
_MARK = "#!"


def problems_of(script: str) -> list[str]:
    """Return warnings about a script whose first lines keep it from running as intended."""
    first = script.split("\n", 1)[0]
    problems: list[str] = []
    if fatal := never_works(script):
        problems.append(fatal)
    elif "\r\n" in script:
        problems.append(
            "lines of the script end in CR LF (Windows): shells take the CR as part of the last word; "
            "convert it, for example with dos2unix"
        )
    if script.startswith(BOM):
        problems.append(
            f"the script begins with a byte order mark{_hidden(script.removeprefix(BOM))}; save it as UTF-8 without one"
        )
    elif not script.startswith(_MARK) and script.lstrip().startswith(_MARK):
        problems.append(f"the script does not begin with `#!`{_hidden(script.lstrip())}; remove what stands before it")
    if first.startswith(_MARK):
        problems += _problems_of_line(first)
    return problems


def never_works(script: str) -> str | None:
    """Return why a script cannot run in any image; None if it can."""
    first = script.split("\n", 1)[0]
    if first.startswith(_MARK) and first.endswith("\r"):
        return (
            f"the first line names `{_shown(first[2:].strip())}` followed by a carriage return (Windows line ends), "
            "and no image has a program of that name; convert the script, for example with dos2unix"
        )
    return None


def interpreter(script: str) -> str | None:
    """Return the path of the program that the first line names; None where it names none."""
    first = script.split("\n", 1)[0]
    words = first[2:].split() if first.startswith(_MARK) else []
    return words[0] if words else None


def has_no_interpreter(place: str, path: str) -> str:
    """Return the sentence for an interpreter that does not exist in `place`, an image or a node."""
    return f"{place} has no {_shown(path, most=100)}, which the first line of the script names"


def mounted_noexec(node: str) -> str:
    """Return the sentence for a directory of tasks where nothing can be executed."""
    return f"shared_dir is mounted noexec on {node}: scripts whose first line names an interpreter cannot be executed"


def _problems_of_line(first: str) -> list[str]:
    path = interpreter(first)
    if path is None:
        return ["the first line is `#!` without an interpreter, so that /bin/sh runs the script"]
    problems = []
    if len(first.encode()) > KERNEL_LINE:
        problems.append(
            f"the first line has {len(first.encode())} bytes, and kernels read the first {KERNEL_LINE} (255 since "
            "Linux 5.1): name a shorter path, or call the interpreter in a line of its own"
        )
    if not path.startswith("/"):
        problems.append(
            f"the first line names `{_shown(path)}`, which is no absolute path: it is looked for in the directory "
            "that the script runs in"
        )
    return problems


def _hidden(rest: str) -> str:
    """Return the consequence of text before the script's real beginning."""
    return ", so that its `#!` is not seen and /bin/sh runs it" if rest.lstrip().startswith(_MARK) else ""


def _shown(text: str, *, most: int = 60) -> str:
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
