"""
Everything that can be configured.

Sources, the later ones above: defaults, the YAML file named by `GODOCKER_CONFIG` (or `--config`), files called `godocker_<name>`
in the directory named by `GODOCKER_SECRETS_DIR`, the environment (`GODOCKER_<NAME>`, lists and objects as JSON). Names are those
of the original GO-Docker where it had them. Built once in each process's main and passed on: nothing else reads the environment.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from shared import addresses, durations, errors, sizes

START_CONCURRENCY = 8  #: starts that a node takes at a time, unless its settings say otherwise
MOST_IN_BATCH = 10_000  #: tasks of one request, whatever is configured
CONFIG_VARIABLE = "GODOCKER_CONFIG"
SECRETS_VARIABLE = "GODOCKER_SECRETS_DIR"
SECRET_LENGTH = 32  #: characters a secret must have
#: Values that stand in documents: a system that runs with one is open to whoever read them.
SAMPLE_SECRETS = frozenset({"WE_SHOULD_USE_A_REAL_SECRET_PASSPHRASE_HERE", "change-me", "changeme", "secret"})

_MOUNT = re.compile(r"/[A-Za-z0-9._/-]+")
_ATTRIBUTE = r"^[A-Za-z][A-Za-z0-9-]{0,63}$"
_SYSTEM_PATHS = ("/", "/proc", "/dev", "/sys", "/bin", "/etc", "/usr", "/lib", "/sbin")


Weight = Annotated[float, Field(ge=0, le=1_000_000)]  #: of one part of a fair-share ticket


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Image(_Part):
    """An image offered to users by the clients."""

    name: str
    url: str
    interactive: bool = False
    default: bool = False


class Volume(_Part):
    """A directory of the hosts that tasks may ask for by name. `$USERID` in `path` is the task's user."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    path: str | None = None  #: None for `home`: the user's home directory
    mount: str | None = None  #: inside the container; None: the same as `path`
    acl: Literal["ro", "rw"] = "ro"

    @property
    def target(self) -> str:
        return self.mount or ("/mnt/home" if self.name == "home" else self.path or "")

    @model_validator(mode="after")
    def _check(self) -> Volume:
        if self.path is None and self.name != "home":
            raise ValueError(f"volume {self.name} has no path")
        if self.path is not None and (not self.path.startswith("/") or ".." in self.path.split("/")):
            raise ValueError(f"the path of volume {self.name} is not absolute and plain")
        target = self.target.rstrip("/") or "/"
        if not _MOUNT.fullmatch(self.target) or ".." in target.split("/") or target in _SYSTEM_PATHS:
            raise ValueError(f"volume {self.name} cannot be mounted at {self.target}")
        if target.startswith(("/proc/", "/dev/", "/sys/", "/mnt/go-docker", "/mnt/god-data")):
            raise ValueError(f"volume {self.name} cannot be mounted at {self.target}")
        return self


class Constraint(_Part):
    """A label and the values that clients offer for it."""

    name: str
    value: list[str] = []


class DynamicField(_Part):
    """A requirement of a task that may still be changed after it was created, by its owner or by admins alone."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    admin_only: bool = False


class FailurePolicy(_Part):
    """What happens to a task whose node failed it. The command's own failures are its owner's."""

    strategy: Annotated[int, Field(ge=0, le=100)] = 0  #: restarts that a task may ask for, at most
    skip_failed_nodes: bool = False  #: a node that failed a task does not get it again
    delay: durations.Duration = 5.0  #: seconds before a restart, doubled for each further one


class LdapFields(_Part):
    """Which attribute of a person's entry holds what (those of RFC 2307, `mail` of RFC 4524)."""

    login: Annotated[str, Field(pattern=_ATTRIBUTE)] = "uid"
    uid: Annotated[str, Field(pattern=_ATTRIBUTE)] = "uidNumber"
    gid: Annotated[str, Field(pattern=_ATTRIBUTE)] = "gidNumber"
    home: Annotated[str, Field(pattern=_ATTRIBUTE)] = "homeDirectory"
    mail: Annotated[str, Field(pattern=_ATTRIBUTE)] = "mail"


