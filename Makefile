# Everything sets itself up: a machine needs python3 (3.11 or later) with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The tests start this program by the hundred, and each would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint types unit image coverage fuzz bench lock clean

demo: $(STAMP)  ## the emulator, three private services and the proxy in one process
	@$(BIN)/idtoken-proxy demo

test: lint types unit  ## what to run before a commit; CI runs `make image` and `make fuzz` too

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

unit: $(STAMP)  ## more workers than cores: much of a test's time is waiting
	$(BIN)/python -m pytest -n 3 --dist worksteal

image: $(STAMP)  ## the Dockerfile's steps without an engine; asks the package index, and takes as long as that takes
	$(BIN)/python -m pytest -m index

coverage: $(STAMP)  ## branch coverage of it all; slower by half
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term

SECONDS ?= 30
fuzz: $(STAMP)  ## two coverage-guided fuzzers side by side, for SECONDS; skipped where atheris has no wheel
	-@$(BIN)/python -m pip install --quiet --only-binary atheris --group fuzz
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

bench: $(STAMP)  ## this proxy beside Envoy, nginx and haproxy; missing peers are named and left out
	-@$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m bench $(ARGS)

# What the tests ran with when they last passed: a library's release of last night is for `make lock` to find out about.
$(STAMP): pyproject.toml requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# For every Python from 3.11 on and every platform at once, whichever one runs this: what only some need has a marker.
COMPILE := .lock-venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

lock:  ## requirements.lock: what the image holds, with hashes and without addresses; what builds it, what tests it
	$(PYTHON) -m venv .lock-venv
	.lock-venv/bin/python -m pip install --quiet uv
	$(COMPILE) --output-file requirements.lock pyproject.toml
	.lock-venv/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(COMPILE) --output-file requirements-build.lock -
	$(COMPILE) --output-file requirements-dev.lock --group dev --constraint requirements.lock pyproject.toml requirements-build.lock
	rm -rf .lock-venv

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .coverage*
