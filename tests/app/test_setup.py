"""First start: an unowned device gets keys and one owner, goes on after a cut, and never gets a second owner."""

import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.app.lock import opened_lock, take
from agent.app.policy_file import read_policy
from agent.app.preset import preset
from agent.app.setup import (
    BROKER_EXAMPLE,
    BROKER_TEMPLATE,
    CONFIG_TEMPLATE,
    KEYSTORE_EXAMPLE,
    KEYSTORE_TEMPLATE,
    OWNER_FILE_BYTES,
    SOURCE_EXAMPLE,
    SOURCE_TEMPLATE,
    Initialised,
    OwnerFile,
    describe,
    initialise,
    read_owner_file,
)
from agent.clock import Reading
from agent.config import Config, parse_config
from agent.element import TpmSettings
from agent.envelope import KeySet, encode, parse_descriptor
from agent.errors import AgentError, ConfigError, CorruptError, LinkError, RefusedError
from agent.index import Index
from agent.keystore import Keystore
from agent.owner import main as privacy_owner
from agent.trust import Trust

READING = Reading(wall_ms=1_800_000_000_000, boot_ms=5, boot_id="b", synchronised=True)
DOCUMENT = 'device = "cam-01"\nstate = "state"\n'


class Cut(Exception):  # noqa: N818 - no error: the process is gone
    """The power went."""


def clock() -> Reading:
    return READING


def cut() -> Reading:
    raise Cut


@pytest.fixture(scope="session")
def owner_pub(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The ``owner.pub`` of an owner of that name, made by the owner's own tool."""
    folder = tmp_path_factory.mktemp("owners")

    def made(name: str) -> Path:
        home = folder / name
        if not home.exists():
            words = ["--home", str(home), "init", "--name", name, "--classic"]
            assert privacy_owner(words, read_clock=clock) == 0
        return home / "owner.pub"

    return made


@pytest.fixture
def ada(owner_pub: Callable[[str], Path]) -> OwnerFile:
    return read_owner_file(owner_pub("ada"))


@pytest.fixture
def eve(owner_pub: Callable[[str], Path]) -> OwnerFile:
    return read_owner_file(owner_pub("eve"))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return parse_config(DOCUMENT.encode(), file=tmp_path / "etc" / "agent.toml")


def started(config: Config, owner: OwnerFile, *, read_clock: Callable[[], Reading] = clock) -> Initialised:
    documents = {config.policy: "# a policy\n", config.file: DOCUMENT}
    return initialise(config, owner, documents=documents, read_clock=read_clock)


def installed(config: Config) -> tuple[str, KeySet] | None:
    """Return the owner's name and the key set that the device believes."""
    keystore = Keystore.open(config.keystore)
    index = Index(config.index, key=keystore.index_key())
    try:
        owner, keys = index.read_now(Trust().owner), index.read_now(Trust().key_set)
    finally:
        index.close()
    if owner is None:
        assert keys is None
        return None
    assert keys is not None
    return owner.name, keys


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file but SQLite's own, which changes whenever it is opened."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in found if not path.name.startswith("index.db")}


# --- owner.pub


def test_owner_file_reads_as_the_owners_tool_wrote_it(ada: OwnerFile) -> None:
    assert (ada.owner.role, ada.owner.name) == ("owner", "ada")
    assert ada.key_set.count(b".") == 2


def test_absent_owner_file_says_what_writes_one(tmp_path: Path) -> None:
    for path in (tmp_path / "owner.pub", tmp_path):
        with pytest.raises(ConfigError, match=r"next: privacy-owner init writes owner\.pub"):
            read_owner_file(path)


def test_file_that_is_no_owner_file_is_refused_by_name(tmp_path: Path, ada: OwnerFile) -> None:
    owner = encode_owner(ada)
    device = Keystore.create(tmp_path / "keystore")
    wrong = {
        "empty": b"",
        "only the owner": owner + b"\n",
        "only a blank line behind it": owner + b"\n \n\n",
        "only the key set": ada.key_set + b"\n",
        "another role": owner.replace(b'"owner"', b'"client"', 1) + b"\n" + ada.key_set,
        "a device": describe(device, device="cam-01") + b"\n" + ada.key_set,
        "too long": owner + b"\n" + ada.key_set + b"\n" * OWNER_FILE_BYTES,
    }
    path = tmp_path / "owner.pub"
    for what, raw in wrong.items():
        path.write_bytes(raw)
        with pytest.raises(ConfigError) as caught:
            read_owner_file(path)
        assert caught.value.message.startswith(str(path)), what
        assert "privacy-owner init" in caught.value.hint, what


def encode_owner(file: OwnerFile) -> bytes:
    return encode({name: getattr(file.owner, name) for name in file.owner.__struct_fields__})


def test_enormous_owner_file_is_read_no_further_than_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "owner.pub"
    with path.open("wb") as file:
        file.truncate(100 * OWNER_FILE_BYTES)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError):
            read_owner_file(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * OWNER_FILE_BYTES
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=400))
def test_any_bytes_as_an_owner_file_raise_only_our_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "owner.pub"
    path.write_bytes(raw)
    with pytest.raises(ConfigError):
        read_owner_file(path)


