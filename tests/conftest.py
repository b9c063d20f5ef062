"""What more than one test folder needs: an embedded Apache Kafka, for the whole run or for one module."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from streams.kafka.broker import EmbeddedBroker, free_port
from tests.soak import waits

# A drawn example may take as long as the machine is busy: what is fast is proven in bench/, never here.
settings.register_profile("sightline", deadline=None)
settings.load_profile("sightline")


def _started(directory: Path) -> Iterator[str]:
    node = EmbeddedBroker()
    node.start(directory, free_port())
    yield node.address
    node.stop()


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, and brokers start at little cost."""
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
    """
    for item in items:
        if {"broker", "own_broker"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
    waiting = {item.path for item in items if item.get_closest_marker("kafka")}
    items.sort(key=lambda item: item.path not in waiting)
    if config.getoption("--soak"):
        slow = functools.cache(waits)
        chosen = [item for item in items if item.get_closest_marker("kafka") or slow(item.path)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[str]:
    """`host:port` of an Apache Kafka that is started once, or that of `--broker`.

    Tests share it, so they name topics and groups of their own.
    """
    named = str(pytestconfig.getoption("--broker"))
    if named:
        yield named
    else:
        yield from _started(tmp_path_factory.mktemp("kafka"))


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
