"""Read from a program's header where it can run (elf(5)): pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_MAGIC = b"\x7fELF"
_MACHINES = {3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64"}
_MACHINES |= {243: "riscv64", 258: "loongarch64"}
_INTERP = 3  #: type of the segment that names the loader

#: Other processors whose programs a processor runs, too.
_ALSO = {"x86_64": {"i386"}, "aarch64": {"arm"}, "ppc64le": {"ppc64"}, "ppc64": {"ppc"}}


@dataclass(frozen=True, slots=True)
class Program:
    """A program. `machine` is spelt as by `uname -m`; `loader` is None for a static program or a truncated header."""

    machine: str
    loader: str | None

    def runs_on(self, machine: str) -> bool:
        return self.machine == machine or self.machine in _ALSO.get(machine, ()) or machine.startswith(self.machine)


def parse(content: bytes) -> Program | None:
    """Parse the first bytes of a program; None for anything else."""
    if len(content) < 64 or content[:4] != _MAGIC:
        return None
    order = "<" if content[5] == 1 else ">"
    is_64 = content[4] == 2
    (machine,) = struct.unpack_from(f"{order}H", content, 18)
    return Program(_MACHINES.get(machine, f"machine {machine}"), _loader(content, order, is_64=is_64))


def _loader(content: bytes, order: str, *, is_64: bool) -> str | None:
    (table,) = struct.unpack_from(f"{order}Q" if is_64 else f"{order}I", content, 32 if is_64 else 28)
    size, count = struct.unpack_from(f"{order}HH", content, 54 if is_64 else 42)
    for number in range(count):
        at = table + number * size
        if at + (56 if is_64 else 32) > len(content):
            return None
        if is_64:
            kind, _, offset, _, _, length = struct.unpack_from(f"{order}IIQQQQ", content, at)
        else:
            kind, offset, _, _, length = struct.unpack_from(f"{order}IIIII", content, at)
        if kind == _INTERP and offset + length <= len(content):
            return content[offset : offset + length].rstrip(b"\0").decode(errors="replace")
    return None
