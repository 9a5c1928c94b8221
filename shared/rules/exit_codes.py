"""Exit codes of ends by a signal: 128 plus its number, as in shells (POSIX XCU 2.8.2). Pure."""

from __future__ import annotations

EXIT_TERMINATED = 143  #: by SIGTERM
EXIT_KILLED = 137  #: by SIGKILL, and of every task that was killed on request
