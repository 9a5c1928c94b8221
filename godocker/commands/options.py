"""Options that several commands share, and the settings that come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from godocker import directory
from shared import settings as settings_module
from shared.settings import Settings

Config = Annotated[Path | None, typer.Option("--config", help="YAML file with settings; GODOCKER_* stand above it.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Of a system started by `godocker up`.")]


def load(config: Path | None, data_dir: Path | None) -> Settings:
    """The settings of the system that is meant. Raises `errors.ConfigurationError`."""
    directory.adopt(data_dir, configured=config is not None)
    return settings_module.load(config)
