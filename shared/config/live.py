"""Change live settings while a service runs (SIGHUP)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import structlog

from shared import errors
from shared.config import loading, reloads
from shared.observe import logs
from shared.settings import Settings

log = structlog.get_logger(__name__)

#: Settings that may change: every use reads them again. Check that before you add one.
LIVE = frozenset(
    {
        "log_level",
        # admission
        *("rate_limit", "rate_limit_all", "max_batch", "max_array"),
        *("authenticate_limit", "authenticate_limit_address", "authenticate_limit_user"),
        *("max_cpu", "max_ram", "defaults_cpu", "defaults_ram", "allow_root", "share_project_tasks"),
        *("default_images", "allow_user_images", "allowed_registries", "volumes", "constraints"),
        # running tasks
        *("maxlifespan", "failure_policy", "task_disk_quota", "disk_default_quota"),
        # scheduling
        *("placement", "reserve_after", "unplaceable_after", "nodes"),
        *(name for name in Settings.model_fields if name.startswith("fairshare_") and name.endswith("_weight")),
    }
)


class Live:
    """The settings of one running service."""

    def __init__(self, settings: Settings, read: Callable[[], Settings] = loading.load) -> None:
        """`settings` is the object that every part of the service holds; `read` loads the new ones."""
        self._settings = settings
        self._read = read

    def reload(self) -> list[str]:
        """
        Load the settings again and return the names of those that changed. Raises `errors.ConfigurationError`, without any
        change, if one breaks a rule or needs a restart.
        """
        new = self._read()
        changed = [name for name in Settings.model_fields if getattr(new, name) != getattr(self._settings, name)]
        if fixed := [name for name in changed if name not in LIVE]:
            raise errors.ConfigurationError(
                f"{', '.join(fixed)} cannot change while the service runs: nothing was changed, restart it instead"
            )
        # The object is frozen for all others. This is one step between two of the loop's, so no reader sees half of a
        # change.
        self._settings.__dict__.update({name: getattr(new, name) for name in changed})
        fields_set = self._settings.model_fields_set
        fields_set.clear()
        fields_set.update(new.model_fields_set)
        if "log_level" in changed:
            logs.set_level(new.log_level)
        return changed


def listen(settings: Settings, stop: asyncio.Event) -> None:
    """Reload `settings` on SIGHUP. A SIGHUP because our terminal went away sets `stop` instead."""
    live, had_terminal = Live(settings), has_terminal()

    def on_hangup() -> None:
        if had_terminal and not has_terminal():
            stop.set()
            return
        try:
            changed = live.reload()
        except errors.ConfigurationError as error:
            log.error("settings.not_reloaded", error=str(error))
            outcome = reloads.Outcome(error=str(error))
        else:
            # The sender of the signal waits for this answer, at whatever level the service logs.
            with logs.at_level("info"):
                log.info("settings.reloaded", changed=changed)
            outcome = reloads.Outcome(changed=changed)
        reloads.report(settings.data_dir, outcome)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, on_hangup)
    # Our parent may have blocked it until now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal, see tty(4)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
