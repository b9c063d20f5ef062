"""The settings file, the variables and the options: their precedence, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streams import settings
from streams.cli.main import main
from streams.connection.credentials import client_options, secret_in
from streams.errors import InputError
from streams.settings.file import SettingsFile, options_of
from streams.settings.kafka import KafkaSettings

CA = Path("ca.pem")
SECRET = "nobody-may-read-this"


def test_an_option_goes_before_a_variable_and_a_variable_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "sightline.toml").write_text(
        'broker = "file:1"\nstore = "kept"\nrole = "wearer:w1"\npair = ["g1=w1", "g2=w2"]\n'
        'extend = ["mine", "yours.glasses"]\n'
        '[kafka]\nca_file = "ca.pem"\nclient_id = "from-file"\n'
        'mechanism = "PLAIN"\nuser = "one"\n[sightline.worker]\npartitions = 8\n',
        encoding="utf-8",
    )
    variables = {"SIGHTLINE_BROKER": "variable:2", "SIGHTLINE_KAFKA_CLIENT_ID": "from-variable"}
    told = _told(tmp_path, {**variables, "SIGHTLINE_KAFKA_PASSWORD": SECRET})
    file = str(tmp_path / "sightline.toml")
    expected = {
        "broker": ("variable:2", "SIGHTLINE_BROKER"),
        "store": (str(tmp_path / "kept"), file),
        "role": ("wearer:w1", file),
        "pair": ("g1=w1 g2=w2", file),
        "extend": ("mine yours.glasses", file),
        "policy": ("household", "default"),
        "kafka.ca_file": (str(tmp_path / "ca.pem"), file),
        "kafka.client_id": ("from-variable", "SIGHTLINE_KAFKA_CLIENT_ID"),
        "kafka.password": ("********", "SIGHTLINE_KAFKA_PASSWORD"),
        "sightline.worker.partitions": (8, file),
    }
    assert {name: told[name] for name in expected} == expected


def _told(directory: Path, variables: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    """Output of `sightline settings --json` in a directory, by setting."""
    ended = subprocess.run(
        [sys.executable, "-m", "streams.cli", "settings", "--json"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert SECRET not in ended.stdout + ended.stderr
    return {row["setting"]: (row["value"], row["said_by"]) for row in json.loads(ended.stdout)["settings"]}


def test_a_command_takes_what_the_file_says_of_it_unless_an_option_does() -> None:
    taken: list[tuple[int, tuple[str, ...]]] = []

    @click.group()
    @click.pass_context
    def program(context: click.Context) -> None:
        of_run = {"wait-s": 3, "store": "kept"}
        options_of(SettingsFile(Path("f"), {"sightline": {"run": of_run}}), context, "sightline", [])

    @program.command()
    @click.option("--wait-s", "seconds", default=1)
    @click.option("--store", "stores", multiple=True)
    def run(seconds: int, stores: tuple[str, ...]) -> None:
        taken.append((seconds, stores))

    for arguments in (["run"], ["run", "--wait-s", "5", "--store", "a", "--store", "b"]):
        assert CliRunner().invoke(program, arguments).exit_code == 0
    # One text for an option that can be given several times is one value, not a value for each letter.
    assert taken == [(3, ("kept",)), (5, ("a", "b"))]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stoer = 1", "there is no setting 'stoer'; the nearest is store"),
        (
            "[sightline.worker]\npartitoins = 1",
            r"\[sightline\.worker\]: there is no setting 'partitoins'; the nearest is partitions",
        ),
        ("[worker]\nx = 1", r"there is no setting 'worker'; the nearest is \[sightline\.worker\]"),
        ("[sightline.wroker]\npartitions = 1", "there is no setting 'wroker'; the nearest is worker"),
        ("[sightline.policy.chek]\nfile = 1", "the nearest is check"),
        ("[sightline]\nworker = 3", "sightline.worker: found a value, expected a table"),
        ("store = ", "is no TOML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, sentence: str
) -> None:
    path = tmp_path / "sightline.toml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(settings, "FILE", SettingsFile.read(path, required=True))
    ended = CliRunner().invoke(main, ["topology"])
    assert ended.exit_code == 2
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(ended.stderr)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"password": SECRET}, "the nearest is password_file; a password stands in a file of its own"),
        ({"ca_fiel": "x"}, "there is no setting 'ca_fiel'; the nearest is ca_file"),
        ({"tls": "perhaps"}, "tls: found neither true nor false"),
        ({"replication_factor": "many"}, "replication_factor: expected a whole number"),
    ],
)
def test_a_table_of_kafka_that_cannot_be_meant_is_refused(
    monkeypatch: pytest.MonkeyPatch, table: Mapping[str, str], sentence: str
) -> None:
    monkeypatch.setattr(settings, "FILE", SettingsFile(Path("f.toml"), {"kafka": table}))
    with pytest.raises(InputError, match=sentence) as raised:
        settings.kafka("a:1")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"mechanism": "PLAIN", "user": "u"}, "without TLS, which would show the secret"),
        ({"tls": True, "mechanism": "GSSAPI"}, "found mechanism 'GSSAPI', expected one of"),
        ({"tls": True, "mechanism": "PLAIN"}, "found no user with mechanism PLAIN"),
        ({"tls": True, "user": "u"}, "found a user with mechanism left out"),
        ({"tls": True, "mechanism": "OAUTHBEARER"}, "expected token_file and mechanism OAUTHBEARER together"),
        ({"tls": True, "password_file": CA}, "found a password_file"),
        ({"cert_file": CA}, "found cert_file without key_file"),
        ({"client_id": "with space"}, "client_id"),
        ({"topic_prefix": "acme/"}, "topic_prefix: expected at most 100 letters"),
        ({"topic_prefix": "a" * 101}, "topic_prefix: expected at most 100 letters"),
        ({"replication_factor": 0}, "found replication_factor 0"),
        ({"min_in_sync": 2}, "found min_in_sync 2, expected 1 to the replication_factor 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        KafkaSettings("a:1", **given)  # type: ignore[arg-type]


def test_a_client_of_an_address_alone_is_open_and_every_other_has_a_context(tmp_path: Path) -> None:
    assert client_options("a:1") == {"bootstrap_servers": "a:1", "client_id": "sightline"}
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n", encoding="utf-8")
    named = KafkaSettings("a:1", tls=True, mechanism="PLAIN", user="u", password_file=secret)
    options = client_options(named)
    assert options["security_protocol"] == "SASL_SSL"
    assert options["ssl_context"].check_hostname
    assert options["sasl_plain_password"] == SECRET
    assert SECRET not in repr(named)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "found no line of text"),
        (b"\xff\xfe", "found no line"),
        (b"two\nlines", "found no line"),
        (b"x" * 70_000, "found more than 65536"),
    ],
)
def test_a_file_without_a_secret_is_refused_without_a_word_of_it(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as raised:
        secret_in(path)
    assert "xxx" not in str(raised.value)


def test_files_for_tls_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(InputError, match="cannot be read as ca_file"):
        client_options(KafkaSettings("a:1", ca_file=path))
    path.write_text("no certificate", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be used as ca_file; expected PEM"):
        client_options(KafkaSettings("a:1", ca_file=path))
    with pytest.raises(InputError, match="cannot be used as cert_file and key_file"):
        client_options(KafkaSettings("a:1", cert_file=path, key_file=path))
    with pytest.raises(InputError, match="no password for user 'u'"):
        client_options(KafkaSettings("a:1", tls=True, mechanism="PLAIN", user="u"))
