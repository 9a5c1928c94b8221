"""
Every setting, with its type, default and rules.

Settings keep the names of GO-Docker where it had them. `shared.config.loading` reads them, once in each process.
The comment of a field (`#:`) is its description in docs/settings.md.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from shared import errors
from shared.units import addresses, durations, sizes, urls
from shared.wording import model_paths

START_CONCURRENCY = 8  #: concurrent starts on a node, unless its settings say otherwise
MOST_IN_BATCH = 10_000  #: most tasks of one request, whatever is configured
SECRET_LENGTH = 32  #: least characters of a secret
#: Published sample values: with one of them, anybody who read the documents has access.
SAMPLE_SECRETS = frozenset({"WE_SHOULD_USE_A_REAL_SECRET_PASSPHRASE_HERE", "change-me", "changeme", "secret"})

_MOUNT = re.compile(r"/[A-Za-z0-9._/-]+")
_ATTRIBUTE = r"^[A-Za-z][A-Za-z0-9-]{0,63}$"
_SYSTEM_PATHS = ("/", "/proc", "/dev", "/sys", "/bin", "/etc", "/usr", "/lib", "/sbin")


Weight = Annotated[float, Field(ge=0, le=1_000_000)]  #: weight of one part of a fair-share ticket


HostName = Annotated[str, AfterValidator(urls.check_host)]
HttpUrl = Annotated[str, AfterValidator(urls.check_http)]


def _no_number(fields: Mapping[str, FieldInfo], name: str | None, value: Any) -> Any:
    # Python's bool is an int: `port: true` would be port 1.
    if isinstance(value, bool) and name is not None:
        annotation = fields[name].annotation
        if model_paths.takes(annotation, int, float) and not model_paths.takes(annotation, bool):
            raise ValueError("must not be true or false")
    return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        return _no_number(cls.model_fields, info.field_name, value)


class Image(_Part):
    """An image that clients offer to users."""

    name: str  #: name that users see
    url: str  #: image reference, as an engine pulls it
    interactive: bool = False  #: supports interactive use
    default: bool = False  #: preselected by clients


class Volume(_Part):
    """A directory of the hosts that tasks may mount by name. `$USERID` in `path` stands for the task's user."""

    #: name in requests of tasks; `home` is the user's home directory
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    path: str | None = None  #: directory on the hosts; `home` needs none
    mount: str | None = None  #: mount point in the container; not set: the same as `path`
    acl: Literal["ro", "rw"] = "ro"  #: read-only or read-write

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
    """A label, with the values that clients offer for it."""

    name: str  #: name of the label
    value: list[str] = []  #: its values


class DynamicField(_Part):
    """A requirement of a task that may change after submission, by its owner or by admins alone."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]  #: name of the requirement
    admin_only: bool = False  #: only admins may change it


class FailurePolicy(_Part):
    """Restarts of tasks whose node failed. Failures of the command itself do not count."""

    strategy: Annotated[int, Field(ge=0, le=100)] = 0  #: most restarts that a task may request
    skip_failed_nodes: bool = False  #: restart a task only on nodes that have not failed it
    delay: durations.Duration = 5.0  #: pause before a restart, doubled for each further one


class LdapFields(_Part):
    """Attributes of a person's entry (by default those of RFC 2307, `mail` of RFC 4524)."""

    login: Annotated[str, Field(pattern=_ATTRIBUTE)] = "uid"  #: login name
    uid: Annotated[str, Field(pattern=_ATTRIBUTE)] = "uidNumber"  #: uid of the user
    gid: Annotated[str, Field(pattern=_ATTRIBUTE)] = "gidNumber"  #: gid of the user's group
    home: Annotated[str, Field(pattern=_ATTRIBUTE)] = "homeDirectory"  #: home directory
    mail: Annotated[str, Field(pattern=_ATTRIBUTE)] = "mail"  #: mail address


