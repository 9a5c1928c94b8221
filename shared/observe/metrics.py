"""
Every metric that GoDocker exports, declared in one place.

A metric belongs to the registry of the service that exports it, see `shared.observe.exposition`. Label values come from
closed sets or from the configuration (nodes), never from a request: no users, tasks or images.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

if TYPE_CHECKING:
    from prometheus_fastapi_instrumentator import metrics as request_metrics

# The start time of each counter would be one more series each, and is not needed.
disable_created_metrics()  # type: ignore[no-untyped-call]

ANY = REGISTRY  #: of each process, in every service
API = CollectorRegistry()
SCHEDULER = CollectorRegistry()
#: State of the whole system, exported by one process, so that nothing is counted twice.
SYSTEM = CollectorRegistry()
WATCHER = CollectorRegistry()
FILES = CollectorRegistry()

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CALLS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_WAITS = (*_SECONDS, 1800, 7200, 43200, 172800)
_TRUTH = "; exported by the leader only; aggregate with max()"

# --- every service
LOOP_LAG = Histogram("godocker_loop_lag_seconds", "Delay of the event loop", buckets=(0.001, *_CALLS[1:], 10, 30))
PROCESS_CPU = Counter("godocker_process_cpu_seconds_total", "CPU time of the service, all workers together")
PROCESS_MEMORY = Gauge(
    "godocker_process_memory_bytes", "Resident memory of the service, all workers together", multiprocess_mode="livesum"
)
PROCESS_FILES = Gauge(
    "godocker_process_open_files",
    "Open file descriptors of the service, all workers together",
    multiprocess_mode="livesum",
)
STORE_SECONDS = Histogram(
    "godocker_store_seconds",
    "Duration of calls to MongoDB, failed ones included, by store",
    ["store"],
    buckets=_CALLS,
)
STORE_ERRORS = Counter("godocker_store_errors_total", "Calls that MongoDB did not answer in time")
UNREADABLE = Counter("godocker_unreadable_tasks_total", "Reads of malformed task documents")
REDIS_SECONDS = Histogram(
    "godocker_redis_seconds",
    "Duration of calls to Redis, retries included, by operation",
    ["operation"],
    buckets=_CALLS,
)
RECORDS_UNREADABLE = Counter(
    "godocker_process_records_unreadable_total", "Records of the process executor that could not be read"
)
REDIS_ERRORS = Counter("godocker_redis_errors_total", "Calls that Redis did not answer, retries included")
REDIS_JUNK = Counter("godocker_redis_junk_total", "Skipped foreign values in Redis, by place", ["where"])
UNREADABLE_DOCUMENTS = Counter(
    "godocker_unreadable_documents_total",
    "Reads of malformed documents in other collections, by collection",
    ["collection"],
)
LOOPS_BROKEN = Counter("godocker_loops_broken_total", "Failed and restarted loops of a service, by loop", ["loop"])
CLOCK_AHEAD = Gauge(
    "godocker_clock_ahead_seconds",
    "Lead of a clock, 0 within the measuring error: `machine`, this service's host against MongoDB's server, whose time "
    "counts; `files`, the files service against the gateway",
    ["kind"],
    multiprocess_mode="mostrecent",
)
LEASE_CHANGES = Counter("godocker_lease_changes_total", "Leases taken or lost by this process", ["change"])
ENDED = Counter("godocker_tasks_ended_total", "Ends of attempts recorded by this process, by ending", ["ending"])

BUILD = Gauge(
    "godocker_build_info",
    "Always 1; `version` is the version of the service",
    ["version"],
    multiprocess_mode="mostrecent",
)
BUILD.labels(metadata.version("godocker")).set(1)

# --- gateway
TASKS_ADMITTED = Counter("godocker_tasks_admitted_total", "Accepted tasks", registry=API)
TASKS_REFUSED = Counter("godocker_tasks_refused_total", "Refused tasks, by `code` of the error", ["code"], registry=API)
HINTS_LOST = Counter(
    "godocker_hints_lost_total", "Hints that Redis did not take; a poll makes up for them", registry=API
)
PUSHED = Gauge(
    "godocker_pushed",
    "Last pushed value, by name and host",
    ["name", "host"],
    registry=API,
    multiprocess_mode="mostrecent",
)

# --- scheduler, each process of it
LEADER = Gauge("godocker_scheduler_leader", "1 while this scheduler leads", registry=SCHEDULER)
CYCLE_SECONDS = Histogram(
    "godocker_cycle_seconds", "Length of a scheduling cycle", buckets=_SECONDS, registry=SCHEDULER
)
PLACED = Counter("godocker_tasks_placed_total", "Attempts placed on a node", registry=SCHEDULER)
PLACEMENTS_LOST = Counter(
    "godocker_placements_lost_total", "Placements lost to another writer of the same task", registry=SCHEDULER
)
STARTS = Counter("godocker_starts_total", "Starts of attempts, by outcome", ["outcome"], registry=SCHEDULER)
START_SECONDS = Histogram(
    "godocker_start_seconds", "Time from placement to start", buckets=_SECONDS, registry=SCHEDULER
)
QUEUE_SECONDS = Histogram("godocker_queue_seconds", "Time from pending to start", buckets=_WAITS, registry=SCHEDULER)
QUOTA_REFUSALS = Counter(
    "godocker_quota_refusals_total",
    "Placements refused by a quota, by effect: the task waits or ended",
    ["effect"],
    registry=SCHEDULER,
)
CHILDREN_MADE = Counter("godocker_array_children_made_total", "Stored children of arrays", registry=SCHEDULER)
RELEASED = Counter(
    "godocker_dependency_releases_total", "Released tasks whose dependencies are met", registry=SCHEDULER
)

# --- the system as a whole
TASKS = Gauge("godocker_tasks", f"Tasks that are not over, by status{_TRUTH}", ["status"], registry=SYSTEM)
PENDING = Gauge(
    "godocker_tasks_pending", f"Pending tasks, by pending reason as in the API{_TRUTH}", ["reason"], registry=SYSTEM
)
OLDEST_PENDING = Gauge(
    "godocker_oldest_pending_seconds",
    f"Age of the oldest pending task, by pending reason as in the API{_TRUTH}",
    ["reason"],
    registry=SYSTEM,
)
NODE_CPUS = Gauge("godocker_node_cpus", f"Cores of a node, total and used{_TRUTH}", ["node", "kind"], registry=SYSTEM)
NODE_MEMORY = Gauge(
    "godocker_node_memory_bytes", f"Memory of a node, total and used{_TRUTH}", ["node", "kind"], registry=SYSTEM
)
NODE_GPUS = Gauge("godocker_node_gpus", f"GPUs of a node, total and used{_TRUTH}", ["node", "kind"], registry=SYSTEM)
NODE_DISK = Gauge(
    "godocker_node_disk_bytes",
    f"Disk of a node's engine, total and used; 0 if unknown{_TRUTH}",
    ["node", "kind"],
    registry=SYSTEM,
)
NODE_READY = Gauge(
    "godocker_node_ready", f"1 while the node answers and is not in maintenance{_TRUTH}", ["node"], registry=SYSTEM
)
NODE_UNWELL = Gauge(
    "godocker_node_unwell",
    f"1 while starts fail with installation errors on a node, or (`all`) on every node; absent otherwise{_TRUTH}",
    ["node"],
    registry=SYSTEM,
)
NODE_MAINTENANCE = Gauge(
    "godocker_node_maintenance", f"1 while the node is in maintenance{_TRUTH}", ["node"], registry=SYSTEM
)
NODE_CLOCK = Gauge(
    "godocker_node_clock_ahead_seconds",
    f"Lead of the clock of a node's engine over the scheduler's, negative: behind{_TRUTH}",
    ["node"],
    registry=SYSTEM,
)
OUTBOX = Gauge("godocker_outbox_mails", f"Unsent mails{_TRUTH}", registry=SYSTEM)
OUTBOX_OLDEST = Gauge(
    "godocker_outbox_oldest_seconds", f"Age of the oldest unsent mail, 0 without one{_TRUTH}", registry=SYSTEM
)

# --- watcher
LEASED_NODES = Gauge("godocker_watcher_nodes", "Nodes whose lease this watcher holds", registry=WATCHER)
EVENTS = Counter("godocker_events_total", "Events of executors, by kind", ["kind"], registry=WATCHER)
MISSED_EVENTS = Counter(
    "godocker_missed_events_total", "Ends found by listing runs, without an event", registry=WATCHER
)
RECONCILES = Counter("godocker_reconciles_total", "Reconcile passes, by outcome", ["node", "outcome"], registry=WATCHER)
RECONCILED = ("done", "failed", "store_unavailable", "node_unavailable")  #: outcomes
ACTIONS = Counter(
    "godocker_actions_total",
    "Differences between records and runs, by action taken",
    ["action"],
    registry=WATCHER,
)
EXIT_TO_OVER = Histogram(
    "godocker_exit_to_over_seconds", "Time from the end of a run to its record", buckets=_SECONDS, registry=WATCHER
)
NODE_SILENT = Gauge(
    "godocker_node_silent_seconds",
    "Time that a node has been unreachable, 0 while it answers; from the watcher that holds its lease",
    ["node"],
    registry=WATCHER,
)
STRAYS = Gauge(
    "godocker_process_strays",
    "Processes of task users that belong to no run of the process executor",
    registry=WATCHER,
)
NODE_STUCK = Gauge(
    "godocker_node_stuck_runs",
    "Killed runs of a node that go on; from the watcher that holds its lease",
    ["node"],
    registry=WATCHER,
)
MAILS = Counter("godocker_mails_total", "Attempts to send a mail, by outcome", ["outcome"], registry=WATCHER)

# --- files
FILE_BYTES = Counter(
    "godocker_file_bytes_total", "Bytes of files uploaded and downloaded", ["direction"], registry=FILES
)
SHARED_DIR = Gauge(
    "godocker_shared_dir_bytes",
    "Size and free space of the file system of shared_dir; the same from each files process",
    ["kind"],
    registry=FILES,
)


#: Cached, since finding a label costs more than the observation.
store_seconds = functools.cache(STORE_SECONDS.labels)
redis_seconds = functools.cache(REDIS_SECONDS.labels)


@functools.cache
def requests(subsystem: str) -> Callable[[request_metrics.Info], None] | None:
    """Return an instrument that counts and times requests of one service (`api` or `files`) by route, method and status."""
    # Imported here: it loads a web framework, which no command needs.
    from prometheus_fastapi_instrumentator import metrics as request_metrics

    return request_metrics.default(
        metric_namespace="godocker",
        metric_subsystem=subsystem,
        should_exclude_streaming_duration=True,
        latency_lowr_buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
        registry={"api": API, "files": FILES}[subsystem],
    )


def clear(*gauges: Any) -> None:
    """Remove all labels until they are set again."""
    for gauge in gauges:
        gauge.clear()


#: Initialized with 0, so that the first event shows as a rise.
_KNOWN = {
    LEASE_CHANGES: ("taken", "lost"),
    QUOTA_REFUSALS: ("waits", "ended"),
    MAILS: ("sent", "given_up", "put_off"),
    FILE_BYTES: ("in", "out"),
}
for _counter, _words in _KNOWN.items():
    for _word in _words:
        _counter.labels(_word)
