"""Options shared by several commands, and the settings that they select."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from godocker.local import data_directory
from shared.config import loading
from shared.settings import Settings
from shared.wording import texts

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="YAML file with settings. Environment variables (GODOCKER_*) override them."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Data directory of the system, as given to `godocker up --data-dir`."
    ),
]
Login = Annotated[str, typer.Argument(metavar="LOGIN", help="Name of the user.")]


def load(config: Path | None, data_dir: Path | None) -> Settings:
    """Return the settings of the selected system. Raises `errors.ConfigurationError`."""
    return system(config, data_dir)[0]


def system(config: Path | None, data_dir: Path | None) -> tuple[Settings, str]:
    """Return the settings of the selected system and a few words that name it. Raises `errors.ConfigurationError`."""
    adopted = data_directory.adopt(data_dir, configured=config is not None)
    settings = loading.load(config)
    warn()
    file = os.environ.get(loading.CONFIG_VARIABLE)
    if adopted is not None:
        return settings, str(adopted)
    return settings, f"the configuration {file}" if file else "the default settings"


def warn() -> None:
    """Warn of environment variables that look like settings but are none. Child processes do not repeat the warning."""
    for warning in loading.warnings():
        print(f"godocker: warning: {texts.printable(warning)}", file=sys.stderr)
    loading.forget_unused()