class Node(_Part):
    """A Docker host. Sizes that are not set are asked of its engine."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]  #: unique name
    url: str = "unix:///var/run/docker.sock"  #: URL of its engine, unix:///PATH or tcp://HOST:PORT
    tls_ca: Path | None = None  #: certificate of the authority that signed the engine's
    tls_cert: Path | None = None  #: our certificate, for an engine with `tlsverify`
    tls_key: Path | None = None  #: key of our certificate
    labels: dict[str, str] = {}  #: labels that tasks may require
    cpus: Annotated[float, Field(gt=0)] | None = None  #: cores for tasks; not set: those of the engine
    memory: Annotated[float, Field(gt=0)] | None = None  #: memory in GB for tasks; not set: that of the engine
    #: GPUs for tasks, by name or as devices
    gpus: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$|^/dev/[A-Za-z0-9/_-]{1,60}$")]] = []
    start_concurrency: Annotated[int, Field(ge=1, le=256)] = START_CONCURRENCY  #: concurrent starts
    #: name or address at which users reach the ports of tasks; not set: `container.urls` of a task is empty
    public_address: Annotated[str, Field(max_length=253), AfterValidator(urls.check_reachable)] | None = None

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if not url.startswith(("unix:///", "tcp://", "http://", "https://")):
            raise ValueError("must start with unix:///, tcp://, http:// or https://")
        if not url.startswith("unix://"):
            urls.check_place(url)
        return url


class Settings(BaseModel):
    """All settings of all services, validated together."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    # --- this installation
    #: name of this installation; versions without identities labelled its containers with it
    instance: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")] = "godocker"
    shared_dir: Path = Path("/opt/godshared")  #: directory of tasks and users, at the same path on every host
    #: directory of a system started by `godocker up`, and of the records of the process executor
    data_dir: Path = Path(".godocker")
    log_level: Literal["debug", "info", "warning", "error"] = "info"  #: least severe level that is logged

    # --- stores
    #: MongoDB, a replica set of at least one member
    mongo_url: Annotated[str, AfterValidator(urls.check_mongo)] = "mongodb://127.0.0.1:27017/?replicaSet=rs0"
    mongo_user: str | None = None  #: user name for MongoDB; not set: as in the URL
    mongo_password: SecretStr | None = None  #: password for MongoDB
    mongo_db: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "godocker"  #: name of the database
    mongo_timeout: Annotated[float, Field(gt=0)] = 5.0  #: seconds that a request waits for MongoDB, retries included
    redis_host: HostName = "127.0.0.1"  #: host of Redis, which carries hints between services
    redis_port: Annotated[int, Field(ge=1, le=65535)] = 6379  #: port of Redis
    redis_socket: Path | None = None  #: socket of Redis, instead of host and port
    redis_db: Annotated[int, Field(ge=0)] = 0  #: number of the Redis database
    redis_password: SecretStr | None = None  #: password of Redis, if it requires one
    redis_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")] = "god"  #: prefix of the names of all keys
    redis_timeout: Annotated[float, Field(gt=0)] = 1.0  #: seconds that a call waits for Redis

    # --- secrets and sessions
    #: signs sessions and tokens between services; at least 32 characters, the same for all services
    secret_passphrase: SecretStr = SecretStr("")
    #: signs tokens of applications, which know it, so it must differ from `secret_passphrase`
    shared_secret_passphrase: SecretStr = SecretStr("")
    session_timeout: Annotated[int, Field(ge=60)] = 172800  #: seconds that a session is valid
    prometheus_key: SecretStr | None = None  #: key with which applications push metrics: see `POST /prometheus`

    # --- where the services listen
    host: HostName = "127.0.0.1"  #: address that the gateway listens on
    port: Annotated[int, Field(ge=0, le=65535)] = 6543  #: port of the gateway; 0: any free port
    #: port of the scheduler's health, metrics and explanations; not set: `up` takes a free one
    scheduler_port: Annotated[int, Field(ge=0, le=65535)] = 6544
    watcher_port: Annotated[int, Field(ge=0, le=65535)] = 6545  #: port of the watcher's health and metrics; as above
    files_port: Annotated[int, Field(ge=0, le=65535)] = 6546  #: port of the files service; as above
    internal_host: HostName = "127.0.0.1"  #: address that scheduler, watcher and files service listen on
    files_url: HttpUrl | None = None  #: URL of the files service for gateways; not set: on this machine
    scheduler_url: HttpUrl | None = None  #: URL of the scheduler for gateways; not set: on this machine
    metrics_public: bool = True  #: serve `/metrics` of the gateway without a login

    # --- what tasks may ask for
    default_images: list[Image] = []  #: images that clients offer
    allow_user_images: bool = True  #: users may use images that are not in `default_images`
    #: registries that images may come from; not set: all except addresses of private networks
    allowed_registries: list[str] | None = None
    volumes: list[Volume] = []  #: directories of the hosts that tasks may mount
    constraints: list[Constraint] = []  #: labels that clients offer for choosing nodes
    share_timeout: Annotated[int, Field(ge=60)] = 30 * 24 * 3600  #: seconds that a link for sharing files is valid
    defaults_cpu: Annotated[float, Field(gt=0)] = 1  #: default cores of a task
    defaults_ram: Annotated[float, Field(gt=0)] = 2  #: default memory of a task in GB
    max_cpu: Annotated[float, Field(gt=0)] = 4096  #: most cores of a task
    max_ram: Annotated[float, Field(gt=0)] = 65536  #: most memory of a task in GB
    allow_root: bool = False  #: tasks may run as root in their container; see docs/operations.md first
    uid_start: Annotated[int, Field(ge=1)] = 20000  #: first uid for users without a system account
    rate_limit: Annotated[int, Field(ge=1)] | None = None  #: most pending tasks of one user; not set: no limit
    rate_limit_all: Annotated[int, Field(ge=1)] | None = None  #: most pending tasks of all users; not set: no limit
    authenticate_limit: Annotated[int, Field(ge=1)] = 30  #: most failed logins per minute for one user and address
    #: most failed logins per minute from one address, for all users; not set: as `authenticate_limit`
    authenticate_limit_address: Annotated[int, Field(ge=1)] | None = None
    #: most failed logins per hour for one user, from addresses without an earlier login of that user; not set: ten times
    #: `authenticate_limit`
    authenticate_limit_user: Annotated[int, Field(ge=1)] | None = None
    trusted_proxies: list[str] = []  #: addresses and networks whose `X-Forwarded-For` and `-Proto` headers are trusted
    images_public: bool = True  #: serve `GET image` without a login
    max_body: Annotated[int, Field(ge=1024)] = 1024 * 1024  #: most bytes of a request, without files
    streams_per_user: Annotated[int, Field(ge=1)] = (
        20  #: most streams that one user follows at a time, per gateway process
    )
    max_batch: Annotated[int, Field(ge=1, le=MOST_IN_BATCH)] = 1000  #: most tasks of one request

    dynamic_fields: list[DynamicField] = []  #: requirements that may change after submission

    # --- who users are
    #: `ldap`: users may log in with their password of a directory; API keys always work
    auth_policy: Literal["local", "ldap"] = "local"
    ldap_host: str | None = None  #: the LDAP server
    ldap_port: Annotated[int, Field(ge=1, le=65535)] = 389  #: port of the LDAP server
    ldap_tls: Literal["none", "starttls", "ldaps"] = "starttls"  #: encryption of the connection to the directory
    ldap_ca: Path | None = None  #: certificates to trust; not set: those of the system
    ldap_dn: str = ""  #: base of all entries, such as `dc=lab,dc=org`
    ldap_base_dn_filter: str | None = None  #: base of people below it, such as `ou=People`
    ldap_filter: Annotated[str, Field(pattern=r"^\(.+\)$")] = "(objectClass=*)"  #: filter for people who may log in
    #: filter for groups
    ldap_group_filter: Annotated[str, Field(pattern=r"^\(.+\)$")] = "(objectClass=posixGroup)"
    ldap_admin_dn: str | None = None  #: DN that searches for people; not set: anonymous search
    ldap_admin_password: SecretStr | None = None  #: password of `ldap_admin_dn`
    ldap_fields: LdapFields = LdapFields()  #: attributes of a person's entry
    ldap_admins: list[str] = []  #: users who are admins
    ldap_admin_group: str | None = None  #: group of admins
    ldap_timeout: Annotated[float, Field(gt=0)] = 5.0  #: seconds that a login waits for the directory

    # --- mail
    smtp_host: HostName | None = None  #: mail server; not set: no mails are sent
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587  #: port of the mail server
    smtp_tls: Literal["none", "starttls", "ssl"] = "starttls"  #: encryption of the connection to the mail server
    smtp_ca: Path | None = None  #: certificates to trust; not set: those of the system
    smtp_user: str | None = None  #: user name for the mail server
    smtp_password: SecretStr | None = None  #: password for the mail server
    mail_from: str | None = None  #: sender address of mails

    # --- who uses it
    share_project_tasks: bool = False  #: members of a project see and manage each other's tasks in it
    user_reset_usage_duration: Annotated[int, Field(ge=1, le=3660)] = 30  #: days of the usage window
    clean_old: Annotated[int, Field(ge=0, le=36500)] = 30  #: days until the files of ended tasks are removed; 0: never
    guest_allow: bool = False  #: guests may submit tasks
    guest_bind: str | None = None  #: user that runs the tasks of guests
    guest_home_root: Path | None = None  #: directory with the homes of guests; not set: they have none
    guest_allow_root: bool = False  #: guests may submit root tasks, if others may

    # --- running tasks
    #: how tasks run: as containers, as processes of this machine, or simulated
    executor: Literal["docker", "process", "simulated"] = "docker"
    nodes: list[Node] = []  #: Docker hosts; not set: the engine of this machine
    #: cores for tasks of the process executor; not set: those of the machine
    process_cpus: Annotated[float, Field(gt=0)] | None = None
    #: memory in GB for tasks of the process executor; not set: that of the machine
    process_memory: Annotated[float, Field(gt=0)] | None = None
    process_public: bool = False  #: allow other machines to reach a system whose tasks run without isolation
    kill_grace: Annotated[float, Field(ge=0)] = 10.0  #: seconds between SIGTERM and SIGKILL
    #: seconds for processes that still write a task's output after its command ended
    output_grace: durations.Duration = 5.0
    #: seconds for the start of a container, without the pull of its image
    start_timeout: Annotated[float, Field(gt=0)] = 60.0
    pull_timeout: Annotated[float, Field(gt=0)] = 1800.0  #: seconds for the pull of an image
    docker_timeout: Annotated[float, Field(gt=0)] = 30.0  #: seconds for any other call to an engine
    #: network of the engines for tasks that request `public`; not set: one made by GoDocker, in which tasks do not reach
    #: each other
    docker_network: str | None = None
    #: location of temporary storage on the node; on disk, sizes are limits only if the engine has quotas
    tmpstorage: Literal["disk", "memory"] = "disk"
    pids_limit: Annotated[int, Field(ge=16)] = 4096  #: most processes of a task
    port_start: Annotated[int, Field(ge=1024, le=65535)] = 10000  #: first port of a node for tasks
    port_range: Annotated[int, Field(ge=1)] = 2000  #: number of ports, from `port_start` on
    process_open_files: Annotated[int, Field(ge=64)] = (
        65536  #: most open files of each process of a task, without containers
    )
    process_gpus: list[str] = []  #: devices of this machine for tasks of the process executor
    #: most seconds that a task may run; not set: no limit
    maxlifespan: durations.Duration | None = None
    failure_policy: FailurePolicy = FailurePolicy()  #: restarts of tasks whose node failed
    max_array: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000  #: most children of one array
    #: seconds between SIGTERM and SIGKILL for a task that reached its `maxlifespan`
    lifespan_grace: durations.Duration = 30.0
    task_disk_quota: sizes.Size | None = None  #: most bytes in a task's directory; not set: no limit

    # --- files
    disk_default_quota: sizes.Size = 10 * 1024**3  #: bytes of personal storage of users without their own quota
    files_list_limit: Annotated[int, Field(ge=1)] = 1_000_000  #: most listed entries of a directory

    # --- whose turn it is
    #: `fifo`, `fairshare`, or a policy of another package
    scheduler_policy: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "fifo"
    fairshare_waiting_time_weight: Weight = 0.1  #: weight of a task's waiting time, per day
    fairshare_user_time_weight: Weight = 1  #: weight of the run time of the user's tasks within the window
    fairshare_user_cpu_weight: Weight = 0.2  #: weight of the core seconds of these tasks
    fairshare_user_ram_weight: Weight = 0.2  #: weight of the memory of these tasks, times their run time
    fairshare_group_time_weight: Weight = 0.1  #: weight of the run time of the project's tasks within the window
    fairshare_group_cpu_weight: Weight = 0.01  #: weight of the core seconds of these tasks
    fairshare_group_ram_weight: Weight = 0.01  #: weight of the memory of these tasks, times their run time
    fairshare_user_weight: Weight = 1  #: weight of the user's priority
    fairshare_group_weight: Weight = 1  #: weight of the project's priority
    #: seconds between two reads of usage and priorities
    fairshare_reload_seconds: Annotated[float, Field(gt=0, le=86400)] = 30.0

    # --- loops
    #: `binpack` prefers the fullest node with room, `spread` the emptiest
    placement: Literal["binpack", "spread"] = "binpack"
    #: seconds until a node is reserved for the first task without room, if tasks have a `maxlifespan`
    reserve_after: durations.Duration = 60.0
    #: seconds until tasks that no node could ever take are ended, at least a minute; not set: they stay pending
    unplaceable_after: Annotated[durations.Duration, Field(ge=60)] | None = None
    node_grace: durations.Duration = 30.0  #: seconds without an answer until a node's tasks are shown as unknown
    node_lost_after: durations.Duration = (
        600.0  #: seconds without an answer until they are restarted elsewhere or ended
    )
    #: lease time for watching a node, or for a task of one process among all, in seconds
    lease_seconds: Annotated[float, Field(ge=1)] = 5.0
    #: lease time of the leading scheduler in seconds, the longest outage after its death
    leader_lease_seconds: Annotated[float, Field(ge=1)] = 3.0
    poll_seconds: Annotated[float, Field(gt=0)] = 2.0  #: seconds between two polls, which back up every wakeup
    reconcile_seconds: Annotated[float, Field(gt=0)] = 5.0  #: seconds between two lists of a node's containers
    monitor_seconds: Annotated[float, Field(gt=0)] = 10.0  #: seconds between two samples of a running task
    #: seconds between two measurements of a running task's directory
    disk_seconds: Annotated[float, Field(gt=0)] = 60.0
    gather_seconds: Annotated[float, Field(ge=0)] = 0.02  #: seconds in which a burst of wakeups is combined into one

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        return _no_number(cls.model_fields, info.field_name, value)

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
            raise ValueError("guest_allow needs guest_bind, the user that runs the tasks of guests")
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
        """URL at which the gateway reaches the files service."""
        any_address = {
            "0.0.0.0": "127.0.0.1",
            "::": "::1",
            "": "127.0.0.1",
        }  # listened on: connected to
        host = any_address.get(self.internal_host, self.internal_host)
        shown = f"[{host}]" if ":" in host else host
        return self.files_url or f"http://{shown}:{self.files_port}"

    @property
    def docker_nodes(self) -> list[Node]:
        """The configured Docker hosts; if none are set, the engine of this machine (`nodes: []` means none)."""
        return self.nodes if "nodes" in self.model_fields_set else [Node(name="localhost")]


def check_secrets(settings: Settings) -> None:
    """
    Raise `errors.ConfigurationError` unless both secrets are set, long enough, different and no published sample. Services
    call it at their start; commands that sign nothing do not need secrets.
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
            "secret_passphrase and shared_secret_passphrase must differ: anybody who has the shared one could sign in "
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
