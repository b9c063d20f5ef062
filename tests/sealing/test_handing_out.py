"""Keys are handed out by purpose: to whom the policy names, for as long as it does, and on record."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson
import pytest
from click.testing import CliRunner
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams import clock, limits
from streams.cli.main import main as sightline
from streams.errors import DamagedError, InputError, UnavailableError
from streams.policy.diff import of_keys
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.sealing.asked import name_of, name_text
from streams.sealing.asking import KeyService
from streams.sealing.key_rows import KeyFor
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys, Opening
from streams.sealing.release import NotReleasedError, Releases
from streams.sealing.sealed import KeyName, key_of
from streams.sealing.tokens import read_token, token_in
from streams.sealing.wrapping import Named
from streams.topology import EXAMPLES
from tests import build
from tests.hostile.test_cores import GOOD_EXAMPLES
from tests.sealing.serving import served
from tests.sealing.test_examples import sealed

SINK = "training-run"
ANNA, BERT = KeyFor("anna", 30, 100), KeyFor("bert", 30, 100)


def naming(*principals: str) -> Policy:
    """The policy household, which gives keys for training to these principals."""
    before, sink, after = load("household").text.partition(f'name = "{SINK}"')
    return parse(f"{before}{sink}\nkeys_for = {orjson.dumps(principals).decode()}{after}", "a test")


POLICY = naming("study-7")


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore.made(tmp_path / "keys")


class InForce:
    """The policy in force, which a test switches; or None where there is no broker."""

    def __init__(self) -> None:
        self.policy: Policy | None = POLICY

    async def __call__(self) -> Policy:
        if self.policy is None:
            raise UnavailableError("No Kafka answers")
        return self.policy


@pytest.fixture
def in_force() -> InForce:
    return InForce()


@pytest.fixture
def url(store: KeyStore, tmp_path: Path, in_force: InForce) -> Iterator[str]:
    tokens = {name: token_in(tmp_path / f"{name}.token") for name in ("study-7", "other")}
    with served(store, tokens, in_force) as address:
        yield address


@pytest.fixture
def service(url: str, tmp_path: Path) -> KeyService:
    return KeyService(url, "study-7", SINK, tmp_path / "study-7.token")


def test_a_service_says_of_keys_what_the_store_says(store: KeyStore, service: KeyService) -> None:
    keys = store.ensure([ANNA, BERT, KeyFor("carl", 1, 7)])
    names = [key.name for key in keys.values()]
    store.erase("bert", 5)
    store.expire(20 * 86_400 * 10**9)
    invented = [names[0]._replace(store=bytes(8)), names[0]._replace(number=2**64 - 1)]
    asked = [*names, *invented]
    said = service.find(asked)
    assert said == store.find(asked)
    assert [kept.state for kept in said.values()] == ["present", "erased", "expired", "broken", "broken"]
    assert said[names[0]].key == keys[ANNA].key
    assert [(each.principal, each.purpose, each.verdict, each.rule) for each in store.releases()] == [
        ("study-7", "ai:ModelTraining", "allow", f"sinks.{SINK}")
    ]
    # More than one request has room for.
    many = [name._replace(number=number) for name in names[:1] for number in range(1, 1100)]
    assert len(service.find([*many, *names])) == 1099 + 2


def test_a_lost_key_is_an_error_and_no_erasure(store: KeyStore, service: KeyService) -> None:
    name = store.ensure([ANNA])[ANNA].name
    store._file.file.execute("DELETE FROM keys")
    with pytest.raises(UnavailableError, match=r"never in this key store.*Nothing is erased"):
        service.find([name])
    with pytest.raises(DamagedError, match="never in this key store"):
        store.find([name])


def test_the_policy_decides_and_what_it_refuses_is_on_record(
    store: KeyStore, service: KeyService, in_force: InForce, url: str, tmp_path: Path
) -> None:
    name = store.ensure([ANNA])[ANNA].name
    assert service.find([name])[name].key
    in_force.policy = naming()
    with pytest.raises(NotReleasedError, match="does not name it in keys_for of the sink training-run"):
        service.find([name])
    in_force.policy = None
    with pytest.raises(UnavailableError, match="No Kafka answers"):
        service.find([name])
    in_force.policy = POLICY
    assert service.find([name])[name].key
    for principal, sink, words in (
        ("study-7", "nowhere", "has no sink nowhere"),
        ("study-7", "glasses.answers", "keys_for of the sink glasses.answers"),
        ("other", SINK, "other: the policy household .* does not name it"),
    ):
        with pytest.raises(NotReleasedError, match=words):
            KeyService(url, principal, sink, tmp_path / f"{principal}.token").find([name])
    assert [(each.principal, each.verdict, each.rule) for each in store.releases()] == [
        ("study-7", "allow", "sinks.training-run"),
        ("study-7", "deny", "sinks.training-run: keys_for does not name study-7"),
        ("study-7", "allow", "sinks.training-run"),
        ("study-7", "deny", "no sink nowhere"),
        ("study-7", "deny", "sinks.glasses.answers: keys_for does not name study-7"),
        ("other", "deny", "sinks.training-run: keys_for does not name other"),
    ]


def test_a_release_that_goes_on_is_written_down_once_an_hour(store: KeyStore) -> None:
    releases, now_ns = Releases(store), 10**18
    for second in (0, 1, 2, 3599, 3600, 3601, 7199):
        releases.ask(POLICY, SINK, "study-7", now_ns + second * 10**9)
    assert [(each.at_ns - now_ns) // 10**9 for each in store.releases()] == [0, 3600]
    for _ in range(2):
        with pytest.raises(NotReleasedError):
            releases.ask(POLICY, SINK, "other", now_ns)
    assert len(store.releases()) == 3


def test_without_the_token_of_the_principal_nothing_is_handed_out(
    store: KeyStore, url: str, tmp_path: Path
) -> None:
    name = store.ensure([ANNA])[ANNA].name
    with pytest.raises(NotReleasedError, match="the token is of another one"):
        KeyService(url, "study-7", SINK, tmp_path / "other.token").find([name])
    token_in(tmp_path / "strange.token")
    with pytest.raises(NotReleasedError, match="no token that is known here"):
        KeyService(url, "study-7", SINK, tmp_path / "strange.token").find([name])
    assert store.releases() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/keys", b"", 400),
        ("POST", "/keys", b'{"principal": "study-7", "sink": "training-run", "keys": ["secret-ink"]}', 400),
        ("POST", "/keys", b'{"principal": "study-7", "sink": "a secret-ink", "keys": []}', 400),
        ("POST", "/keys", b"x" * (limits.KEYS_REQUEST_BYTES_MAX + 1), 413),
        ("GET", "/keys", None, 405),
        ("POST", "/", b"{}", 404),
    ],
    ids=["empty", "no name of a key", "no name of a sink", "too long", "another method", "another path"],
)
def test_another_request_is_refused_and_quoted_nowhere(
    store: KeyStore,
    url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    body: bytes | None,
    status: int,
) -> None:
    headers = {"authorization": f"Bearer {read_token(tmp_path / 'study-7.token')}"}
    with caplog.at_level(logging.DEBUG), pytest.raises(HTTPError) as caught:
        urlopen(Request(url + path, body, headers, method=method))
    answer = caught.value.read()
    caught.value.close()
    assert (caught.value.code, list(orjson.loads(answer))) == (status, ["error"])
    assert b"secret-ink" not in answer
    assert "secret-ink" not in caplog.text
    assert store.releases() == []


def test_a_program_opens_what_is_sealed_and_holds_a_key_less_than_two_seconds(
    store: KeyStore, service: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    [record] = sealed(Keys(store), GOOD_EXAMPLES[:1])
    now_s = 1000.0
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s)
    opening = Opening(service.find)

    def opens() -> bool:
        [opened] = build.run(opening.opened(EXAMPLES, [record]))
        return opened.value == GOOD_EXAMPLES[0].value

    assert opens()
    assert key_of(record.value) in opening._opening.held
    store.erase("w1", 1)
    held = []
    while opens() and now_s < 1010.0:
        held.append(now_s)
        now_s += 0.1
    assert held[-1] - 1000.0 < limits.KEY_HELD_S < 2.0


async def test_a_key_that_nobody_asks_for_again_is_let_go(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEY_HELD_S", 0.0)
    keys = Keys(store)
    await keys.digest_keys(["w1"])
    assert keys._digests.held
    for _ in range(1000):
        await asyncio.sleep(0.001)
        if not keys._digests.held:
            return
    raise AssertionError("a key is held although nobody asks for it")


class StandIn:
    """A key management service as a key store sees it: keys are wrapped inside, and none comes out."""

    def __init__(self) -> None:
        self._inside = dict[int, AESGCM]()
        self.away = False

    def _of(self, generation: int) -> AESGCM:
        if self.away or generation not in self._inside:
            raise UnavailableError("the key management service has no such key, or does not answer")
        return self._inside[generation]

    def begin(self, generation: int) -> None:
        self._inside.setdefault(generation, AESGCM(AESGCM.generate_key(256)))

    def wrap(self, generation: int, keys: Sequence[Named]) -> list[bytes]:
        cipher = self._of(generation)
        return [bytes(12) + cipher.encrypt(bytes(12), key, name) for key, name in keys]

    def unwrap(self, generation: int, wrapped: Sequence[Named]) -> list[bytes]:
        cipher = self._of(generation)
        try:
            return [cipher.decrypt(each[:12], each[12:], name) for each, name in wrapped]
        except InvalidTag:
            raise DamagedError("another key wrapped this") from None

    def end(self, generation: int) -> None:
        self._of(generation)
        for earlier in [each for each in self._inside if each < generation]:
            del self._inside[earlier]


def test_a_key_management_service_stands_behind_the_same_store_and_service(
    tmp_path: Path, in_force: InForce
) -> None:
    kms = StandIn()
    store = KeyStore.made(tmp_path / "keys", kms)
    assert list((tmp_path / "keys").glob("key-encryption-key*")) == []
    keys = store.ensure([ANNA, BERT])
    with served(store, {"study-7": token_in(tmp_path / "token")}, in_force) as address:
        service = KeyService(address, "study-7", SINK, tmp_path / "token")
        names = [keys[ANNA].name, keys[BERT].name]
        assert [kept.key for kept in service.find(names).values()] == [keys[ANNA].key, keys[BERT].key]
        store.erase("bert", 5)
        store.settle()
        assert list(kms._inside) == [2], "what wrapped the destroyed key is destroyed"
        assert [kept.state for kept in service.find(names).values()] == ["present", "erased"]
        kms.away = True
        with pytest.raises(UnavailableError, match="does not answer"):
            service.find(names)
        kms.away = False
        kms._inside[2] = AESGCM(AESGCM.generate_key(256))
        with pytest.raises(UnavailableError, match="another key wrapped this"):
            service.find(names)


def test_the_difference_of_two_policies_says_who_is_given_keys(tmp_path: Path) -> None:
    (mine := tmp_path / "mine.toml").write_text(POLICY.text, encoding="utf-8")
    differing = CliRunner().invoke(sightline, ["policy", "diff", "household", str(mine), "--exit-code"])
    assert differing.exit_code == 1
    title, head, row = differing.stdout.splitlines()[-3:]
    assert title == "who else is given keys of sealed values differs"
    assert (head.split(), row.split()) == (["sink", "old", "new"], [SINK, "study-7"])
    assert of_keys(POLICY, POLICY) == ()


def test_a_token_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = token_in(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token_in(path) == read_token(path) == token
    path.chmod(0o640)
    with pytest.raises(InputError, match="found a file of mode 0640"):
        token_in(path)
    (short := tmp_path / "short").touch(0o600)
    short.write_text("secret-ink\n")
    with pytest.raises(InputError, match="found no token") as caught:
        read_token(short)
    assert "secret-ink" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://keys.example:8766", "ftp://127.0.0.1", "127.0.0.1:8766"])
def test_keys_are_asked_for_on_this_machine_or_encrypted(address: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keys travel on it"):
        KeyService(address, "study-7", SINK, tmp_path / "token")


def test_a_service_that_is_away_or_another_one_opens_nothing(tmp_path: Path, in_force: InForce) -> None:
    token_in(tmp_path / "token")
    with pytest.raises(UnavailableError, match=r"does not answer.*nothing is opened"):
        KeyService("http://127.0.0.1:9", "study-7", SINK, tmp_path / "token").find(
            [KeyName(bytes(8), 1, bytes(8))]
        )


def test_a_name_is_the_bytes_after_the_first_of_a_sealed_value(store: KeyStore) -> None:
    [record] = sealed(Keys(store), GOOD_EXAMPLES[:1])
    text = (record.value or b"")[1:25].hex()
    assert (name_text(key_of(record.value)), name_of(text)) == (text, key_of(record.value))
