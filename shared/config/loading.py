"""
Read the settings of this process from their sources and report every value that breaks a rule.

Sources in ascending order of precedence: defaults, the YAML file named by `GODOCKER_CONFIG` (or `--config`), files called
`godocker_<name>` in the directory named by `GODOCKER_SECRETS_DIR`, and the environment (`GODOCKER_<NAME>`, lists and objects as
JSON).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from shared import errors
from shared.config import problems, sources, yaml_file
from shared.config.sources import CONFIG_VARIABLE as CONFIG_VARIABLE
from shared.config.sources import SECRETS_VARIABLE as SECRETS_VARIABLE
from shared.settings import Settings


class _Sourced(Settings, BaseSettings):
    """Settings whose missing fields are filled from the sources."""

    model_config = SettingsConfigDict(env_prefix=sources.PREFIX)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = os.environ.get(CONFIG_VARIABLE)
        file = [InitSettingsSource(settings_cls, dict(yaml_file.read(Path(path)).values))] if path else []
        secrets = sources.folder_of_secrets(settings_cls)
        return (init_settings, sources.Environment(settings_cls), *secrets, *file)


def load(config: Path | None = None, **overrides: Any) -> Settings:
    """
    Load the settings. `config` names the YAML file (default: `GODOCKER_CONFIG`); `overrides` take precedence over every
    source.

    Raises `errors.ConfigurationError` with one line per setting that breaks a rule: name, rule, value unless it may be a
    secret, and origin.
    """
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    folder = os.environ.get(SECRETS_VARIABLE)
    if folder and not Path(folder).is_dir():
        raise errors.ConfigurationError(f"{SECRETS_VARIABLE} names {folder}, which is not a directory")
    path = os.environ.get(CONFIG_VARIABLE)
    document = yaml_file.read(Path(path), Settings) if path else yaml_file.Document()
    try:
        made, found = _Sourced(**overrides), []
    except ValidationError as error:
        made, found = None, error.errors()
    except SettingsError as error:
        # The cause is the error of one of our sources.
        raise errors.ConfigurationError(f"the configuration cannot be used: {error.__cause__ or error}") from None
    if made is not None and not document.problems:
        return made
    environment = {
        name: value for name, value in os.environ.items() if name.lower().removeprefix("godocker_") not in overrides
    }
    raise errors.ConfigurationError(
        "the configuration cannot be used:\n  " + "\n  ".join(problems.lines(document, found, Settings, environment))
    )


def warnings() -> list[str]:
    """Return one sentence for each variable and secrets file that has our prefix and is not used."""
    return sources.warnings(Settings.model_fields, os.environ)


def forget_unused() -> None:
    """Remove the variables that `warnings` names from the environment, so that child processes do not warn again."""
    for name in sources.unused(Settings.model_fields, os.environ):
        del os.environ[name]
