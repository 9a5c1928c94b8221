"""
Every metric that GoDocker exports, declared in one place.

A metric belongs to the registry of the service that exports it, see `shared.observe.exposition`. Label values come from closed
sets or from the configuration (nodes), never from a request: no users, tasks or images.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

if TYPE_CHECKING:
    from prometheus_fastapi_instrumentator import metrics as request_metrics

# When each counter began would be a series more for each, and nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]

ANY = REGISTRY  #: each process's own, whichever service it is
API = CollectorRegistry()
SCHEDULER = CollectorRegistry()
#: What is true of the whole system, from whoever knows it: one, so that nothing is counted twice.
SYSTEM = CollectorRegistry()
WATCHER = CollectorRegistry()
FILES = CollectorRegistry()

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CALLS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_WAITS = (*_SECONDS, 1800, 7200, 43200, 172800)
_TRUTH = "; exported by the leader only; aggregate with max()"

# --- every service
LOOP_LAG = Histogram(
    "godocker_loop_lag_seconds", "How late the event loop comes to what is due", buckets=(0.001, *_CALLS[1:], 10, 30)
)
PROCESS_CPU = Counter("godocker_process_cpu_seconds_total", "Processor time of the service, of all its workers")
PROCESS_MEMORY = Gauge(
    "godocker_process_memory_bytes", "Resident memory of the service, of all its workers", multiprocess_mode="livesum"
)
PROCESS_FILES = Gauge(
    "godocker_process_open_files", "Open descriptors of the service, of all its workers", multiprocess_mode="livesum"
)
STORE_SECONDS = Histogram(
    "godocker_store_seconds",
    "What a caller waited for MongoDB, by the store that was asked, answered or not",
    ["store"],
    buckets=_CALLS,
)
STORE_ERRORS = Counter("godocker_store_errors_total", "Calls that MongoDB did not answer in time")
UNREADABLE = Counter(
    "godocker_unreadable_tasks_total", "Looks at a task's document that found something else than a task in it"
)
REDIS_SECONDS = Histogram(
    "godocker_redis_seconds",
    "What a caller waited for Redis, tries included, by what was asked of it",
    ["operation"],
    buckets=_CALLS,
)
RECORDS_UNREADABLE = Counter(
    "godocker_process_records_unreadable_total", "Records of the process executor that could not be read"
)
REDIS_ERRORS = Counter("godocker_redis_errors_total", "Calls that Redis did not answer, however often it was tried")
REDIS_JUNK = Counter(
    "godocker_redis_junk_total", "Things found in Redis that nobody of ours wrote, and passed over, by where", ["where"]
)
UNREADABLE_DOCUMENTS = Counter(
    "godocker_unreadable_documents_total",
    "Looks at a document of another collection than tasks that found something else in it, by collection",
    ["collection"],
)
LOOPS_BROKEN = Counter(
    "godocker_loops_broken_total", "Breaks of a service's loops that it survived, by the loop", ["loop"]
)
CLOCK_AHEAD = Gauge(
    "godocker_clock_ahead_seconds",
    "By how much a clock is ahead, 0 where both may be right: `machine`, this service's host, of MongoDB's server, whose time "
    "counts; `files`, the files service's, of the gateway's",
    ["kind"],
    multiprocess_mode="mostrecent",
)
LEASE_CHANGES = Counter("godocker_lease_changes_total", "Leases that this process took or lost", ["change"])
ENDED = Counter("godocker_tasks_ended_total", "Attempts that this process wrote the end of, by how", ["ending"])

BUILD = Gauge(
    "godocker_build_info", "Always 1; `version` is that of the service", ["version"], multiprocess_mode="mostrecent"
)
BUILD.labels(metadata.version("godocker")).set(1)

# --- gateway
TASKS_ADMITTED = Counter("godocker_tasks_admitted_total", "Tasks that were accepted", registry=API)
TASKS_REFUSED = Counter(
    "godocker_tasks_refused_total", "Tasks that were refused, by the `code` of the answer", ["code"], registry=API
)
HINTS_LOST = Counter(
    "godocker_hints_lost_total", "Hints that Redis did not take; a poll finds what they said", registry=API
)
PUSHED = Gauge(
    "godocker_pushed",
    "The last value that was pushed, by its name and the host it is about",
    ["name", "host"],
    registry=API,
    multiprocess_mode="mostrecent",
)

# --- scheduler, each process of it
LEADER = Gauge("godocker_scheduler_leader", "1 while this scheduler leads", registry=SCHEDULER)
CYCLE_SECONDS = Histogram(
    "godocker_cycle_seconds", "Length of a scheduling cycle", buckets=_SECONDS, registry=SCHEDULER
)
PLACED = Counter("godocker_tasks_placed_total", "Attempts that were placed on a node", registry=SCHEDULER)
PLACEMENTS_LOST = Counter(
    "godocker_placements_lost_total", "Placements whose task somebody else moved first", registry=SCHEDULER
)
STARTS = Counter("godocker_starts_total", "Starts of attempts, by outcome", ["outcome"], registry=SCHEDULER)
START_SECONDS = Histogram("godocker_start_seconds", "From placement to started", buckets=_SECONDS, registry=SCHEDULER)
QUEUE_SECONDS = Histogram("godocker_queue_seconds", "From pending to started", buckets=_WAITS, registry=SCHEDULER)
QUOTA_REFUSALS = Counter(
    "godocker_quota_refusals_total",
    "Placements that a quota did not allow, by what became of the task: it waits, or it ended",
    ["effect"],
    registry=SCHEDULER,
)
CHILDREN_MADE = Counter("godocker_array_children_made_total", "Children of arrays that were made", registry=SCHEDULER)
RELEASED = Counter(
    "godocker_dependency_releases_total", "Tasks that were let go: what they waited for is over", registry=SCHEDULER
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
NODE_CPUS = Gauge(
    "godocker_node_cpus", f"Cores of a node, in all and in use{_TRUTH}", ["node", "kind"], registry=SYSTEM
)
NODE_MEMORY = Gauge(
    "godocker_node_memory_bytes", f"Memory of a node, in all and in use{_TRUTH}", ["node", "kind"], registry=SYSTEM
)
NODE_GPUS = Gauge("godocker_node_gpus", f"GPUs of a node, in all and in use{_TRUTH}", ["node", "kind"], registry=SYSTEM)
NODE_DISK = Gauge(
    "godocker_node_disk_bytes",
    f"Disk of a node's engine, in all and in use; 0 where it does not say{_TRUTH}",
    ["node", "kind"],
    registry=SYSTEM,
)
NODE_READY = Gauge(
    "godocker_node_ready", f"1 while the node answers and is not in maintenance{_TRUTH}", ["node"], registry=SYSTEM
)
NODE_UNWELL = Gauge(
    "godocker_node_unwell",
    f"1 while starts fail by errors of the installation on a node, or (`all`) on every one; absent if not{_TRUTH}",
    ["node"],
    registry=SYSTEM,
)
NODE_MAINTENANCE = Gauge(
    "godocker_node_maintenance", f"1 while the node is in maintenance{_TRUTH}", ["node"], registry=SYSTEM
)
NODE_CLOCK = Gauge(
    "godocker_node_clock_ahead_seconds",
    f"By how much the clock of a node's engine is ahead of the scheduler's, negative: behind{_TRUTH}",
    ["node"],
    registry=SYSTEM,
)
OUTBOX = Gauge("godocker_outbox_mails", f"Mails that wait to be sent{_TRUTH}", registry=SYSTEM)
OUTBOX_OLDEST = Gauge(
    "godocker_outbox_oldest_seconds", f"Age of the oldest mail that waits, 0 without one{_TRUTH}", registry=SYSTEM
)

# --- watcher
LEASED_NODES = Gauge("godocker_watcher_nodes", "Nodes that this watcher holds the lease of", registry=WATCHER)
EVENTS = Counter("godocker_events_total", "Events of executors, by kind", ["kind"], registry=WATCHER)
MISSED_EVENTS = Counter(
    "godocker_missed_events_total", "Ends that a list of the runs found, and no event told of", registry=WATCHER
)
RECONCILES = Counter("godocker_reconciles_total", "Reconcile passes, by outcome", ["node", "outcome"], registry=WATCHER)
RECONCILED = ("done", "failed", "store_unavailable", "node_unavailable")  #: outcomes
ACTIONS = Counter(
    "godocker_actions_total",
    "Differences between record and runs, by what was done about it",
    ["action"],
    registry=WATCHER,
)
EXIT_TO_OVER = Histogram(
    "godocker_exit_to_over_seconds", "From the end of a run to its record", buckets=_SECONDS, registry=WATCHER
)
NODE_SILENT = Gauge(
    "godocker_node_silent_seconds",
    "For how long a node was tried in vain, 0 while it answers; from the watcher that holds its lease",
    ["node"],
    registry=WATCHER,
)
STRAYS = Gauge(
    "godocker_process_strays",
    "Processes of users of tasks that belong to no run of the process executor",
    registry=WATCHER,
)
NODE_STUCK = Gauge(
    "godocker_node_stuck_runs",
    "Runs of a node that go on after they were killed; from the watcher that holds its lease",
    ["node"],
    registry=WATCHER,
)
MAILS = Counter("godocker_mails_total", "Tries to send a mail, by outcome", ["outcome"], registry=WATCHER)

# --- files
FILE_BYTES = Counter(
    "godocker_file_bytes_total", "Bytes of files that came in and went out", ["direction"], registry=FILES
)
SHARED_DIR = Gauge(
    "godocker_shared_dir_bytes",
    "Size of the file system of shared_dir and what is free of it; each process of files says the same",
    ["kind"],
    registry=FILES,
)


#: What `labels` finds costs more than the observation: these are asked in every call.
store_seconds = functools.cache(STORE_SECONDS.labels)
redis_seconds = functools.cache(REDIS_SECONDS.labels)


@functools.cache
def requests(subsystem: str) -> Callable[[request_metrics.Info], None] | None:
    """Counts and times the requests of one service, by route, method and status: `api` or `files`, once in a process."""
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
    """Show no label any more, until they are set anew."""
    for gauge in gauges:
        gauge.clear()


#: Shown from the start, so that the first one is seen as a rise from 0. The words are those of whoever counts.
_KNOWN = {
    LEASE_CHANGES: ("taken", "lost"),
    QUOTA_REFUSALS: ("waits", "ended"),
    MAILS: ("sent", "given_up", "put_off"),
    FILE_BYTES: ("in", "out"),
}
for _counter, _words in _KNOWN.items():
    for _word in _words:
        _counter.labels(_word)