class Node(_Part):
    """A Docker host. What is not given about its size is asked of its engine."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    url: str = "unix:///var/run/docker.sock"
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    labels: dict[str, str] = {}
    cpus: Annotated[float, Field(gt=0)] | None = None
    memory: Annotated[float, Field(gt=0)] | None = None  #: GB
    gpus: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$|^/dev/[A-Za-z0-9/_-]{1,60}$")]] = []
    start_concurrency: Annotated[int, Field(ge=1, le=256)] = START_CONCURRENCY

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if not url.startswith(("unix:///", "tcp://", "http://", "https://")):
            raise ValueError("must start with unix:///, tcp://, http:// or https://")
        return url


class Settings(BaseSettings):
    """All settings of all services, checked as a whole."""

    model_config = SettingsConfigDict(env_prefix="GODOCKER_", extra="forbid", frozen=True, validate_default=True)

    # --- this installation
    instance: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")] = "godocker"  #: labels our containers
    shared_dir: Path = Path("/opt/godshared")  #: the same path on every host
    data_dir: Path = Path(".godocker")  #: of `godocker up`, and of the process executor's records
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    # --- stores
    mongo_url: str = "mongodb://127.0.0.1:27017/?replicaSet=rs0"
    mongo_user: str | None = None  #: None: as the URL says
    mongo_password: SecretStr | None = None
    mongo_db: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "godocker"
    mongo_timeout: Annotated[float, Field(gt=0)] = 5.0  #: seconds a request waits for MongoDB, retries included
    redis_host: str = "127.0.0.1"
    redis_port: Annotated[int, Field(ge=1, le=65535)] = 6379
    redis_db: Annotated[int, Field(ge=0)] = 0
    redis_password: SecretStr | None = None
    redis_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")] = "god"
    redis_timeout: Annotated[float, Field(gt=0)] = 1.0  #: seconds

    # --- secrets and sessions
    secret_passphrase: SecretStr = SecretStr("")
    shared_secret_passphrase: SecretStr = SecretStr("")
    session_timeout: Annotated[int, Field(ge=60)] = 172800  #: seconds a token is good for
    prometheus_key: SecretStr | None = None

    # --- where the services listen
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 6543
    scheduler_port: Annotated[int, Field(ge=0, le=65535)] = 6544
    watcher_port: Annotated[int, Field(ge=0, le=65535)] = 6545
    files_port: Annotated[int, Field(ge=0, le=65535)] = 6546
    internal_host: str = "127.0.0.1"  #: of scheduler, watcher and files
    files_url: Annotated[str, Field(pattern=r"^https?://")] | None = None  #: where gateways reach files; None: here
    scheduler_url: Annotated[str, Field(pattern=r"^https?://")] | None = (
        None  #: where gateways reach this one; None: here
    )
    metrics_public: bool = True  #: `/metrics` of the gateway without authentication

    # --- what tasks may ask for
    default_images: list[Image] = []
    allow_user_images: bool = True
    allowed_registries: list[str] | None = None  #: None: any but addresses of private networks
    volumes: list[Volume] = []
    constraints: list[Constraint] = []
    share_timeout: Annotated[int, Field(ge=60)] = 30 * 24 * 3600  #: seconds a share token is good for
    defaults_cpu: Annotated[float, Field(gt=0)] = 1
    defaults_ram: Annotated[float, Field(gt=0)] = 2  #: GB
    max_cpu: Annotated[float, Field(gt=0)] = 4096
    max_ram: Annotated[float, Field(gt=0)] = 65536  #: GB
    allow_root: bool = False
    uid_start: Annotated[int, Field(ge=1)] = 20000
    rate_limit: Annotated[int, Field(ge=1)] | None = None  #: pending tasks of one user
    rate_limit_all: Annotated[int, Field(ge=1)] | None = None  #: pending tasks of all users
    authenticate_limit: Annotated[int, Field(ge=1)] = 30  #: failed logins a minute per user and address
    #: Failed logins a minute per address over all names, and an hour per user over all addresses; None: as many as
    #: `authenticate_limit`, and ten times as many. Neither holds where the user has logged in before.
    authenticate_limit_address: Annotated[int, Field(ge=1)] | None = None
    authenticate_limit_user: Annotated[int, Field(ge=1)] | None = None
    trusted_proxies: list[str] = []  #: addresses and networks whose `X-Forwarded-For` and `-Proto` are believed
    images_public: bool = True  #: `GET image` without authentication
    max_body: Annotated[int, Field(ge=1024)] = 1024 * 1024  #: bytes
    max_batch: Annotated[int, Field(ge=1, le=MOST_IN_BATCH)] = 1000  #: tasks of one request

    dynamic_fields: list[DynamicField] = []

    # --- who users are
    auth_policy: Literal["local", "ldap"] = "local"  #: API keys always; `ldap`: passwords of a directory as well
    ldap_host: str | None = None
    ldap_port: Annotated[int, Field(ge=1, le=65535)] = 389
    ldap_tls: Literal["none", "starttls", "ldaps"] = "starttls"
    ldap_ca: Path | None = None  #: certificates to trust; None: those of the system
    ldap_dn: str = ""  #: the base of everything, `dc=lab,dc=org`
    ldap_base_dn_filter: str | None = None  #: where people are below it, `ou=People`
    ldap_filter: Annotated[str, Field(pattern=r"^\(.+\)$")] = "(objectClass=*)"  #: who of them may log in
    ldap_group_filter: Annotated[str, Field(pattern=r"^\(.+\)$")] = "(objectClass=posixGroup)"
    ldap_admin_dn: str | None = None  #: who looks for people; None: anybody may
    ldap_admin_password: SecretStr | None = None
    ldap_fields: LdapFields = LdapFields()
    ldap_admins: list[str] = []  #: logins of those who are admins here
    ldap_admin_group: str | None = None  #: a group whose members are
    ldap_timeout: Annotated[float, Field(gt=0)] = 5.0  #: seconds that a login waits for the directory

    # --- mail
    smtp_host: str | None = None  #: None: no mails are sent, and none can be asked for
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    smtp_tls: Literal["none", "starttls", "ssl"] = "starttls"
    smtp_ca: Path | None = None  #: certificates to trust; None: those of the system
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    mail_from: str | None = None

    # --- who uses it
    share_project_tasks: bool = False  #: members of a project see and manage each other's tasks in it
    user_reset_usage_duration: Annotated[int, Field(ge=1, le=3660)] = 30  #: days that usage is counted over
    clean_old: Annotated[int, Field(ge=0, le=36500)] = 30  #: days until tasks that are over lose their files; 0: never
    guest_allow: bool = False  #: users marked guest may send tasks
    guest_bind: str | None = None  #: the user as whom the tasks of guests run
    guest_home_root: Path | None = None  #: guests have their homes below it; None: they have none
    guest_allow_root: bool = False  #: guests may ask for root tasks, where others may

    # --- running tasks
    executor: Literal["docker", "process", "simulated"] = "docker"
    nodes: list[Node] = []
    process_cpus: Annotated[float, Field(gt=0)] | None = None  #: None: those of the machine
    process_memory: Annotated[float, Field(gt=0)] | None = None  #: GB; None: that of the machine
    process_public: bool = False  #: serve unisolated processes on an address that others reach
    kill_grace: Annotated[float, Field(ge=0)] = 10.0  #: seconds between SIGTERM and SIGKILL
    start_timeout: Annotated[float, Field(gt=0)] = 60.0  #: seconds for one start, pull not counted
    pull_timeout: Annotated[float, Field(gt=0)] = 1800.0  #: seconds
    docker_timeout: Annotated[float, Field(gt=0)] = 30.0  #: seconds for any other call to an engine
    #: The engine's network for tasks that ask for `public`; None: one that GoDocker makes, where tasks do not reach each other.
    docker_network: str | None = None
    tmpstorage: Literal["disk", "memory"] = "disk"  #: of the node; on disk its size holds where the engine has quotas
    pids_limit: Annotated[int, Field(ge=16)] = 4096
    port_start: Annotated[int, Field(ge=1024, le=65535)] = 10000
    port_range: Annotated[int, Field(ge=1)] = 2000
    process_gpus: list[str] = []  #: devices of this machine, given to processes by name
    maxlifespan: durations.Duration | None = None  #: seconds that a task may run (`7d`), whatever it asks for
    failure_policy: FailurePolicy = FailurePolicy()
    max_array: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000  #: children of one array
    lifespan_grace: durations.Duration = 30.0  #: seconds between SIGTERM and SIGKILL for a task that ran for that long
    task_disk_quota: sizes.Size | None = None  #: bytes that a task may leave in its directory

    # --- files
    disk_default_quota: sizes.Size = 10 * 1024**3  #: bytes of personal storage (`500M`) of who has no own
    files_list_limit: Annotated[int, Field(ge=1)] = 1_000_000  #: entries of a directory that is listed

    # --- whose turn it is
    scheduler_policy: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "fifo"
    fairshare_waiting_time_weight: Weight = 0.1  #: of a task's waiting: what a day of it makes its ticket lower by
    fairshare_user_time_weight: Weight = 1  #: of the time that the user's tasks took within the window
    fairshare_user_cpu_weight: Weight = 0.2  #: of their cores, as long as they were held
    fairshare_user_ram_weight: Weight = 0.2
    fairshare_group_time_weight: Weight = 0.1  #: of what the tasks of the project took
    fairshare_group_cpu_weight: Weight = 0.01
    fairshare_group_ram_weight: Weight = 0.01
    fairshare_user_weight: Weight = 1  #: of the user's priority
    fairshare_group_weight: Weight = 1  #: of the project's
    fairshare_reload_seconds: Annotated[float, Field(gt=0, le=86400)] = (
        30.0  #: between two looks at usage and priorities
    )

    # --- loops
    placement: Literal["binpack", "spread"] = "binpack"  #: fill the fullest node that has room, or the emptiest
    #: Seconds that the first of those without room waits, before a node is kept for it whose tasks have no `maxlifespan`.
    reserve_after: durations.Duration = 60.0
    node_grace: durations.Duration = 30.0  #: seconds without an answer after which a node's tasks count as unknown
    node_lost_after: durations.Duration = 600.0  #: seconds after which they are restarted elsewhere, or ended
    lease_seconds: Annotated[float, Field(ge=1)] = 5.0  #: of whoever watches a node or does a duty for all
    leader_lease_seconds: Annotated[float, Field(ge=1)] = 3.0  #: of the leading scheduler: what its death costs at most
    poll_seconds: Annotated[float, Field(gt=0)] = 2.0  #: behind every wakeup
    reconcile_seconds: Annotated[float, Field(gt=0)] = 5.0  #: between two lists of a node's runs
    monitor_seconds: Annotated[float, Field(gt=0)] = 10.0  #: between two samples of a running task
    disk_seconds: Annotated[float, Field(gt=0)] = 60.0  #: between two measures of a running task's directory
    gather_seconds: Annotated[float, Field(ge=0)] = 0.02  #: in which a burst of wakeups becomes one

    @model_validator(mode="after")
    def _a_node_is_missed_before_it_is_lost(self) -> Settings:
        if self.node_lost_after < self.node_grace:
            raise ValueError("node_lost_after must not be less than node_grace")
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_addresses(cls, proxies: list[str]) -> list[str]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"must be addresses or networks such as 10.0.0.0/24: {error}") from None
        return proxies

    @model_validator(mode="after")
    def _a_password_has_a_user(self) -> Settings:
        if (self.mongo_user is None) != (self.mongo_password is None):
            raise ValueError("mongo_user and mongo_password belong together")
        return self

    @model_validator(mode="after")
    def _ldap_is_complete(self) -> Settings:
        if self.auth_policy == "ldap" and not (self.ldap_host and self.ldap_dn):
            raise ValueError("auth_policy: ldap needs ldap_host and ldap_dn")
        if (self.ldap_admin_dn is None) != (self.ldap_admin_password is None):
            raise ValueError("ldap_admin_dn and ldap_admin_password belong together")
        return self

    @model_validator(mode="after")
    def _mail_is_complete(self) -> Settings:
        if self.smtp_host is not None and not addresses.is_address(self.mail_from or ""):
            raise ValueError("smtp_host needs mail_from, the address that mails are sent from")
        if (self.smtp_user is None) != (self.smtp_password is None):
            raise ValueError("smtp_user and smtp_password belong together")
        if self.smtp_user is not None and self.smtp_tls == "none":
            raise ValueError("smtp_password would be sent in the clear: set smtp_tls")
        return self

    @model_validator(mode="after")
    def _guests_run_as_somebody(self) -> Settings:
        if self.guest_allow and not self.guest_bind:
            raise ValueError("guest_allow needs guest_bind, the user as whom the tasks of guests run")
        if self.guest_home_root is not None and not self.guest_home_root.is_absolute():
            raise ValueError("guest_home_root must be an absolute path")
        return self

    @model_validator(mode="after")
    def _unique_names(self) -> Settings:
        for what, names in (
            ("volumes", [volume.name for volume in self.volumes]),
            ("nodes", [node.name for node in self.nodes]),
            ("dynamic_fields", [field.name for field in self.dynamic_fields]),
            ("volumes have mounts that", [volume.target for volume in self.volumes]),
        ):
            if len(names) != len(set(names)):
                raise ValueError(f"{what} must be unique: {', '.join(sorted(names))}")
        return self

    @property
    def files_base_url(self) -> str:
        """Where the gateway finds the files service."""
        any_address = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # listened on, to be connected to at
        host = any_address.get(self.internal_host, self.internal_host)
        shown = f"[{host}]" if ":" in host else host
        return self.files_url or f"http://{shown}:{self.files_port}"

    @property
    def docker_nodes(self) -> list[Node]:
        """The configured Docker hosts; where nothing is said of any (`nodes: []` does), the engine of this machine."""
        return self.nodes if "nodes" in self.model_fields_set else [Node(name="localhost")]

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
        yaml_file = [YamlConfigSettingsSource(settings_cls, yaml_file=path)] if path else []
        folder = os.environ.get(SECRETS_VARIABLE)
        files = [SecretsSettingsSource(settings_cls, secrets_dir=folder)] if folder else []
        return (init_settings, env_settings, *files, *yaml_file)


def load(config: Path | None = None, **overrides: Any) -> Settings:
    """
    Read the settings. `config` names the YAML file (default: `GODOCKER_CONFIG`); `overrides` stand above everything.

    Raises `errors.ConfigurationError` with one line per setting that breaks a rule.
    """
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    path = os.environ.get(CONFIG_VARIABLE)
    if path and not Path(path).is_file():
        raise errors.ConfigurationError(f"the configuration file {path} does not exist")
    folder = os.environ.get(SECRETS_VARIABLE)
    if folder and not Path(folder).is_dir():
        raise errors.ConfigurationError(f"{SECRETS_VARIABLE} names {folder}, which is no directory")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in error.errors()]
        raise errors.ConfigurationError("the configuration cannot be used:\n  " + "\n  ".join(lines)) from None
    except yaml.YAMLError as error:
        raise errors.ConfigurationError(f"the configuration file {path} is not YAML: {error}") from None
    except SettingsError as error:
        # It names the field; what it cannot read is a list or an object that is not JSON.
        raise errors.ConfigurationError(f"the configuration cannot be used: {error}") from None
    except OSError as error:
        raise errors.ConfigurationError(f"{error.filename} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise errors.ConfigurationError(f"the configuration file {path} holds no settings: {error}") from None


def check_secrets(settings: Settings) -> None:
    """
    Raise `errors.ConfigurationError` unless both secrets are there, long enough, unlike each other and not the
    documented sample. Services call it before they start; commands that sign nothing do not need them.
    """
    for name in ("secret_passphrase", "shared_secret_passphrase"):
        value = getattr(settings, name).get_secret_value()
        if problem := _secret_problem(value):
            raise errors.ConfigurationError(
                f"{name} {problem}. Set GODOCKER_{name.upper()} or `{name}` in the configuration file, "
                "for example to the output of: openssl rand -hex 32"
            )
    if settings.secret_passphrase.get_secret_value() == settings.shared_secret_passphrase.get_secret_value():
        raise errors.ConfigurationError(
            "secret_passphrase and shared_secret_passphrase must differ: whoever is given the shared one could sign in "
            "as anybody with it"
        )


def _secret_problem(value: str) -> str | None:
    if not value:
        return "is missing"
    if value in SAMPLE_SECRETS:
        return "is the sample from the documentation"
    if len(value) < SECRET_LENGTH:
        return f"is too short: {len(value)} characters, at least {SECRET_LENGTH} are needed"
    if len(set(value)) < 8:
        return "repeats a few characters only"
    return None
