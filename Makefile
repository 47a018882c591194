# Everything sets itself up: a machine needs python3 (3.11 or later) with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Before anything else: pip's own words about a Python that is too old fill a screen and do not name it.
define check-python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
  echo "This needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) --version 2>&1 || true). Name another one: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; exit 1; }
@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
  echo "$(PYTHON) lacks venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
endef

# The tests start this program by the hundred, and each would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint types unit thorough compiled clients image manual coverage fuzz bench lock clean

# What the demo needs and no more, apart from what tests and linters are installed in.
DEMO := .venv-demo
demo: $(DEMO)/.installed  ## the emulator, three private services and the proxy in one process
	@PYTHONPATH=proxy $(DEMO)/bin/python -m idtoken_proxy demo

$(DEMO)/.installed: requirements.lock
	$(check-python)
	@echo "Installing what the demo needs into $(DEMO); it takes some seconds."
	@$(PYTHON) -m venv --clear $(DEMO)
	@$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --requirement requirements.lock
	@touch $@

test: lint  ## what to run before a commit; CI runs `make thorough`, `make image` and `make fuzz` too
	@$(MAKE) --no-print-directory --jobs=2 types unit  # the types take a core while tests wait

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## the package as macOS has it, too; of tests and bench, macOS' own runs tell
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin --package idtoken_proxy

unit: $(STAMP)  ## more workers than cores: much of a test's time is waiting
	$(BIN)/python -m pytest -n 4 --dist worksteal

thorough: $(STAMP)  ## what `make test` shows with some cases, with many
	$(BIN)/python -m pytest -m thorough -n 4 --dist worksteal

# The wheel whose hot modules are compiled, in an environment of its own that finds everything else in the other one, and what
# builds the package where it is: that stands behind the wheel's own.
COMPILED := .venv-compiled
compiled: $(COMPILED)/.installed  ## the tests of what is compiled, against the compiled modules; needs a C compiler
	IDTOKEN_PROXY_BUILD=compiled $(COMPILED)/bin/python -m pytest -n 4 --dist worksteal \
	  tests/test_build.py tests/policy tests/engine tests/tracing tests/receive tests/metadata_server tests/hostile tests/end_to_end
	IDTOKEN_PROXY_BUILD=compiled $(COMPILED)/bin/python -m pytest -m thorough tests/end_to_end/test_soak.py
	IDTOKEN_PROXY_BUILD=compiled $(COMPILED)/bin/python -m pytest -m index tests/deploy/test_wheels.py
	$(COMPILED)/bin/python -m tests.fuzz.builds $(BIN)/python  # the fuzzers' targets, the same inputs in both builds

$(COMPILED)/.installed: $(STAMP) hatch_build.py $(shell find proxy -name '*.py')
	$(PYTHON) -m venv --clear --without-pip $(COMPILED)
	rm -rf dist/compiled
	IDTOKEN_PROXY_COMPILE=1 $(BIN)/python -m hatchling build -t wheel -d dist/compiled
	$(BIN)/python -m pip --python $(COMPILED) install --quiet --no-deps dist/compiled/*.whl
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"), "$(abspath proxy)", sep="\n")' \
	  > `$(COMPILED)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'`/the-other.pth
	@touch $@

# Clients that pip does not bring; without them their tests are skipped and say so.
CLIENTS := tests/end_to_end/clients
TASKS := .venv-tasks
clients: $(CLIENTS)/node_modules/.package-lock.json $(CLIENTS)/build/grpc-go $(CLIENTS)/build/metadata-go $(TASKS)/bin/gcloud-tasks-emulator  ## apt-get install npm golang-go golang-google-grpc-dev golang-google-api-dev

$(CLIENTS)/node_modules/.package-lock.json: $(CLIENTS)/package-lock.json
	npm ci --prefix $(CLIENTS) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(CLIENTS)/build/grpc-go: $(CLIENTS)/grpc.go
	GO111MODULE=off GOPATH=/usr/share/gocode go build -o $@ $<

$(CLIENTS)/build/metadata-go: $(CLIENTS)/metadata.go
	GO111MODULE=off GOPATH=/usr/share/gocode go build -o $@ $<

$(TASKS)/bin/gcloud-tasks-emulator:  # of its own: it wants other versions than the tests have
	$(PYTHON) -m venv --clear $(TASKS)
	$(TASKS)/bin/python -m pip install --quiet gcloud-tasks-emulator==0.6.2
	@touch $@

image: $(STAMP)  ## the Dockerfile's steps without an engine; asks the package index, and takes as long as that takes
	$(BIN)/python -m pytest -m index

coverage: $(STAMP)  ## branch coverage of it all; slower by half
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term

manual: $(STAMP)  ## the manual page, from the commands' own help; a test says when it is behind
	$(BIN)/python proxy/manual_page.py

SECONDS ?= 30
SEED ?= 0
fuzz: $(STAMP)  ## coverage-guided fuzzers side by side, for SECONDS, from another SEED each time; skipped where atheris has no wheel
	-@$(BIN)/python -m pip install --quiet --only-binary atheris --group fuzz
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

bench: $(STAMP)  ## this proxy beside Envoy, nginx and haproxy; missing peers are named and left out
	-@$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m bench $(ARGS)

# What the tests ran with when they last passed: a library's release of last night is for `make lock` to find out about.
$(STAMP): pyproject.toml requirements-dev.lock
	$(check-python)
	$(PYTHON) -m venv --clear $(VENV)
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
	.lock-venv/bin/python -c 'import tomllib; told = tomllib.load(open("pyproject.toml", "rb")); wheel = told["tool"]["hatch"]["build"]["targets"]["wheel"]; \
	    print(*told["build-system"]["requires"], *wheel["hooks"]["custom"]["requires"], sep="\n")' \
	  | $(COMPILE) --output-file requirements-build.lock -
	$(COMPILE) --output-file requirements-dev.lock --group dev --constraint requirements.lock pyproject.toml requirements-build.lock
	rm -rf .lock-venv

clean:
	rm -rf $(VENV) $(DEMO) $(COMPILED) $(TASKS) $(CLIENTS)/node_modules $(CLIENTS)/build dist .mypy_cache .ruff_cache .pytest_cache .coverage*
