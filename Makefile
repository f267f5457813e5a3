# Each target makes .venv if it is missing and installs what it needs.
# PYTHON names the interpreter to make it from (3.11, 3.12 or 3.13).

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: train test check slow test-cuda wheel clean

train: .venv/.train.stamp
	$(BIN)/python -m pyrovae.train $(ARGS)

test: .venv/.test.stamp
	$(BIN)/python -m pytest $(ARGS)

slow: .venv/.test.stamp
	$(BIN)/python -m pytest -m slow $(ARGS)

test-cuda: .venv/.test.stamp
	$(BIN)/python -m pytest -m cuda $(ARGS)

check: .venv/.check.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

wheel: .venv/.check.stamp
	$(BIN)/python -m build --installer pip

clean:
	rm -rf .venv dist

.venv/.made.stamp:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

.venv/.train.stamp: .venv/.made.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.test.stamp: .venv/.train.stamp
	$(BIN)/python -m pip install --quiet --group test
	touch $@

.venv/.check.stamp: .venv/.train.stamp
	$(BIN)/python -m pip install --quiet --group check
	touch $@
