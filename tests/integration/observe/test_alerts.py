"""The deployed alert rules, each in its situation, by Prometheus's own test tool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.servers import prometheus

RULES = prometheus.DEPLOY / "alerts.yml"
DOWN = {job: f'up{{job="{job}",instance="{job}-1"}}' for job in ("api", "scheduler", "watcher", "files")}
REQUESTS = "godocker_api_http_requests_total"


def slow(name: str, labels: str, *, above: float) -> dict[str, str]:
    """Calls that each took between `above` and ten times `above`."""
    rest = f"{labels}," if labels else ""
    return {
        f'{name}_bucket{{{rest}le="{above}"}}': "0x60",
        f'{name}_bucket{{{rest}le="{above * 10}"}}': "0+60x60",
        f'{name}_bucket{{{rest}le="+Inf"}}': "0+60x60",
    }


PATIENCE = 100  #: seconds for promtool, which takes six on an idle machine

#: By the alert's name, the samples that Prometheus sees, one a minute for an hour.
SITUATIONS: dict[str, dict[str, str]] = {
    "GodockerTargetDown": {DOWN["watcher"]: "1x10 0x50"},
    "GodockerServiceGone": {DOWN["api"]: "1x60", DOWN["scheduler"]: "1x60", DOWN["watcher"]: "1x60"},
    "GodockerNoLeader": {'godocker_scheduler_leader{instance="1"}': "1x10 0x50"},
    "GodockerLeasesFlap": {'godocker_lease_changes_total{job="watcher",change="lost"}': "0x10 0+1x50"},
    "GodockerLoopLag": slow("godocker_loop_lag_seconds", 'job="api",instance="1"', above=0.5),
    "GodockerErrors": {f'{REQUESTS}{{status="200"}}': "0+100x60", f'{REQUESTS}{{status="500"}}': "0+2x60"},
    "GodockerUnavailable": {f'{REQUESTS}{{status="200"}}': "0+100x60", f'{REQUESTS}{{status="503"}}': "0+20x60"},
    "GodockerSubmitsSlow": slow(
        "godocker_api_http_request_duration_seconds", 'handler="/api/1.0/task",method="POST"', above=2
    ),
    "GodockerTasksWaitThoughRoom": {
        'godocker_oldest_pending_seconds{reason="turn"}': "0+60x60",
        'godocker_node_cpus{node="n1",kind="total"}': "16x60",
        'godocker_node_cpus{node="n1",kind="used"}': "4x60",
    },
    "GodockerTasksUnkillable": {'godocker_node_stuck_runs{node="n1"}': "0x10 1x50"},
    "GodockerEventsMissed": {
        "godocker_missed_events_total": "0+5x60",
        'godocker_tasks_ended_total{job="watcher"}': "0+20x60",
    },
    "GodockerOutboxStuck": {"godocker_outbox_oldest_seconds": "0+120x60"},
    "GodockerNodeNotReady": {
        'godocker_node_ready{node="n1"}': "1x10 0x50",
        'godocker_node_maintenance{node="n1"}': "0x60",
    },
    "GodockerInstallationFails": {'godocker_node_unwell{node="all"}': "1x60"},
    "GodockerNodeSilent": {'godocker_node_silent_seconds{node="n1"}': "0x10 0+60x50"},
    "GodockerNodeClock": {'godocker_node_clock_ahead_seconds{node="n1"}': "0x10 -20x50"},
    "GodockerReconcileFails": {
        'godocker_reconciles_total{node="n1",outcome="failed"}': "0+10x60",
        'godocker_reconciles_total{node="n2",outcome="done"}': "0+60x60",
    },
    "GodockerStoreFails": {"godocker_store_errors_total": "0+60x60"},
    "GodockerStoreSlow": slow("godocker_store_seconds", 'store="leases"', above=2),
    "GodockerRedisDown": {"godocker_redis_errors_total": "0+60x60"},
    "GodockerSharedDirFull": {
        'godocker_shared_dir_bytes{kind="free"}': "50x10 5x50",
        'godocker_shared_dir_bytes{kind="total"}': "100x60",
    },
}

#: Further situations of the same alerts.
OTHER_SITUATIONS: list[tuple[str, dict[str, str]]] = [
    ("GodockerNodeClock", {'godocker_clock_ahead_seconds{job="watcher",kind="machine"}': "0x10 3600x50"}),
    ("GodockerNodeClock", {'godocker_clock_ahead_seconds{job="api",kind="files"}': "0x10 -6x50"}),
]

#: A healthy system, on which nothing fires.
WELL = {
    **{series: "1x60" for series in DOWN.values()},
    'godocker_scheduler_leader{instance="1"}': "1x60",
    'godocker_scheduler_leader{instance="2"}': "0x60",
    'godocker_lease_changes_total{job="watcher",change="lost"}': "0x60",
    f'{REQUESTS}{{status="200"}}': "0+1000x60",
    f'{REQUESTS}{{status="503"}}': "0+1x60",
    # One task asks for more than any node has free, while they are nearly full; another for something no node has.
    'godocker_oldest_pending_seconds{reason="no_room"}': "0+60x60",
    'godocker_oldest_pending_seconds{reason="never"}': "0+60x60",
    'godocker_node_cpus{node="n1",kind="total"}': "16x60",
    'godocker_node_cpus{node="n1",kind="used"}': "14x60",
    'godocker_node_ready{node="n1"}': "1x60",
    'godocker_node_ready{node="n2"}': "0x60",
    'godocker_node_maintenance{node="n2"}': "1x60",
    'godocker_node_silent_seconds{node="n1"}': "0x60",
    'godocker_clock_ahead_seconds{job="watcher",kind="machine"}': "4x60",
    'godocker_clock_ahead_seconds{job="api",kind="files"}': "-4x60",
    "godocker_missed_events_total": "0+1x60",
    'godocker_tasks_ended_total{job="watcher"}': "0+100x60",
    "godocker_store_errors_total": "0x60",
    "godocker_redis_errors_total": "0x60",
}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def case(series: dict[str, str], checks: list[dict[str, Any]]) -> dict[str, Any]:
    given = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": given, "promql_expr_test": checks}


def fires(name: str) -> dict[str, Any]:
    expression = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) > 0'
    return {"expr": f"({expression}) * 0 + 1", "eval_time": "58m", "exp_samples": [{"value": 1, "labels": "{}"}]}


def check(directory: Path, cases: list[dict[str, Any]]) -> None:
    file = directory / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}))
    answer = subprocess.run(
        [prometheus.program("promtool"), "test", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_configuration_and_the_rules_are_read() -> None:
    for what, file in (("rules", RULES), ("config", prometheus.DEPLOY / "prometheus.yml")):
        answer = subprocess.run(
            [prometheus.program("promtool"), "check", what, str(file)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr


def test_each_alert_fires_in_its_situation(tmp_path: Path) -> None:
    assert SITUATIONS.keys() == {rule["alert"] for rule in rules()}, "each alert has a situation"
    situations = [*SITUATIONS.items(), *OTHER_SITUATIONS]
    check(tmp_path, [case(series, [fires(name)]) for name, series in situations])


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    quiet = {"expr": 'ALERTS{alertstate="firing"}', "eval_time": "58m", "exp_samples": []}
    check(tmp_path, [case(WELL, [quiet])])


def test_each_alert_also_has_a_test_with_a_real_prometheus() -> None:
    told = [file.read_text() for file in Path(__file__).parent.glob("test_alert_situations*.py")]
    assert {rule["alert"] for rule in rules()} <= {*re.findall(r'"(Godocker\w+)"', "".join(told))}


def test_accelerated_rules_differ_from_the_deployed_ones_in_durations_alone() -> None:
    deployed = RULES.read_text()
    hurried = prometheus.hurried(deployed)
    number = re.compile(r"[\d.]+(?:ms|m)?")
    assert number.sub("", hurried) == number.sub("", deployed)
    assert not re.findall(r"(?:for: |\[)\d+[sm]\b", hurried)
    thresholds = [[line for line in text.splitlines() if " > " in line] for text in (deployed, hurried)]
    ages = [line for line in thresholds[0] if re.search(r"_seconds(?:\{.*\})?\) > ", line)]
    assert len(ages) == 3
    assert not {*ages} & {*thresholds[1]}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_describes_the_fault_and_links_to_the_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert anchor
