"""Check a configuration without starting anything: what services would refuse, and what they would ignore."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from godocker.local import data_directory
from shared import errors
from shared import settings as settings_module
from shared.config import loading
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Report:
    """Sentences about a configuration, and the names of the settings that it gives."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)


def check(file: Path | None, data_dir: Path | None) -> Report:
    """Everything that can be told of a configuration by reading it."""
    try:
        data_directory.adopt(data_dir, configured=file is not None)
        settings = loading.load(file)
    except errors.ConfigurationError as error:
        return Report(_lines(error), loading.warnings())
    problems = [*policy_problems(settings), *_secret_problems(settings)]
    warnings = [*loading.warnings(), *_missing_files(settings)]
    return Report(problems, warnings, sorted(settings.model_fields_set))


def policy_problems(settings: Settings) -> list[str]:
    """The sentence of the scheduler where it has no policy of the configured name."""
    # By name and late: what the scheduler is made of is no concern of the other commands.
    registry = importlib.import_module("services.scheduler.policies.registry")
    try:
        registry.build(settings)
    except errors.ConfigurationError as error:
        return [str(error)]
    return []


def _secret_problems(settings: Settings) -> list[str]:
    """None where no secret is given: `godocker up` makes them, and services that have none say so at their start."""
    if not {"secret_passphrase", "shared_secret_passphrase"} & settings.model_fields_set:
        return []
    try:
        settings_module.check_secrets(settings)
    except errors.ConfigurationError as error:
        return [str(error)]
    return []


def _missing_files(settings: Settings) -> Iterator[str]:
    """Certificates that are not on this machine; the services may run on another one."""
    named = {"ldap_ca": settings.ldap_ca, "smtp_ca": settings.smtp_ca}
    for number, node in enumerate(settings.nodes):
        named |= {f"nodes.{number}.{name}": getattr(node, name) for name in ("tls_ca", "tls_cert", "tls_key")}
    for name, file in named.items():
        if file is not None and not file.is_file():
            yield f"{name}: there is no file {file} on this machine"


def _lines(error: errors.ConfigurationError) -> list[str]:
    """One sentence for each setting that is refused."""
    first, *lines = str(error).split("\n  ")
    return lines or [first]
