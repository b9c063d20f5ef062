# The main commands are `make demo` and `make test`. Both install packages into the same environment, with checked hashes: the demo from
# requirements.lock, the tests from requirements-test.lock, which adds tools to the same versions.
# `make bench`, `make bench-memory`, `make bench-store` and their long forms also run the peers, in another environment, from requirements-bench.lock.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
TEST_STAMP := .venv/installed-for-tests
BENCH_BIN := .venv-bench/bin
BENCH_STAMP := .venv-bench/installed
COMPILE := uv pip compile pyproject.toml --extra worker --extra broker --extra page --extra build --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet

.PHONY: demo test chromium promtool test-slow matrix bench bench-full bench-memory bench-rights bench-store bench-store-full chaos soak docs lock clean

demo: $(STAMP)
	$(BIN)/sightline demo

# Six test files run at the same time, those with a broker first (`tests/conftest.py`), because they wait more than they compute.
test: $(TEST_STAMP) chromium promtool
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 6 --dist loadfile --no-loadscope-reorder

# A real browser for the tests of the page: Debian's, if make runs as root and there is none. Without one those tests are skipped, or
# fail where CI=true.
chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name > /dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update --quiet --quiet && apt-get install --yes --quiet --quiet --no-install-recommends chromium fonts-dejavu-core; \
	else \
		echo "found no Chromium: tests in a browser are skipped (README.md, Two commands)"; \
	fi

# The tool that judges observability/alerts.yml, from Debian's package: unpacked and not installed, because an installed Prometheus starts.
# Without it those tests are skipped, or fail where CI=true.
promtool: $(TEST_STAMP)
	@if command -v promtool > /dev/null || [ -x .venv/prometheus/usr/bin/promtool ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && command -v dpkg-deb > /dev/null; then \
		work=$$(mktemp -d) && trap 'rm -r "$$work"' EXIT && here=$$PWD && cd "$$work" && apt-get update --quiet --quiet && \
		apt-get download --quiet --quiet -o APT::Sandbox::User=root prometheus && dpkg-deb --extract prometheus_*.deb "$$here/.venv/prometheus"; \
	else \
		echo "found no promtool: tests of alerts for Prometheus are skipped (README.md, Two commands)"; \
	fi

# Tests that take minutes: a store that grows to 3 million rows with little memory, three nodes, tokens valid for a minute, earlier versions.
test-slow: $(TEST_STAMP)
	$(BIN)/pytest -m slow

# Builds a wheel and installs it into an empty environment for each available Python from 3.11 to 3.14; a minute or two each.
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

# `bench` runs the races only, `bench-full` all measurements except memory, and `bench-memory` memory, which takes twenty minutes.
bench: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench

bench-full: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench races sizes policy stages scale latency metrics alerts rest stalls

bench-memory: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench memory

# Withdrawals, refits, whole erasures, sealing; FROM=STORE copies the rows of an earlier demo.
bench-rights: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench rights $(if $(FROM),--from $(FROM))

# The store with 10 and with 100 million event-level edges; FROM=STORE copies the rows of an earlier demo.
bench-store: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench.store $(if $(FROM),--from $(FROM))

bench-store-full: $(BENCH_STAMP)
	$(BENCH_BIN)/python -m bench.store --full $(if $(FROM),--from $(FROM))

# The whole pipeline under random kills, freezes, restarts and a full disk; the ledger checks each round, and a replay is compared with it.
# With KIND=pauses it is stopped again and again, and its surroundings have changed when it starts.
SEED ?= 1
ROUNDS ?= 3
KIND ?= faults
chaos: $(TEST_STAMP)
	$(BIN)/python -m tests.recovery --kind $(KIND) --seed $(SEED) --rounds $(ROUNDS)

# Repeats tests that could fail rarely, on busy processors; this takes hours and continues where it was stopped.
soak: $(TEST_STAMP)
	$(BIN)/python -m tests.soak

docs: $(TEST_STAMP)
	$(BIN)/python -m docs.make
	$(BIN)/python -m docs.measures
	$(BIN)/python -m tests.docs.test_sql
	$(BIN)/python -m tests.docs.test_policies
	$(BIN)/python -m tests.docs.test_python

# Each file starts as a copy of the most complete one, so that all three have the same versions where the peers allow it.
lock:
	$(COMPILE) --extra test --output-file requirements-test.lock
	cp requirements-test.lock requirements.lock
	$(COMPILE) --output-file requirements.lock
	cp requirements.lock requirements-bench.lock
	$(COMPILE) --extra bench --output-file requirements-bench.lock

clean:
	rm -rf .venv .venv-bench build *.egg-info