# --- initialise


def test_nothing_is_made_while_an_agent_still_has_the_state_folder(config: Config, ada: OwnerFile) -> None:
    # One that leaves its owner removes the keystore last: it was the next owner's then.
    config.state.mkdir(parents=True)
    with opened_lock(config) as fd:
        take(fd, config)
        with pytest.raises(LinkError, match="another process has the vault open"):
            started(config, ada)
        assert [path.name for path in config.state.iterdir()] == ["lock"]
    assert started(config, ada).owner_fingerprint == ada.owner.fingerprint


def test_first_start_makes_keys_owner_descriptor_and_documents_all_private(config: Config, ada: OwnerFile) -> None:
    done = started(config, ada)
    assert installed(config) == ("ada", installed_keys(config))
    assert installed_keys(config).version == 1
    assert done.owner_fingerprint == ada.owner.fingerprint
    shown = parse_descriptor(done.descriptor.read_bytes())
    assert (shown.role, shown.name, shown.fingerprint) == ("device", "cam-01", done.fingerprint)
    assert shown.kid == Keystore.open(config.keystore).kid
    assert set(done.written) == {done.descriptor, config.policy, config.file}
    assert done.kept == ()
    assert config.file.read_text() == DOCUMENT
    for path in (config.state, *config.state.iterdir(), config.policy, config.file, config.file.parent):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def installed_keys(config: Config) -> KeySet:
    found = installed(config)
    assert found is not None
    return found[1]


def test_same_owner_again_changes_no_key_and_no_document_of_the_person(config: Config, ada: OwnerFile) -> None:
    first = started(config, ada)
    config.policy.write_text("# edited since\n")
    before, keys = contents(config.file.parent), installed(config)
    again = started(config, ada)
    assert (again.fingerprint, again.kept) == (first.fingerprint, (config.policy, config.file))
    assert installed(config) == keys
    assert contents(config.file.parent).keys() == before.keys()
    assert config.policy.read_text() == "# edited since\n"


def test_second_owner_is_refused_and_nothing_is_changed(config: Config, ada: OwnerFile, eve: OwnerFile) -> None:
    started(config, ada)
    config.policy.unlink()
    before, keys = contents(config.file.parent), installed(config)
    with pytest.raises(ConfigError, match="has an owner already") as caught:
        started(config, eve)
    assert ada.owner.fingerprint in caught.value.message
    assert contents(config.file.parent) == before
    assert installed(config) == keys


@pytest.mark.parametrize("spoilt", ["other root", "flipped", "no jws"])
def test_key_set_that_the_owner_did_not_sign_gives_the_device_no_owner(
    config: Config, ada: OwnerFile, eve: OwnerFile, spoilt: str
) -> None:
    keys = {"other root": eve.key_set, "flipped": ada.key_set[:-3] + b"AAA", "no jws": b"keys"}[spoilt]
    with pytest.raises((RefusedError, CorruptError)):
        started(config, OwnerFile(ada.owner, keys))
    assert installed(config) is None
    assert not config.policy.exists()
    assert not (config.state / "device.jws").exists()
    started(config, eve)  # nothing of the failed try is in the way
    found = installed(config)
    assert found is not None
    assert found[0] == "eve"


