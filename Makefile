# `make demo` runs the main job, `make test` the tests, `make check` what reads the code only, `make agreement` the
# tests against lm-evaluation-harness and other authorities, which it installs, `make pairs` every pair of methods that
# composes against two laws (ten minutes of a core).
# Each sets up .venv first where that is due.
PYTHON ?= python3
JOBS ?= 2
REPORT ?= paretolm-report.html

BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip install -qq --constraint requirements/ci.txt

.PHONY: demo test check agreement pairs docs setup clean

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

agreement: $(READY)
	$(PIP) --editable '.[lm-eval,mauve]'
	$(BIN)/python -m pytest tests/agreement

pairs: $(READY)
	$(BIN)/python -m tests.contract.pairs

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
	$(PIP) --editable '.[dev,train,serve,papers,cluster]'
	@touch $@
