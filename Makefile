# The first target that needs it installs everything into .venv.

BIN := .venv/bin
ARGS ?=
WORKERS ?= 4
# Where this is set, each test process and each service that it starts compiles every module again: seconds each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo demo-docker cluster unit test test-long test-deploy up check fmt schemas docs bench clean

setup: .venv/.installed

.venv/.installed: pyproject.toml requirements.lock .ci/setup .ci/generator .ci/generator.lock
	@.ci/setup

up: setup            ## run the whole system on this machine; ARGS="--port 8080"
	@$(BIN)/godocker up $(ARGS)

demo: setup          ## run a few tasks in a temporary system and show the results
	@$(BIN)/godocker demo $(ARGS)

demo-docker: setup   ## the same in containers; as root on Debian, install and start an engine if there is none
	@$(BIN)/godocker demo --start-engine $(ARGS)

cluster: setup       ## the system with three Docker hosts in network namespaces, for experiments with failures; as root
	@.ci/packages docker.io iptables iproute2 busybox-static
	@$(BIN)/python -m tests.cluster up $(ARGS)

unit: setup          ## the unit tests, with fewer examples a property: no root, no package, no server; K=ranking runs those named so
	@$(BIN)/python -m pytest -q tests/unit --hypothesis-profile=quick -p no:schemathesis $(if $(K),-n 0 -k "$(K)",-n auto) $(ARGS)

test: setup          ## all short tests, with real servers, in about ten minutes; as root on Debian, install missing packages
	@.ci/packages docker.io iptables iproute2 busybox-static redis-server slapd ldap-utils prometheus caddy faketime
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not long" $(ARGS)

test-long: setup     ## long tests with several hosts, one after the other; as root
	@.ci/packages docker.io iptables iproute2 busybox-static redis-server prometheus
	@$(BIN)/python -m pytest -m long $(ARGS)

test-deploy: setup   ## deploy the Compose file on a server without a registry; as root on Debian
	@.ci/packages docker.io docker-compose iptables iproute2 busybox-static
	@$(BIN)/python -m pytest tests/deploy $(ARGS)

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python .ci/audit

fmt: setup           ## format the code, and fix what ruff can fix
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

schemas: setup       ## generate schemas/*.json from the models
	@$(BIN)/python -m services.api.schemas

docs: setup          ## make docs/settings.md, docs/metrics.md and docs/cli.md again from the code
	@$(BIN)/python -m godocker.reference
	@$(BIN)/python -m godocker.metrics_page
	@$(BIN)/python -m godocker.commands.page

bench: setup         ## benchmarks; ARGS="compare REV" runs two commits alternately and prints their ratios
	@$(BIN)/python -m benchmarks $(ARGS)

clean:               ## remove builds and caches, but not the data in .godocker
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
