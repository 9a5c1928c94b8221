"""Checks of this machine: shared directory, secrets, versions."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import tempfile
from importlib import metadata
from pathlib import Path

from pydantic import SecretStr

from godocker.checks import findings
from shared import errors
from shared import settings as settings_module
from shared.config import yaml_file
from shared.settings import Settings
from shared.units import urls
from shared.units.sizes import GB
from shared.wording import model_paths

_FULL = 0.2 * GB  #: bytes free below which tasks fail
_FILLING = 2 * GB
#: Oldest versions without faults that affect GoDocker.
_OLDEST = {"starlette": (1, 3, 1), "python-jose": (3, 5), "aiodocker": (0, 24), "motor": (3, 6)}


def shared_dir(settings: Settings) -> list[findings.Finding]:
    """Check that `shared_dir` exists, can be written, has space and suitable mount options."""
    part, path = "shared_dir", settings.shared_dir
    if not path.is_absolute():
        return [findings.bad(part, f"{path} is not absolute: it must be the same path on every host")]
    if not path.is_dir():
        return [findings.bad(part, f"{path} does not exist or is not a directory")]
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        return [findings.bad(part, f"{path} cannot be written: {error.strerror}")]
    results = [findings.well(part, f"{path} exists and is writable"), check_space(shutil.disk_usage(path).free)]
    if path.resolve() != path:
        results.append(
            findings.warning(part, f"is a link to {path.resolve()}: it must lead to the same directory on every host")
        )
    flags = os.statvfs(path).f_flag
    if flags & os.ST_NOEXEC:
        results.append(check_noexec(here=settings.executor == "process"))
    if settings.allow_root:
        results.append(check_nosuid(nosuid=bool(flags & os.ST_NOSUID)))
    return results


def check_noexec(*, here: bool) -> findings.Finding:
    """Report a noexec mount: a problem if tasks run `here`, else a warning, since each node's own mount is checked."""
    detail = "mounted noexec: scripts whose first line names an interpreter cannot run"
    if here:
        return findings.bad("shared_dir", f"{detail}; mount it with exec")
    return findings.warning("shared_dir", f"{detail} on this machine; harmless if no node uses this mount")


def check_space(free: float) -> findings.Finding:
    detail = f"{free / GB:.1f} GB free"
    if free < _FULL:
        return findings.bad("shared_dir", detail)
    return findings.warning("shared_dir", detail) if free < _FILLING else findings.well("shared_dir", detail)


def check_nosuid(*, nosuid: bool) -> findings.Finding:
    if nosuid:
        return findings.well("shared_dir", "mounted nosuid")
    return findings.bad(
        "shared_dir", "root tasks are allowed and can leave setuid programs in it: mount it with nosuid"
    )


def secrets(settings: Settings, *files: Path) -> list[findings.Finding]:
    """Check the secrets, and that other users cannot read the files that contain them."""
    part = "secrets"
    results = []
    try:
        settings_module.check_secrets(settings)
        results.append(findings.well(part, "both are set, long enough and different"))
    except errors.ConfigurationError as error:
        results.append(findings.bad(part, str(error)))
    for file in files:
        if file.is_file() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            results.append(check_open_file(file, holds_secret=holds_secret(file)))
    return results


def check_open_file(file: Path, *, holds_secret: bool) -> findings.Finding:
    """Report a file that others can read: a problem if it holds a secret, else a warning, as one may be added later."""
    if holds_secret:
        return findings.bad("secrets", f"{file} can be read by others and contains a secret: chmod 600 {file}")
    return findings.warning("secrets", f"{file} can be read by others; it contains no secret yet")


def holds_secret(file: Path) -> bool:
    """Return whether a settings file, or a file written by `up`, contains a secret; True if it cannot be parsed."""
    if file.suffix == ".json":
        return True
    try:
        values = yaml_file.read(file).values
    except errors.ConfigurationError:
        return True
    secret = {name for name, one in Settings.model_fields.items() if model_paths.takes(one.annotation, SecretStr)}
    address = str(values.get("mongo_url", ""))
    return bool(secret & values.keys()) or urls.shown(address) != address


def versions() -> list[findings.Finding]:
    """Check our version and the versions of important packages."""
    results = [
        findings.well("versions", f"godocker {metadata.version('godocker')}, Python {platform.python_version()}")
    ]
    for name, oldest in _OLDEST.items():
        have = metadata.version(name)
        if findings.version(have) < oldest:
            required = ".".join(map(str, oldest))
            results.append(findings.bad("versions", f"{name} {have} is older than {required}"))
        else:
            results.append(findings.well("versions", f"{name} {have}"))
    return results
