# What people type. Needs Python 3.11 or newer with venv, and make; everything else goes into .venv.
# 3.12 and 3.11 come first because the packaged Redis server is built for them.
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python3.13 python3.14 python; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
TESTS ?=
# Most tests wait for other processes more than they compute: seven of them keep two cores busy.
test: WORKERS ?= 7
faults faults-rabbitmq soak: WORKERS ?= 2
SECONDS ?= 600
ROUNDS ?= 5
PAGE := producer/palaver/producer/gateway/page
RULES := deploy/kustomize/components/prometheus-operator/prometheusrule.yaml

.DEFAULT_GOAL := help
.PHONY: help setup demo test deploy-check faults faults-rabbitmq fuzz peers page page-build image upgrades soak check audit bench bench-gateway schema lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 24

setup: .venv/.ready ## make .venv and install the project into it

demo: .venv/.ready ## start everything, watch an answer reach two readers past the death of its worker, stop everything
	@$(BIN)/python -m palaver.producer.cli.demo

test: .venv/.test ## the tests; TESTS="tests/unit -k jobs" chooses
	@$(BIN)/python -m pytest -q -rs -n $(WORKERS) --dist loadgroup $(TESTS)

deploy-check: .venv/.deploy ## the Dockerfile and Kubernetes' files, read by hadolint, Kustomize and Kubernetes' schemas; installs these: 225 MB
	@$(BIN)/python -m pytest -q -rs -m deploy tests/integration/deploy

# File by file: each process has servers of its own, and a fault mostly waits, for leases to run out.
faults: .venv/.test ## what production does to it, for real: minutes
	@PALAVER_TEST_PROFILE=ci $(BIN)/python -m pytest -q -rs -m "not soak and not rabbitmq" -n $(WORKERS) --dist loadfile tests/faults

faults-rabbitmq: .venv/.test ## with RabbitMQ as broker: the faults that concern one, quorum queues, TLS: minutes
	@PALAVER_TEST_BROKER=rabbitmq $(BIN)/python -m pytest -q -rs -m "any_broker or rabbitmq" \
		-n $(WORKERS) --dist loadfile tests/integration/app tests/faults

fuzz: .venv/.test ## hundreds of bodies for each API of the gateway, made from its OpenAPI document: less than a minute
	@$(BIN)/python -m pytest -q -rs -m fuzz tests/integration/gateway

peers: .venv/peers/.ready ## the dialects against LiteLLM, llama.cpp and llama-cpp-python; compiles once: minutes
	@$(BIN)/python -m pytest -q -rs -m peers tests/peers

page: .venv/.page $(PAGE)/node_modules/.ready ## the chat page: what src/ makes is what is checked in, and works in a browser; a minute
	@node $(PAGE)/build.mjs --check
	@$(BIN)/python -m pytest -q -rs -m page tests/page
	@$(BIN)/python -m pytest -q -rs -m page tests/integration/app/test_flower.py

page-build: $(PAGE)/node_modules/.ready ## compile the chat page and copy the libraries that it stands on (needs npm)
	@node $(PAGE)/build.mjs

image: .venv/.test ## each step of deploy/Dockerfile without Docker, what comes out, and a Prometheus that watches it; installs packages: a minute
	@$(BIN)/python -m pytest -q -s -rs -m image tests/image

upgrades: .venv/.test ## workers and producers of the release before beside this one; RELEASE=v0.1.0 chooses it
	@PALAVER_TEST_RELEASE=$(RELEASE) $(BIN)/python -m pytest -q -s -rs -m upgrades tests/upgrades

soak: .venv/.test ## 200 streams and a kill every 15 s for SECONDS=600; then the state machine, for hours
	@PALAVER_TEST_SOAK_SECONDS=$(SECONDS) $(BIN)/python -m pytest -q -s -m soak tests/faults/test_soak.py
	@PALAVER_TEST_PROFILE=soak $(BIN)/python -m pytest -q -rs -m "" -n $(WORKERS) --dist loadgroup tests/faults/test_ledger_model.py

audit: .venv/.audit ## are weaknesses of the pinned packages known? Asks the Python Package Index
	@$(BIN)/python requirements/audit.py

check: .venv/.page ## style, types, the walls between the rooms, stale schemas and locks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/palaver schema --check
	$(BIN)/python requirements/lock.py --check

bench: .venv/.test .venv/.rivals ## speed beside that of others, 45 minutes, into tests/benchmarks/RESULTS.md; QUICK=1: three minutes, into .palaver/bench
	@$(BIN)/python -m tests.benchmarks --rounds $(ROUNDS) $(if $(QUICK),--quick)

bench-gateway: .venv/.test .venv/.litellm ## the gateway beside LiteLLM's proxy, 8 minutes, into tests/benchmarks/GATEWAY.md; QUICK=1: a minute, into .palaver/bench
	@$(BIN)/python -m tests.benchmarks.gateway $(if $(QUICK),--quick)

schema: .venv/.ready ## write what is made of something else: shared/schemas, deploy/SETTINGS.md, deploy/METRICS.md, the alerts for Kubernetes
	$(BIN)/palaver schema --write
	$(BIN)/python -m palaver.shared.settings_table > deploy/SETTINGS.md
	$(BIN)/python -m palaver.shared.metrics.table > deploy/METRICS.md
	head=$$(sed '/^spec:/q' $(RULES)) && { echo "$$head"; sed -n '/^groups:/,$${s/^./  &/;p}' deploy/prometheus/alerts.yaml; } > $(RULES)

lock: .venv/.test ## resolve requirements/*.txt anew (needs uv)
	$(BIN)/python requirements/lock.py

clean: ## remove what the commands above made
	rm -rf .venv .palaver build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Palaver needs Python 3.11 or newer with its venv module: install it, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) has no working venv (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }

# Stamps: a second run compares four dates and is done.
.venv/.ready: pyproject.toml requirements/all.txt | .venv/bin/python
	@echo "Installing Palaver into .venv; this is done once."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/all.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.venv/.test: requirements/test.txt .venv/.ready
	@echo "Installing what the tests need."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

# What only some of the tests need, and is large, or only one target: `make test` neither installs nor runs it.
.venv/.audit .venv/.deploy .venv/.page: .venv/.%: requirements/%.txt .venv/.test
	@echo "Installing what make $* needs beside."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/$*.txt
	@touch $@

# The compiler and the libraries of the chat page, to change it: nobody needs them to run it.
$(PAGE)/node_modules/.ready: $(PAGE)/package-lock.json
	@cd $(PAGE) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# What Palaver is measured beside, in venvs of their own: never a dependency. --no-deps: the locks are complete.
.venv/.rivals: tests/benchmarks/rivals/requirements.txt
.venv/.litellm: tests/benchmarks/rivals/litellm.txt
.venv/.rivals .venv/.litellm: .venv/.%: | .venv/bin/python
	@echo "Installing what the benchmarks compare with into .venv/$*."
	@$(PYTHON) -m venv .venv/$*
	@.venv/$*/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

# Servers of others, in an environment of their own. llama-cpp-python has no wheel: it is compiled, here without
# what would make it fast, which takes three minutes on two cores and needs a C++ compiler.
.venv/peers/.ready: requirements/peers.txt | .venv/.test
	@echo "Installing the servers that the tests talk to into .venv/peers; this is done once, and takes minutes."
	@$(PYTHON) -m venv .venv/peers
	@CMAKE_ARGS="-DLLAVA_BUILD=OFF -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAMA_CURL=OFF -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O0" \
		.venv/peers/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/peers.txt
	@touch $@
