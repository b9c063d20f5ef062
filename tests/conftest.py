"""What more than one test folder needs: an embedded Apache Kafka, for the whole run or for one module."""

from __future__ import annotations

import fcntl
import functools
import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from streams.kafka.broker import EmbeddedBroker, free_port
from tests.soak import waits

# A drawn example may take as long as the machine is busy: what is fast is proven in bench/, never here.
settings.register_profile("sightline", deadline=None)
settings.load_profile("sightline")

#: The Kafka that tests share while it runs, and the files with tests that ask for it.
_SHARED = pytest.StashKey[EmbeddedBroker]()
_SHARING = pytest.StashKey[frozenset[Path]]()
#: How many objects are made before Python searches for cycles among them, in place of 700. What stays of
#: thousands of tests makes a search long, and few tests leave cycles.
_CYCLES_AFTER = 50_000


def _started(directory: Path) -> Iterator[str]:
    node = EmbeddedBroker()
    node.start(directory, free_port())
    yield node.address
    node.stop()


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start; let brokers, and Python's search for cycles, cost little."""
    gc.set_threshold(_CYCLES_AFTER, 10, 10)
    # Who is told to keep no bytecode, as in many containers, compiles all of our modules in each of hundreds
    # of processes, and each process of pytest-xdist rewrites all tests anew.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Half of a short life went into code that only a long one repays.
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
    # A shell that runs pytest in the background has it ignored, and so would all that is started here.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests run against a Kafka that is there, as `tests/docker` does; let a soak choose tests."""
    parser.addoption("--broker", default="", help="HOST:PORT of a Kafka for tests that share one")
    parser.addoption("--soak", action="store_true", help="only tests that need a Kafka or wait by a clock")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Who asks for a broker is marked `kafka`, before `-m` chooses; `--soak` leaves the rest out.

    Files with such tests come first: they wait for long, and while they do, the others use the processors.
    Among them, those come first that share one, so that it does not run for longer than it is of use.
    """
    for item in items:
        if {"broker", "own_broker"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
    sharing = frozenset(item.path for item in items if "broker" in getattr(item, "fixturenames", ()))
    waiting = {item.path for item in items if item.get_closest_marker("kafka")}
    items.sort(key=lambda item: (item.path not in sharing, item.path not in waiting))
    config.stash[_SHARING] = sharing
    if config.getoption("--soak"):
        slow = functools.cache(waits)
        chosen = [item for item in items if item.get_closest_marker("kafka") or slow(item.path)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen


def pytest_collection_finish() -> None:
    """Let Python's search for cycles pass over the tests, which stay until the end."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let all be freed: DuckDB complains of what is left when Python ends."""
    gc.unfreeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Stop the Kafka that tests share before the first file without such tests.

    One that nobody uses takes 3 % of a processor all the same, and each process of pytest-xdist has one.
    """
    yield
    stash = item.config.stash
    if _SHARED in stash and (nextitem is None or nextitem.path not in stash[_SHARING]):
        stash[_SHARED].stop()
        del stash[_SHARED]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> str:
    """`host:port` of an Apache Kafka that is started once, or that of `--broker`.

    Tests share it, so they name topics and groups of their own.
    """
    named = str(pytestconfig.getoption("--broker"))
    if named:
        return named
    if _SHARED not in pytestconfig.stash:
        node = EmbeddedBroker()
        # Also when the run is interrupted.
        pytestconfig.add_cleanup(node.stop)
        node.start(tmp_path_factory.mktemp("kafka"), free_port())
        pytestconfig.stash[_SHARED] = node
    return pytestconfig.stash[_SHARED].address


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of an Apache Kafka of a module's own, for tests that use the `glasses.*` topics."""
    yield from _started(tmp_path_factory.mktemp("kafka"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a stranger has it after the demo, with `journal` and `lineage-store`.

    It is made once, for reading; each process of pytest-xdist has a copy of it.
    """
    # Only who asks for it waits for the commands to be imported.
    from tests.test_docs import replayed  # noqa: PLC0415

    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made, own = common / "a-day", tmp_path_factory.mktemp("home")
    with (common / "a-day.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            replayed(tmp_path_factory.mktemp("making")).rename(made)
    return shutil.copytree(made, own, symlinks=True, dirs_exist_ok=True)
