# Everything here needs python3 (3.11 or newer), git and make. The virtual environment is made by itself, from the lock.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.locked
# More tests at a time than cores, since many wait; `make test JOBS=0` runs them in one process, `make test ARGS="tests/kinds -x"` runs some.
JOBS ?= 4
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test real peers check fuzz soak lock clean

help: ## say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

# Anew when the lock or the packaging changes.
$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"sluice needs Python 3.11 or newer; this is {sys.version.split()[0]}: try make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## a push, live in a moment, and the message: on this machine, nothing else needed
	$(BIN)/sluice demo $(ARGS)

test: $(STAMP) ## every test that needs nothing else; those on real peers are SKIPPED and say why
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

real: $(STAMP) ## the tests on a real kube-apiserver and Gitea (see `make peers`)
	SLUICE_REAL=1 $(BIN)/python -m pytest -m real $(ARGS)

peers: ## build kube-apiserver, etcd, Gitea and the like from their modules, outside the clone (needs Go)
	$(PYTHON) tests/peers/build

check: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(STAMP) ## 10,000 mutated deliveries for each sender, kills at random
	$(BIN)/python -m pytest --fuzz -m fuzz -n $(JOBS) $(ARGS)

soak: $(STAMP) ## the long versions of what the tests do in small
	$(BIN)/python -m pytest --soak -m soak $(ARGS)

lock: $(STAMP) ## resolve the dependencies again, with hashes
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile $(COMPILE) --extra buckets --extra kafka --extra keyless --extra openpgp --extra postgres --extra socks -o requirements.lock pyproject.toml
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile $(COMPILE) --allow-unsafe --extra dev --extra buckets --extra kafka --extra keyless --extra openpgp --extra postgres --extra socks --build-deps-for editable -c requirements.lock -o requirements-dev.lock pyproject.toml

COMPILE := --quiet --upgrade --generate-hashes --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-options --no-emit-find-links

clean: ## remove what make and the tools have made here (not the peers, which lie outside)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis sluice-state demo-state
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
