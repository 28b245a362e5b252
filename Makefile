# Everything a developer or an operator does with a checkout; `make` lists it. Needs Python 3.11+ and make, no more.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo serve check fmt lint type test sim kite-sim bench docs lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done

# Handed on as they are, as in: make test ARGS="-k halt -x"
ARGS ?=
# Stories of the simulation, from seed 0 on; and one seed to be told from beginning to end.
SEEDS ?= 1000
REPLAY ?=
# Of workers there is one more than cores, since many tests wait; beyond this they fight over the disk: each has servers of its own.
MAX_WORKERS ?= 4

# --custom-compile-command: the header names this target and no path or index of the machine that ran it.
LOCK_OPTIONS := --quiet --upgrade --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock'

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# Where it is set, each of the hundreds of processes of a test run would compile the bridge anew.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
	@echo '  Options of the command behind a target go in ARGS, e.g. make demo ARGS=--once'

setup: $(STAMP) ## Make .venv with the locked dependencies and the bridge itself

demo: setup ## Run the bridge in paper mode, post alerts to it, show what became of each
	@$(BIN)/bridge demo $(ARGS)

serve: setup ## Run the bridge with config/bridge.yaml
	@$(BIN)/bridge serve $(ARGS)

check: lint type test ## All that must pass before a commit

fmt: setup ## Format the code and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only --quiet .

lint: setup ## Check format and lint
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

type: setup ## Check types (mypy, strict)
	@$(BIN)/mypy

test: setup ## Run the tests (pytest, random order)
	@$(BIN)/python -m pytest -n auto --maxprocesses $(MAX_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

sim: setup ## Attack the promises in SEEDS simulated worlds; REPLAY=seed tells one
	@$(BIN)/python -m tests.simulation $(if $(REPLAY),--replay $(REPLAY),--seeds $(SEEDS)) $(ARGS)

kite-sim: setup ## Attack a bridge at the loopback Kite in SEEDS stories of faults and kills; REPLAY=seed tells one
	@$(BIN)/python -m tests.kite_sim $(if $(REPLAY),--replay $(REPLAY),--seeds $(SEEDS)) $(ARGS)

bench: setup ## Measure throughput and latency against a no-op endpoint
	@$(BIN)/python -m tests.bench $(ARGS)

docs: setup ## Write the generated parts of docs/
	@$(BIN)/python -m bridge.docs $(ARGS)

lock: setup ## Resolve the dependencies of pyproject.toml anew into both lock files
	@$(BIN)/python -m pip install --quiet 'uv>=0.9,<1'
	@$(BIN)/uv pip compile $(LOCK_OPTIONS) --extra dev --output-file requirements.lock pyproject.toml
	@$(BIN)/uv pip compile $(LOCK_OPTIONS) --constraint requirements.lock --output-file requirements.runtime.lock pyproject.toml

clean: ## Remove .venv, caches and build output; never data/
	@rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -not -path './data/*' -prune -exec rm -rf {} +

# A candidate is run and not only looked up: pyenv's shims exist for versions that are not there.
$(STAMP): requirements.lock pyproject.toml
	@set -eu; \
	runs() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	has_venv() { "$$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }; \
	if ! runs $(BIN)/python; then \
		python=; without_venv=; \
		for name in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
			runs "$$name" || continue; \
			if has_venv "$$name"; then python=$$name; break; fi; \
			without_venv=$${without_venv:-$$name}; \
		done; \
		if [ -z "$$python" ] && [ -n "$$without_venv" ]; then \
			version=$$("$$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
			echo "setup: $$without_venv cannot make virtual environments." >&2; \
			echo "setup: on Debian or Ubuntu: sudo apt install python$$version-venv" >&2; \
			exit 1; \
		fi; \
		if [ -z "$$python" ]; then \
			echo "setup: no Python 3.11 or newer found (tried python3.13, python3.12, python3.11, python3)." >&2; \
			echo "setup: on Debian or Ubuntu: sudo apt install python3 python3-venv; or: make setup PYTHON=/path/to/python" >&2; \
			exit 1; \
		fi; \
		echo "setup: making $(VENV) with $$("$$python" --version)"; \
		"$$python" -m venv --clear $(VENV); \
	fi; \
	echo "setup: installing $$(grep -c '^[a-z].*==' requirements.lock) locked packages (a minute or two the first time)"; \
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock; \
	echo "setup: installing the bridge"; \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .; \
	touch $@; \
	echo "setup: done"
