"""Sources of settings besides the file (environment, secrets files), and the origin of each value."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SecretsSettingsSource

from shared import errors
from shared.config import yaml_file
from shared.wording import model_paths, suggestions

PREFIX = "GODOCKER_"
CONFIG_VARIABLE = "GODOCKER_CONFIG"
SECRETS_VARIABLE = "GODOCKER_SECRETS_DIR"

#: Variables that Docker links and Kubernetes services set for containers named `godocker` or `godocker-redis`.
_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$|_ENV_\w+$|^GODOCKER_(\w+_)?NAME$")
_ADDRESS = re.compile(r"^(tcp|udp|sctp)://")
_OF_TESTS = re.compile(r"^GODOCKER_(TEST_\w+|LONG_TESTS)$")
_IN_A_TASK = "GODOCKER_JID"  #: set for every task, with others that are not settings


class Environment(EnvSettingsSource):
    """Environment variables. An address as the value of a number comes from a container link and is not a setting."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        return (None if is_link(field, value) else value), key, is_complex

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        return _decoded(super().decode_complex_value, field_name, field, value)


class Secrets(SecretsSettingsSource):
    """Files called `godocker_<name>`. Trailing line ends are not part of a secret; spaces are."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        for key, name, is_complex in self._extract_field_info(field, field_name):
            for folder in self.secrets_paths:
                if (file := self.find_case_path(folder, name, self.case_sensitive)) and file.is_file():
                    return _content(file), key, is_complex
        return None, field_name, False

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        return _decoded(super().decode_complex_value, field_name, field, value)


def is_link(field: FieldInfo, value: object) -> bool:
    return (
        isinstance(value, str)
        and _ADDRESS.match(value) is not None
        and model_paths.takes(field.annotation, int)
        and not model_paths.takes(field.annotation, str)
    )


def warnings(fields: Mapping[str, FieldInfo], environment: Mapping[str, str]) -> list[str]:
    """
    Return one sentence for each unused variable and secrets file with our prefix. They do not prevent a start: the
    environment belongs to others too.
    """
    names = [name.lower() for name in _variables(fields)]
    return [
        *(
            f"{name}={value} is ignored: it is an address, as container links and Kubernetes services set it"
            for name, value in environment.items()
            if (field := fields.get(_field_of(name))) is not None and is_link(field, value)
        ),
        *(
            f"{name} is not a setting and is ignored{suggestions.did_you_mean(name, _variables(fields))}"
            for name in unknown_variables(fields, environment)
        ),
        *(
            f"{file} is not a setting and is ignored{suggestions.did_you_mean(file.name, names)}"
            for file in _unknown_files(fields, environment)
        ),
    ]


def unused(fields: Mapping[str, FieldInfo], environment: Mapping[str, str]) -> list[str]:
    """Return the variables that `warnings` names."""
    links = [
        name
        for name, value in environment.items()
        if (field := fields.get(_field_of(name))) is not None and is_link(field, value)
    ]
    return [*links, *unknown_variables(fields, environment)]


def unknown_variables(fields: Mapping[str, FieldInfo], environment: Mapping[str, str]) -> list[str]:
    if _IN_A_TASK in environment:
        return []
    known = {*_variables(fields), CONFIG_VARIABLE, SECRETS_VARIABLE}
    return sorted(
        name
        for name in environment
        if name.upper().startswith(PREFIX)
        and name.upper() not in known
        and not _LINK.search(name)
        and not _OF_TESTS.match(name)
    )


def origin(
    path: tuple[str | int, ...], environment: Mapping[str, str], lines: Mapping[yaml_file.Place, int]
) -> str | None:
    """Return the variable, file or line of a value; None if it was read from none."""
    if not path:
        return None
    name = f"{PREFIX}{path[0]}".upper()
    if variable := next(
        (one for one in environment if one.upper() == name and not _ADDRESS.match(environment[one])), None
    ):
        return variable
    folder = environment.get(SECRETS_VARIABLE)
    if folder and (file := Path(folder, name.lower())).is_file():
        return str(file)
    for length in range(len(path), 0, -1):
        if (line := lines.get(path[:length])) is not None:
            return f"{environment.get(CONFIG_VARIABLE)}:{line}"
    return None


def _variables(fields: Mapping[str, FieldInfo]) -> list[str]:
    return [f"{PREFIX}{name.upper()}" for name in fields]


def _field_of(variable: str) -> str:
    return variable.lower().removeprefix(PREFIX.lower())


def _unknown_files(fields: Mapping[str, FieldInfo], environment: Mapping[str, str]) -> Iterator[Path]:
    folder = environment.get(SECRETS_VARIABLE)
    if not folder or not Path(folder).is_dir():
        return
    for file in sorted(Path(folder).iterdir()):
        if file.name.lower().startswith(PREFIX.lower()) and _field_of(file.name) not in fields and file.is_file():
            yield file


def _content(file: Path) -> str:
    try:
        return file.read_bytes().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise errors.ConfigurationError(f"{file} is not UTF-8 text") from None
    except OSError as error:
        raise errors.ConfigurationError(f"{file} cannot be read: {error.strerror}") from None


def _decoded(decode: Any, field_name: str, field: FieldInfo, value: Any) -> Any:
    """Return a list or an object; text that is not JSON stays text, which then breaks a named rule."""
    try:
        return decode(field_name, field, value)
    except ValueError:
        return value


def folder_of_secrets(settings_cls: type[BaseSettings]) -> list[Secrets]:
    folder = os.environ.get(SECRETS_VARIABLE)
    return [Secrets(settings_cls, secrets_dir=folder)] if folder else []