def test_cut_before_the_owner_is_durable_leaves_an_unowned_device_that_goes_on(config: Config, ada: OwnerFile) -> None:
    with pytest.raises(Cut):
        started(config, ada, read_clock=cut)
    kid = Keystore.open(config.keystore).kid
    assert installed(config) is None
    done = started(config, ada)
    assert parse_descriptor(done.descriptor.read_bytes()).kid == kid
    assert installed(config) is not None


def test_cut_before_the_documents_is_made_good_by_the_next_run(config: Config, ada: OwnerFile) -> None:
    config.file.parent.mkdir(parents=True)
    blocked = config.file.parent / "folder"
    blocked.write_bytes(b"")
    with pytest.raises(ConfigError, match="Not a directory"):
        initialise(config, ada, documents={blocked / "policy.toml": "#"}, read_clock=clock)
    keys = installed(config)
    assert keys is not None
    done = started(config, ada)
    assert set(done.written) == {done.descriptor, config.policy, config.file}
    assert installed(config) == keys


@pytest.mark.parametrize("what", ["state", "keystore", "index.db", "device.jws"])
def test_folder_or_file_that_is_in_the_way_is_named_with_the_fix(config: Config, ada: OwnerFile, what: str) -> None:
    target = config.state if what == "state" else config.state / what
    target.parent.mkdir(parents=True, exist_ok=True)
    if what == "state":
        target.write_bytes(b"")
    else:
        config.state.chmod(0o700)
        target.mkdir()
    with pytest.raises(AgentError) as caught:
        started(config, ada)
    assert str(target) in caught.value.message
    assert caught.value.hint


def test_templates_read_as_config_and_policy_with_everything_or_nothing_filled_in(
    tmp_path: Path, ada: OwnerFile
) -> None:
    file = tmp_path / "agent.toml"
    common = {"device": "cam-01", "policy": "policy.toml", "state": "/var/lib/x", "clock": "ntp"}
    bare = CONFIG_TEMPLATE.format(broker=BROKER_EXAMPLE, keystore=KEYSTORE_EXAMPLE, sources=SOURCE_EXAMPLE, **common)
    read = parse_config(bare.encode(), file=file)
    assert (read.broker, read.tpm, read.sources) == (None, None, ())
    uncommented = parse_config(bare.replace("\n# ", "\n").encode(), file=file)
    assert uncommented.broker is not None
    assert uncommented.tpm == TpmSettings()
    assert [source.kind for source in uncommented.sources] == ["frigate"]
    broker = BROKER_TEMPLATE.format(url="mqtts://h:8883", tenant="acme", identity="/tls")
    source = SOURCE_TEMPLATE.format(kind="spool", path="/run/spool", medium="tmpfs")
    text = CONFIG_TEMPLATE.format(broker=broker, keystore=KEYSTORE_TEMPLATE, sources=source, **common)
    for told in (text, text.replace("\n# ", "\n")):  # what is commented out is what is usual
        assert parse_config(told.encode(), file=file).tpm == TpmSettings()
    full = parse_config(text.encode(), file=file)
    assert full.broker is not None
    assert full.sources[0].path == Path("/run/spool")
    policy = preset("default", owner=ada.owner.recipient, uploads=False)
    assert {rule.category for rule in read_policy(policy.encode(), file="p").rules} == {"recording", "photo"}
    every = policy.replace("\n# [", "\n[").replace("\n# ", "\n").split("\n")
    chosen = "\n".join(line for line in every if not line.startswith(("What", "Who", "Usage", "One camera")))
    assert {rule.category for rule in read_policy(chosen.encode(), file="p").rules} >= {"usage-log", "recording"}
