"""What `docker-compose.yml` and `Dockerfile` repeat of the code says the same; needs no Docker."""

from __future__ import annotations

import re
from pathlib import Path

from streams.kafka.jars import KAFKA_VERSION
from streams.kafka.node import node_properties

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
#: Where the node is and how it is reached differs in a container; everything else is a decision that was
#: measured.
OF_THE_PLACE = {
    "process.roles",
    "node.id",
    "controller.quorum.voters",
    "listeners",
    "advertised.listeners",
    "controller.listener.names",
    "listener.security.protocol.map",
    "inter.broker.listener.name",
    "log.dirs",
    "heap.opts",
    "log4j.root.loglevel",
    "log4j.loggers",
}


def test_the_broker_is_set_as_the_embedded_one() -> None:
    inside = {
        name.lower().replace("_", "."): value.strip('"')
        for name, value in re.findall(r"KAFKA_([A-Z0-9_]+): (.+)", COMPOSE)
    }
    embedded = dict(line.split("=", 1) for line in node_properties(Path("/"), 9092, {}).splitlines())
    assert {name: value for name, value in inside.items() if name not in OF_THE_PLACE} == {
        name: value for name, value in embedded.items() if name not in OF_THE_PLACE
    }


def test_the_version_is_that_of_the_code() -> None:
    assert f"image: apache/kafka:{KAFKA_VERSION}\n" in COMPOSE


def test_ready_is_what_the_processes_say_and_not_what_their_logs_hold() -> None:
    said = re.findall(r'"sightline", "(\w+)", "--ready-file", "(\S+)"', COMPOSE)
    assert [command for command, _ in said] == ["worker", "snapshots", "page"]
    assert re.findall(r'"CMD", "test", "-e", "(\S+)"', COMPOSE) == [file for _, file in said]


def test_what_is_mounted_is_its_owners_alone() -> None:
    assert '"--mode", "0700", "--owner"' in COMPOSE


def test_nothing_listens_to_other_machines() -> None:
    ports = re.findall(r"ports: \[(.*)\]", COMPOSE)
    assert ports
    assert all(port.strip(' "').startswith("127.0.0.1:") for line in ports for port in line.split(","))


def test_the_image_is_built_from_named_files_only() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    named = {line[1:] for line in ignored if line.startswith("!")}
    assert named == set(
        " ".join(
            re.findall(r"^COPY ((?!--from).+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
        ).split()
    )
