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

START_CONCURRENCY = 8  #: starts that a node takes at a time, unless its settings say otherwise
MOST_IN_BATCH = 10_000  #: tasks of one request, whatever is configured
SECRET_LENGTH = 32  #: characters a secret must have
#: Values that stand in documents: a system that runs with one is open to whoever read them.
SAMPLE_SECRETS = frozenset({"WE_SHOULD_USE_A_REAL_SECRET_PASSPHRASE_HERE", "change-me", "changeme", "secret"})

_MOUNT = re.compile(r"/[A-Za-z0-9._/-]+")
_ATTRIBUTE = r"^[A-Za-z][A-Za-z0-9-]{0,63}$"
_SYSTEM_PATHS = ("/", "/proc", "/dev", "/sys", "/bin", "/etc", "/usr", "/lib", "/sbin")


Weight = Annotated[float, Field(ge=0, le=1_000_000)]  #: of one part of a fair-share ticket


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
    """An image offered to users by the clients."""

    name: str  #: what users see
    url: str  #: the image, as an engine pulls it
    interactive: bool = False  #: it can be used interactively
    default: bool = False  #: clients choose it at first


class Volume(_Part):
    """A directory of the hosts that tasks may ask for by name. `$USERID` in `path` is the task's user."""

    #: how tasks ask for it; `home` is the user's home directory
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    path: str | None = None  #: directory of the hosts; `home` needs none
    mount: str | None = None  #: place in the container; not set: the same as `path`
    acl: Literal["ro", "rw"] = "ro"  #: read only, or read and write

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

    name: str  #: name of the label
    value: list[str] = []  #: its values


class DynamicField(_Part):
    """A requirement of a task that may still be changed after it was created, by its owner or by admins alone."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]  #: name of the requirement
    admin_only: bool = False  #: only admins may change it


class FailurePolicy(_Part):
    """What happens to a task whose node failed it. The command's own failures are its owner's."""

    strategy: Annotated[int, Field(ge=0, le=100)] = 0  #: most restarts that a task may ask for
    skip_failed_nodes: bool = False  #: do not restart a task on a node that failed it
    delay: durations.Duration = 5.0  #: time before a restart, doubled for each further one


class LdapFields(_Part):
    """Which attribute of a person's entry holds what (those of RFC 2307, `mail` of RFC 4524)."""

    login: Annotated[str, Field(pattern=_ATTRIBUTE)] = "uid"  #: login name
    uid: Annotated[str, Field(pattern=_ATTRIBUTE)] = "uidNumber"  #: number of the user
    gid: Annotated[str, Field(pattern=_ATTRIBUTE)] = "gidNumber"  #: number of the user's group
    home: Annotated[str, Field(pattern=_ATTRIBUTE)] = "homeDirectory"  #: home directory
    mail: Annotated[str, Field(pattern=_ATTRIBUTE)] = "mail"  #: mail address


