# Two commands: `make demo` and `make test`. Each makes the environment it needs from requirements.lock (hashes checked).
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: demo test bench chaos docs lock clean

demo: $(STAMP)
	$(BIN)/sightline demo

test: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sightline needs Python 3.11 or newer, found " + sys.version.split()[0] + "; run: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

bench: $(STAMP)
	$(BIN)/python -m bench

# The whole pipeline under random kills, freezes, restarts and a full disk, each round counted by the ledger and compared with a replay.
SEED ?= 1
ROUNDS ?= 3
chaos: $(STAMP)
	$(BIN)/python -m tests.recovery --seed $(SEED) --rounds $(ROUNDS)

docs: $(STAMP)
	$(BIN)/python -m docs.make
	$(BIN)/python -m tests.docs.test_sql

lock:
	uv pip compile pyproject.toml --extra test --extra build --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements.lock

clean:
	rm -rf .venv build *.egg-info
