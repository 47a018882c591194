# Everything sets itself up: a machine needs python3 (3.11 or later) with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types unit bench lock clean

demo: $(STAMP)  ## the emulator, three private services and the proxy in one process
	@$(BIN)/idtoken-proxy demo

test: lint types unit  ## what CI runs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

unit: $(STAMP)
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term

bench: $(STAMP)  ## this proxy beside Envoy, nginx and haproxy; missing peers are named and left out
	-@$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m bench $(ARGS)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

lock:  ## requirements.lock: what the image holds, with hashes and without addresses
	$(PYTHON) -m venv .lock-venv
	.lock-venv/bin/python -m pip install --quiet pip-tools
	.lock-venv/bin/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --no-annotate --output-file requirements.lock pyproject.toml
	rm -rf .lock-venv

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .coverage*
