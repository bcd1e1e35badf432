# Everything a developer or a curious hospital needs; needs Python 3.11 to 3.14 and nothing else.
# The newest that runs and fits: a command may be there without a Python behind it (pyenv's shims).
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
  $$python -c '$(FITS)' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test lint unit bench chaos fuzz sbom audit lock clean help

help:
	@echo "make demo   set up .venv and run the whole service once on phantoms"
	@echo "make test   set up .venv and run every check and test"
	@echo "make bench  measure the service against the same work in one process and a plain web handler"
	@echo "make chaos  kill, starve and confuse the service at random and prove that nothing accepted was lost"
	@echo "make fuzz   feed every reader of foreign files what it does not expect; MINUTES=60 of each"
	@echo "make sbom   list what a serving machine installs (CycloneDX); make audit: known weaknesses in it"
	@echo "make lock   renew requirements/*.lock from pyproject.toml"

demo: $(VENV)/serve.stamp
	$(BIN)/fractureai demo $(if $(IMAGES),--images $(IMAGES))

test: lint unit

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/dev.stamp
	$(BIN)/pytest -n 2 --dist loadgroup

bench: $(VENV)/dev.stamp
	$(BIN)/python -m bench $(BENCH)

# CHAOS="--runs 10 --seed 1" and others; python -m tests.chaos --help tells.
chaos: $(VENV)/dev.stamp
	$(BIN)/python -m tests.chaos $(CHAOS)

fuzz: $(VENV)/dev.stamp
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),60)

sbom: $(VENV)/dev.stamp
	$(BIN)/python -m tests.supply sbom

audit: $(VENV)/dev.stamp
	$(BIN)/python -m tests.supply audit

lock:
	uv pip compile pyproject.toml --extra train --extra postgresql --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-emit-package fractureai --quiet --output-file requirements/dev.lock
	uv pip compile pyproject.toml --extra build --extra postgresql --universal --python-version 3.11 \
	  --generate-hashes --no-header --constraint requirements/dev.lock --quiet --output-file requirements/serve.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/python:
	@$(or $(PYTHON),false) -c '$(FITS)' || { echo "Python 3.11 to 3.14 is needed; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Locked and hashed packages, then this project itself from the working tree.
$(VENV)/serve.stamp: requirements/serve.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --no-deps --require-hashes -r requirements/serve.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.lock $(VENV)/serve.stamp
	$(PIP) install --no-deps --require-hashes -r requirements/dev.lock
	@touch $@
