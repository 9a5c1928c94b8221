"""Static check of a configuration: settings that services would refuse or ignore."""

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
    """Problems and warnings as sentences, and the names of the settings given."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)


def check(file: Path | None, data_dir: Path | None) -> Report:
    """Check a configuration by reading it, without contacting any server."""
    try:
        data_directory.adopt(data_dir, configured=file is not None)
        settings = loading.load(file)
    except errors.ConfigurationError as error:
        return Report(_lines(error), loading.warnings())
    problems = [*policy_problems(settings), *_secret_problems(settings)]
    warnings = [*loading.warnings(), *_missing_files(settings)]
    return Report(problems, warnings, sorted(settings.model_fields_set))


def policy_problems(settings: Settings) -> list[str]:
    """Return the scheduler's error if it has no policy of the configured name."""
    # Imported late, by name: most commands do not need the scheduler.
    registry = importlib.import_module("services.scheduler.policies.registry")
    try:
        registry.build(settings)
    except errors.ConfigurationError as error:
        return [str(error)]
    return []


def _secret_problems(settings: Settings) -> list[str]:
    """Check secrets if any is given. `godocker up` generates them, and a service without secrets refuses to start."""
    if not {"secret_passphrase", "shared_secret_passphrase"} & settings.model_fields_set:
        return []
    try:
        settings_module.check_secrets(settings)
    except errors.ConfigurationError as error:
        return [str(error)]
    return []


def _missing_files(settings: Settings) -> Iterator[str]:
    """Yield a warning for each certificate missing on this machine; services may run on other machines."""
    named = {"ldap_ca": settings.ldap_ca, "smtp_ca": settings.smtp_ca}
    for number, node in enumerate(settings.nodes):
        named |= {f"nodes.{number}.{name}": getattr(node, name) for name in ("tls_ca", "tls_cert", "tls_key")}
    for name, file in named.items():
        if file is not None and not file.is_file():
            yield f"{name}: file {file} does not exist on this machine"


def _lines(error: errors.ConfigurationError) -> list[str]:
    """Split an error into one sentence per refused setting."""
    first, *lines = str(error).split("\n  ")
    return lines or [first]