class Node(_Part):
    """A Docker host. What is not given about its size is asked of its engine."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]  #: unique name
    url: str = "unix:///var/run/docker.sock"  #: address of its engine, unix:///PATH or tcp://HOST:PORT
    tls_ca: Path | None = None  #: certificate of the authority that signed the engine's
    tls_cert: Path | None = None  #: our certificate, for an engine with `tlsverify`
    tls_key: Path | None = None  #: its key
    labels: dict[str, str] = {}  #: what tasks may ask for by `label`
    cpus: Annotated[float, Field(gt=0)] | None = None  #: cores that tasks may use; not set: those of the engine
    memory: Annotated[float, Field(gt=0)] | None = None  #: memory in GB that tasks may use; not set: that of the engine
    #: GPUs that tasks may use, by name or as devices
    gpus: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$|^/dev/[A-Za-z0-9/_-]{1,60}$")]] = []
    start_concurrency: Annotated[int, Field(ge=1, le=256)] = START_CONCURRENCY  #: starts at a time
    #: name or address where users reach the ports of tasks; not set: `container.urls` of a task is empty
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
    """All settings of all services, checked as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    # --- this installation
    #: name of this installation; versions without identities labelled its containers with it
    instance: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")] = "godocker"
    shared_dir: Path = Path("/opt/godshared")  #: directory of tasks and users, at the same path on every host
    #: directory of a system started by `godocker up`; the process executor keeps its records there
    data_dir: Path = Path(".godocker")
    log_level: Literal["debug", "info", "warning", "error"] = "info"  #: the least important messages that are logged

    # --- stores
    #: the MongoDB; it must be a replica set, of one member at least
    mongo_url: Annotated[str, AfterValidator(urls.check_mongo)] = "mongodb://127.0.0.1:27017/?replicaSet=rs0"
    mongo_user: str | None = None  #: login for MongoDB; not set: as the URL says
    mongo_password: SecretStr | None = None  #: its password
    mongo_db: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "godocker"  #: name of the database
    mongo_timeout: Annotated[float, Field(gt=0)] = 5.0  #: seconds that a request waits for MongoDB, retries included
    redis_host: HostName = "127.0.0.1"  #: the Redis, which carries hints between services
    redis_port: Annotated[int, Field(ge=1, le=65535)] = 6379  #: port of Redis
    redis_socket: Path | None = None  #: socket of Redis, instead of host and port
    redis_db: Annotated[int, Field(ge=0)] = 0  #: number of its database
    redis_password: SecretStr | None = None  #: its password, if it wants one
    redis_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")] = "god"  #: prefix of the names of all keys
    redis_timeout: Annotated[float, Field(gt=0)] = 1.0  #: seconds that a call waits for Redis

    # --- secrets and sessions
    #: signs sessions and what services tell each other; at least 32 characters, the same for all services
    secret_passphrase: SecretStr = SecretStr("")
    #: signs what applications send; known to them, so it must differ from the other
    shared_secret_passphrase: SecretStr = SecretStr("")
    session_timeout: Annotated[int, Field(ge=60)] = 172800  #: seconds that a login is valid
    prometheus_key: SecretStr | None = None  #: lets applications write metrics: see `POST /prometheus`

    # --- where the services listen
    host: HostName = "127.0.0.1"  #: address that the gateway listens on
    port: Annotated[int, Field(ge=0, le=65535)] = 6543  #: port of the gateway; 0: a free one
    #: port of the scheduler's health, metrics and explanations; `up` takes a free one unless it is set
    scheduler_port: Annotated[int, Field(ge=0, le=65535)] = 6544
    watcher_port: Annotated[int, Field(ge=0, le=65535)] = 6545  #: port of the watcher's health and metrics; as above
    files_port: Annotated[int, Field(ge=0, le=65535)] = 6546  #: port of the file service; as above
    internal_host: HostName = "127.0.0.1"  #: address that scheduler, watcher and file service listen on
    files_url: HttpUrl | None = None  #: where gateways reach the file service; not set: on this machine
    scheduler_url: HttpUrl | None = None  #: where gateways reach the scheduler; not set: on this machine
    metrics_public: bool = True  #: serve `/metrics` of the gateway without a login

    # --- what tasks may ask for
    default_images: list[Image] = []  #: images that clients offer
    allow_user_images: bool = True  #: users may name images that are not in `default_images`
    #: registries that images may come from; not set: any but addresses of private networks
    allowed_registries: list[str] | None = None
    volumes: list[Volume] = []  #: directories of the hosts that tasks may ask for
    constraints: list[Constraint] = []  #: labels that clients offer for choosing nodes
    share_timeout: Annotated[int, Field(ge=60)] = 30 * 24 * 3600  #: seconds that a link for sharing files is valid
    defaults_cpu: Annotated[float, Field(gt=0)] = 1  #: cores of a task that does not say how many
    defaults_ram: Annotated[float, Field(gt=0)] = 2  #: memory in GB of a task that does not say how much
    max_cpu: Annotated[float, Field(gt=0)] = 4096  #: most cores that a task may ask for
    max_ram: Annotated[float, Field(gt=0)] = 65536  #: most memory in GB that a task may ask for
    allow_root: bool = False  #: tasks may run as root of their container; see docs/operations.md first
    uid_start: Annotated[int, Field(ge=1)] = 20000  #: first number for users without a system account
    rate_limit: Annotated[int, Field(ge=1)] | None = None  #: most pending tasks of one user; not set: no limit
    rate_limit_all: Annotated[int, Field(ge=1)] | None = None  #: most pending tasks of all users; not set: no limit
    authenticate_limit: Annotated[int, Field(ge=1)] = 30  #: most failed logins a minute for one user and address
    #: most failed logins a minute from one address, whoever the user; not set: as many as `authenticate_limit`
    authenticate_limit_address: Annotated[int, Field(ge=1)] | None = None
    #: most failed logins an hour for one user, from anywhere the user has not logged in from before; not set: ten times
    #: `authenticate_limit`
    authenticate_limit_user: Annotated[int, Field(ge=1)] | None = None
    trusted_proxies: list[str] = []  #: addresses and networks whose `X-Forwarded-For` and `-Proto` are believed
    images_public: bool = True  #: serve `GET image` without a login
    max_body: Annotated[int, Field(ge=1024)] = 1024 * 1024  #: most bytes of a request, files not counted
    streams_per_user: Annotated[int, Field(ge=1)] = (
        20  #: most streams that one user follows at a time, per gateway process
    )
    max_batch: Annotated[int, Field(ge=1, le=MOST_IN_BATCH)] = 1000  #: most tasks of one request

    dynamic_fields: list[DynamicField] = []  #: requirements that may be changed after a task was created

    # --- who users are
    #: `ldap`: users may log in with the password of a directory; API keys work in any case
    auth_policy: Literal["local", "ldap"] = "local"
    ldap_host: str | None = None  #: the LDAP server
    ldap_port: Annotated[int, Field(ge=1, le=65535)] = 389  #: port of the LDAP server
    ldap_tls: Literal["none", "starttls", "ldaps"] = "starttls"  #: how the connection to the directory is encrypted
    ldap_ca: Path | None = None  #: certificates to trust; not set: those of the system
    ldap_dn: str = ""  #: base of all entries, like `dc=lab,dc=org`
    ldap_base_dn_filter: str | None = None  #: where people are below it, like `ou=People`
    ldap_filter: Annotated[str, Field(pattern=r"^\(.+\)$")] = "(objectClass=*)"  #: people who may log in
    #: entries that are groups
    ldap_group_filter: Annotated[str, Field(pattern=r"^\(.+\)$")] = "(objectClass=posixGroup)"
    ldap_admin_dn: str | None = None  #: login for searching people; not set: anybody may search
    ldap_admin_password: SecretStr | None = None  #: its password
    ldap_fields: LdapFields = LdapFields()  #: attributes of a person's entry
    ldap_admins: list[str] = []  #: users who are admins
    ldap_admin_group: str | None = None  #: group whose members are admins
    ldap_timeout: Annotated[float, Field(gt=0)] = 5.0  #: seconds that a login waits for the directory

    # --- mail
    smtp_host: HostName | None = None  #: the mail server; not set: no mails are sent
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587  #: its port
    smtp_tls: Literal["none", "starttls", "ssl"] = "starttls"  #: how the connection to the mail server is encrypted
    smtp_ca: Path | None = None  #: certificates to trust; not set: those of the system
    smtp_user: str | None = None  #: login for the mail server
    smtp_password: SecretStr | None = None  #: its password
    mail_from: str | None = None  #: address that mails are sent from

    # --- who uses it
    share_project_tasks: bool = False  #: members of a project see and manage each other's tasks in it
    user_reset_usage_duration: Annotated[int, Field(ge=1, le=3660)] = 30  #: days that usage is counted over
    clean_old: Annotated[int, Field(ge=0, le=36500)] = 30  #: days until tasks that are over lose their files; 0: never
    guest_allow: bool = False  #: users marked guest may send tasks
    guest_bind: str | None = None  #: user that the tasks of guests run as
    guest_home_root: Path | None = None  #: directory of the homes of guests; not set: they have none
    guest_allow_root: bool = False  #: guests may ask for root tasks, where others may

    # --- running tasks
    #: what runs tasks: containers, processes of this machine, or nothing (they only pretend to run)
    executor: Literal["docker", "process", "simulated"] = "docker"
    nodes: list[Node] = []  #: the Docker hosts; not set: the engine of this machine
    #: cores for tasks that are processes; not set: those of the machine
    process_cpus: Annotated[float, Field(gt=0)] | None = None
    #: memory in GB for tasks that are processes; not set: that of the machine
    process_memory: Annotated[float, Field(gt=0)] | None = None
    process_public: bool = False  #: allow others to reach a system whose tasks run without isolation
    kill_grace: Annotated[float, Field(ge=0)] = 10.0  #: seconds between SIGTERM and SIGKILL
    #: seconds for processes that still write a task's output after its command ended
    output_grace: durations.Duration = 5.0
    #: seconds for the start of a container, without the pull of its image
    start_timeout: Annotated[float, Field(gt=0)] = 60.0
    pull_timeout: Annotated[float, Field(gt=0)] = 1800.0  #: seconds for the pull of an image
    docker_timeout: Annotated[float, Field(gt=0)] = 30.0  #: seconds for any other call to an engine
    #: network of the engines for tasks that ask for `public`; not set: one made by GoDocker, where tasks do not reach each other
    docker_network: str | None = None
    #: where temporary storage lies on the node; on disk, sizes are limits only if the engine has quotas
    tmpstorage: Literal["disk", "memory"] = "disk"
    pids_limit: Annotated[int, Field(ge=16)] = 4096  #: most processes of a task
    port_start: Annotated[int, Field(ge=1024, le=65535)] = 10000  #: first port of a node that tasks are given
    port_range: Annotated[int, Field(ge=1)] = 2000  #: how many ports, from `port_start` on
    process_open_files: Annotated[int, Field(ge=64)] = (
        65536  #: most open files of each process of a task, without containers
    )
    process_gpus: list[str] = []  #: devices of this machine for tasks that are processes
    #: most seconds that a task may run, whatever it asks for; not set: no limit
    maxlifespan: durations.Duration | None = None
    failure_policy: FailurePolicy = FailurePolicy()  #: what happens to tasks whose node failed
    max_array: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000  #: most children of one array
    #: seconds between SIGTERM and SIGKILL for a task that has reached its `maxlifespan`
    lifespan_grace: durations.Duration = 30.0
    task_disk_quota: sizes.Size | None = None  #: most bytes that a task may have in its directory; not set: no limit

    # --- files
    disk_default_quota: sizes.Size = 10 * 1024**3  #: bytes of personal storage of users without a quota of their own
    files_list_limit: Annotated[int, Field(ge=1)] = 1_000_000  #: most entries of a directory that are listed

    # --- whose turn it is
    #: `fifo`, `fairshare`, or a policy that another package brings
    scheduler_policy: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "fifo"
    fairshare_waiting_time_weight: Weight = 0.1  #: weight of a task's waiting time, per day
    fairshare_user_time_weight: Weight = 1  #: weight of the time that the user's tasks ran within the window
    fairshare_user_cpu_weight: Weight = 0.2  #: weight of the cores that they held, times the time
    fairshare_user_ram_weight: Weight = 0.2  #: weight of the memory that they held, times the time
    fairshare_group_time_weight: Weight = 0.1  #: weight of the time that the project's tasks ran within the window
    fairshare_group_cpu_weight: Weight = 0.01  #: weight of the cores that they held, times the time
    fairshare_group_ram_weight: Weight = 0.01  #: weight of the memory that they held, times the time
    fairshare_user_weight: Weight = 1  #: weight of the user's priority
    fairshare_group_weight: Weight = 1  #: weight of the project's priority
    #: seconds between two readings of usage and priorities
    fairshare_reload_seconds: Annotated[float, Field(gt=0, le=86400)] = 30.0

    # --- loops
    #: `binpack` fills the fullest node that has room, `spread` the emptiest
    placement: Literal["binpack", "spread"] = "binpack"
    #: seconds until a node is reserved for the first task without room, where tasks have a `maxlifespan`
    reserve_after: durations.Duration = 60.0
    #: seconds until tasks that no node could ever take are ended, at least a minute; not set: they wait on
    unplaceable_after: Annotated[durations.Duration, Field(ge=60)] | None = None
    node_grace: durations.Duration = 30.0  #: seconds without an answer until a node's tasks count as unknown
    node_lost_after: durations.Duration = 600.0  #: seconds until they are restarted elsewhere, or ended
    #: lease of whoever watches a node or does a duty for all services
    lease_seconds: Annotated[float, Field(ge=1)] = 5.0
    #: lease of the leading scheduler: its death costs that long at most
    leader_lease_seconds: Annotated[float, Field(ge=1)] = 3.0
    poll_seconds: Annotated[float, Field(gt=0)] = 2.0  #: seconds between two polls, which stand behind every wakeup
    reconcile_seconds: Annotated[float, Field(gt=0)] = 5.0  #: seconds between two lists of a node's containers
    monitor_seconds: Annotated[float, Field(gt=0)] = 10.0  #: seconds between two samples of a running task
    #: seconds between two measurements of a running task's directory
    disk_seconds: Annotated[float, Field(gt=0)] = 60.0
    gather_seconds: Annotated[float, Field(ge=0)] = 0.02  #: seconds in which a burst of wakeups becomes one

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
