"""Every metric that GoDocker exports besides the request metrics of the gateway, declared in one place."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

# --- gateway
TASKS_ADMITTED = Counter("godocker_tasks_admitted_total", "Tasks that were accepted")
TASKS_REFUSED = Counter("godocker_tasks_refused_total", "Tasks that were refused, by the code of the answer", ["code"])
HINTS_LOST = Counter("godocker_hints_lost_total", "Hints that Redis did not take; a poll finds what they said")
PUSHED = Gauge(
    "godocker_pushed", "The last value that was pushed, by its name and the host it is about", ["name", "host"]
)

# --- scheduler
LEADER = Gauge("godocker_scheduler_leader", "1 while this scheduler leads")
PENDING = Gauge("godocker_tasks_pending", "Pending tasks in the scheduler's book")
OLDEST_PENDING = Gauge("godocker_oldest_pending_seconds", "Age of the oldest pending task")
CYCLE_SECONDS = Histogram("godocker_cycle_seconds", "Length of a scheduling cycle", buckets=_SECONDS)
PLACED = Counter("godocker_tasks_placed_total", "Attempts that were placed on a node")
PLACEMENTS_LOST = Counter("godocker_placements_lost_total", "Placements whose task somebody else moved first")
STARTS = Counter("godocker_starts_total", "Starts of attempts, by outcome", ["outcome"])
START_SECONDS = Histogram("godocker_start_seconds", "From placement to started", buckets=_SECONDS)
QUEUE_SECONDS = Histogram("godocker_queue_seconds", "From pending to started", buckets=_SECONDS)
NODE_CPUS = Gauge("godocker_node_cpus", "Cores of a node, by node and whether in use", ["node", "kind"])
NODE_MEMORY = Gauge("godocker_node_memory_bytes", "Memory of a node, by node and whether in use", ["node", "kind"])
NODE_READY = Gauge("godocker_node_ready", "1 while the node answers and is not in maintenance", ["node"])

# --- watcher
LEASED_NODES = Gauge("godocker_watcher_nodes", "Nodes that this watcher holds the lease of")
LEASE_CHANGES = Counter("godocker_lease_changes_total", "Leases that this process took or lost", ["change"])
EVENTS = Counter("godocker_events_total", "Events of executors, by kind", ["kind"])
MISSED_EVENTS = Counter("godocker_missed_events_total", "Ends that a list of the runs found before any event")
RECONCILES = Counter("godocker_reconciles_total", "Reconcile passes, by outcome", ["outcome"])
ACTIONS = Counter("godocker_actions_total", "What reconciling decided to do, by action", ["action"])
ENDED = Counter("godocker_tasks_ended_total", "Attempts that ended, by how", ["ending"])
EXIT_TO_OVER = Histogram("godocker_exit_to_over_seconds", "From the end of a run to its record", buckets=_SECONDS)
NODE_SILENT = Gauge(
    "godocker_node_silent_seconds", "For how long a node was tried in vain, 0 while it answers", ["node"]
)
NODE_STUCK = Gauge("godocker_node_stuck_runs", "Runs of a node that go on after they were killed", ["node"])
MAILS = Counter("godocker_mails_total", "Tries to send a mail, by outcome", ["outcome"])

# --- files
FILE_BYTES = Counter("godocker_file_bytes_total", "Bytes of files that came in and went out", ["direction"])
