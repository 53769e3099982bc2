# `make demo` runs the main job, `make test` the tests, `make check` what reads the code only.
# Each sets up .venv first where that is due.
PYTHON ?= python3
JOBS ?= 2
REPORT ?= paretolm-report.html

BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip install -qq --constraint requirements/ci.txt

.PHONY: demo test check docs setup clean

demo: $(READY)
	$(BIN)/paretolm compare --report $(REPORT)

test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check

docs: $(READY)
	$(BIN)/python -m docs.generate

setup: $(READY)

clean:
	rm -rf .venv

$(READY): pyproject.toml requirements/ci.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@echo "Setting up .venv: torch first (about 200 MB), then the rest" >&2
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable '.[dev,train]'
	@touch $@
