"""Fixtures of more than one test folder: an embedded Apache Kafka, for the whole run or for one module."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from streams.kafka.broker import EmbeddedBroker, free_port
from tests.soak import waits

# No deadline for drawn examples, because the machine may be busy; bench/ measures speed, never tests.
settings.register_profile("sightline", deadline=None)
settings.load_profile("sightline")

#: The broker that tests share, while it runs.
_SHARED = pytest.StashKey[EmbeddedBroker]()
#: The files with tests that use it.
_SHARING = pytest.StashKey[frozenset[Path]]()
#: Python's default of 700 new objects makes the collector run often, and thousands of collected tests make
#: each run long: together 7 % of the CPU time.
_GC_THRESHOLD = 50_000


def _started(directory: Path) -> Iterator[str]:
    node = EmbeddedBroker()
    node.start(directory, free_port())
    yield node.address
    node.stop()


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C reach what tests start; make brokers, garbage collection and imports cheap."""
    gc.set_threshold(_GC_THRESHOLD, 10, 10)
    # Many containers set PYTHONDONTWRITEBYTECODE. Then each of hundreds of processes compiles all modules
    # of the project, and each process of pytest-xdist rewrites the assertions of all tests.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Workers of all tests of this process seal under one key store, as none may stand in the checkout.
    keys = tempfile.TemporaryDirectory(prefix="sightline-keys-")
    config.add_cleanup(keys.cleanup)
    os.environ["SIGHTLINE_KEYS"] = keys.name
    # Java's optimising compiler took half of a short broker's CPU time, and only pays off in a long life.
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
    # A shell that runs pytest in the background ignores SIGINT, and all processes started here would too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options to use a running Kafka, as `tests/docker` does, and to choose the tests of a soak."""
    parser.addoption("--broker", default="", help="HOST:PORT of a Kafka for tests that share one")
    parser.addoption("--soak", action="store_true", help="only tests that need a Kafka or wait by a clock")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests that use a broker with `kafka`, before `-m` selects; with `--soak`, drop the others.

    Files with such tests come first: they wait for long, and the others use the processors meanwhile. The
    first of them are those that share one broker, so that it can be stopped early.
    """
    for item in items:
        if {"broker", "own_broker"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
    sharing = frozenset(item.path for item in items if "broker" in getattr(item, "fixturenames", ()))
    waiting = {item.path for item in items if item.get_closest_marker("kafka")}
    items.sort(key=lambda item: (item.path not in sharing, item.path not in waiting))
    config.stash[_SHARING] = sharing
    if config.getoption("--soak"):
        chosen = [
            item
            for item in items
            if item.get_closest_marker("kafka") or item.name.partition("[")[0] in waits(item.path)
        ]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen


def pytest_collection_finish() -> None:
    """Exclude the collected tests, which live until the end, from garbage collection."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Include them again: DuckDB reports objects that were not freed when Python exits."""
    gc.unfreeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Stop the shared broker before the first file without tests that use it.

    An idle broker takes 3 % of a processor, and each process of pytest-xdist has one.
    """
    yield
    stash = item.config.stash
    if _SHARED in stash and (nextitem is None or nextitem.path not in stash[_SHARING]):
        stash[_SHARED].stop()
        del stash[_SHARED]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> str:
    """`host:port` of an Apache Kafka that is started once, or that of `--broker`.

    Tests share it, so they use topics and groups of their own.
    """
    named = str(pytestconfig.getoption("--broker"))
    if named:
        return named
    if _SHARED not in pytestconfig.stash:
        node = EmbeddedBroker()
        # Stops it when the run is interrupted, too.
        pytestconfig.add_cleanup(node.stop)
        node.start(tmp_path_factory.mktemp("kafka"), free_port())
        pytestconfig.stash[_SHARED] = node
    return pytestconfig.stash[_SHARED].address


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of an Apache Kafka for one module, for tests that use the `glasses.*` topics."""
    yield from _started(tmp_path_factory.mktemp("kafka"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it after the demo, with `journal` and `lineage-store`.

    It is made once, for reading only; each process of pytest-xdist has its own.
    """
    # Imported here, because it loads the commands and few tests need them.
    from tests.test_docs import replayed  # noqa: PLC0415

    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made, own = common / "a-day", tmp_path_factory.mktemp("home")
    with (common / "a-day.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            replayed(tmp_path_factory.mktemp("making")).rename(made)
    return shutil.copytree(made, own, symlinks=True, dirs_exist_ok=True)
