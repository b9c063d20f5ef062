# Two commands: `make demo` and `make test`. Each installs what it needs into one environment (hashes checked): the demo from
# requirements.lock, the test from requirements-test.lock, which holds the same versions and the tools beside them.
# `make bench`, `make bench-memory`, `make bench-store` and their long forms race the peers too, in an environment of their own from requirements-bench.lock.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
TEST_STAMP := .venv/installed-for-tests
BENCH_BIN := .venv-bench/bin
BENCH_STAMP := .venv-bench/installed
COMPILE := uv pip compile pyproject.toml --extra worker --extra broker --extra build --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet

.PHONY: demo test chromium test-slow matrix bench bench-full bench-memory bench-store bench-store-full chaos soak docs lock clean

demo: $(STAMP)
	$(BIN)/sightline demo

# Four files at once, those with a broker first (`tests/conftest.py`): they wait more than they compute.
test: $(TEST_STAMP) chromium
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

# A real browser for the tests of the page: Debian's, if make runs as root and there is none. Without one those tests are skipped, or
# fail where CI=true.
chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name > /dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update --quiet --quiet && apt-get install --yes --quiet --quiet --no-install-recommends chromium fonts-dejavu-core; \
	else \
		echo "found no Chromium: tests in a browser are skipped (README.md, Two commands)"; \
	fi

# What takes minutes: a store that grows to 3 million rows at a small limit of memory, three nodes, tokens of a minute, versions before.
test-slow: $(TEST_STAMP)
	$(BIN)/pytest -m slow

# A wheel is built and installed into an empty environment of each Python from 3.11 to 3.14 that is here; a minute or two each.
matrix: $(TEST_STAMP)
	$(BIN)/python -m tests.matrix

define INSTALL
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sightline needs Python 3.11 or newer, found " + sys.version.split()[0] + "; run: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
endef

$(STAMP): requirements.lock pyproject.toml
	$(INSTALL)

$(TEST_STAMP): requirements-test.lock pyproject.toml
	$(INSTALL)

# Bytewax 0.21.1 has no wheel for Python 3.13 and newer.
$(BENCH_STAMP): requirements-bench.lock pyproject.toml
	$(INSTALL)

# The races alone; with everything that is measured beside them but memory; and memory, which takes twenty minutes.
bench: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench

bench-full: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench races sizes policy stages scale latency rest stalls

bench-memory: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench memory

# The store at 10 and at 100 million event-level edges; FROM=STORE copies the rows of a demo that was played before.
bench-store: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench.store $(if $(FROM),--from $(FROM))

bench-store-full: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench.store --full $(if $(FROM),--from $(FROM))

# The whole pipeline under random kills, freezes, restarts and a full disk, each round counted by the ledger and compared with a replay.
# With KIND=pauses it is put to sleep again and again, and woken up in a world that has changed.
SEED ?= 1
ROUNDS ?= 3
KIND ?= faults
chaos: $(TEST_STAMP)
	$(BIN)/python -m tests.recovery --kind $(KIND) --seed $(SEED) --rounds $(ROUNDS)

# What could fail seldom, again and again on busy processors; it takes hours, and goes on where it was stopped.
soak: $(TEST_STAMP)
	$(BIN)/python -m tests.soak

docs: $(TEST_STAMP)
	$(BIN)/python -m docs.make
	$(BIN)/python -m tests.docs.test_sql
	$(BIN)/python -m tests.docs.test_policies
	$(BIN)/python -m tests.docs.test_python

# Each begins as a copy of the one that has it all, so that all three hold the same versions wherever the peers allow it.
lock:
	$(COMPILE) --extra test --output-file requirements-test.lock
	cp requirements-test.lock requirements.lock
	$(COMPILE) --output-file requirements.lock
	cp requirements.lock requirements-bench.lock
	$(COMPILE) --extra bench --output-file requirements-bench.lock

clean:
	rm -rf .venv .venv-bench build *.egg-info
