"""Exit codes that executors and the record agree on: 128 plus the number of the signal, as shells count (POSIX 2.8.2). Pure."""

from __future__ import annotations

EXIT_TERMINATED = 143  #: by SIGTERM
EXIT_KILLED = 137  #: by SIGKILL, and of everything that ended because somebody asked for a kill
