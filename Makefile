# Each target makes an environment if it is missing and installs what it needs.
# PYTHON names the interpreter to make it from (3.11, 3.12 or 3.13), VENV its folder.
# `make test-all` runs the tests on every one of those that is here, each in .venv-VERSION.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
VERSIONS := 3.11 3.12 3.13

.PHONY: train test test-all $(VERSIONS:%=test-%) check slow test-cuda gpu bench wheel clean

train: $(VENV)/.train.stamp
	$(BIN)/python -m pyrovae.train $(ARGS)

# A worker for each core: networks in the tests are too small for threads. The tests start many
# processes, and byte code that is not kept would be made anew by each.
test: $(VENV)/.test.stamp
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# Each in turn, also after one that failed: which versions fail is what one wants to know.
test-all:
	@$(MAKE) --no-print-directory --keep-going $(VERSIONS:%=test-%)

# A shim of pyenv is on the PATH for versions that are not in use, too: only a run tells.
# Files that ArviZ 0.23 writes, on 3.11, are for the others to read, and the other way round.
$(VERSIONS:%=test-%): test-%:
	@for python in python$* "$$(pyenv root 2>/dev/null)"/versions/$*.*/bin/python$*; do \
	  if "$$python" -c "import ensurepip, venv" 2>/dev/null; then \
	    echo "== Python $*: $$("$$python" --version)"; \
	    other=.venv-3.11/bin/python; [ -x $$other ] || other=; \
	    PYROVAE_OTHER_PYTHON=$${other:+$(CURDIR)/$$other} \
	      $(MAKE) --no-print-directory test VENV=.venv-$* PYTHON="$$python"; \
	    exit; \
	  fi; \
	done; \
	echo "== Python $*: not found, skipped"

slow: $(VENV)/.test.stamp
	$(BIN)/python -m pytest -m slow $(ARGS)

test-cuda: $(VENV)/.test.stamp
	$(BIN)/python -m pytest -m cuda $(ARGS)

# At most nine minutes, and goes on where it was: make gpu ARGS="--data-root DIR".
gpu: $(VENV)/.test.stamp $(VENV)/.bench.stamp
	$(BIN)/python benchmarks/gpu.py $(ARGS)

check: $(VENV)/.check.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

# About half an hour; ARGS are for the steps: make bench ARGS="--problem classic".
bench: $(VENV)/.bench.stamp
	$(BIN)/python benchmarks/speed/run.py $(ARGS)
	$(BIN)/python benchmarks/speed/growth.py
	$(BIN)/python benchmarks/speed/startup.py

wheel: $(VENV)/.check.stamp
	$(BIN)/python -m build --installer pip

clean:
	rm -rf $(VENV) $(VERSIONS:%=.venv-%) dist

$(VENV)/.made.stamp:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	-$(BIN)/python -m pip install --quiet uv
	touch $@

# uv installs torch in half a minute, pip in three; pip knows the indices of a pip.conf. Byte code
# is made at once, as pip does, on all cores: else by the first training, on one.
install = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(1) || \
	$(BIN)/python -m pip install --quiet $(1)

$(VENV)/.train.stamp: $(VENV)/.made.stamp pyproject.toml
	$(call install,--editable .)
	touch $@

$(VENV)/.test.stamp: $(VENV)/.train.stamp
	$(call install,--group test)
	touch $@

$(VENV)/.bench.stamp: $(VENV)/.train.stamp
	$(call install,--group bench)
	touch $@

$(VENV)/.check.stamp: $(VENV)/.train.stamp
	$(call install,--group check)
	touch $@
