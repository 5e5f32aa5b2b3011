"""Keys in a TPM: what was destroyed opens no more, whatever copy is put back, and wherever the power was cut."""

import base64
import contextlib
import hashlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from tpm2_pytss import ESAPI, ESYS_TR, TPMA_NV

from agent.element import TpmSettings, open_element
from agent.element.wear import PAUSE_MS, Wear
from agent.errors import ConfigError, CorruptError
from agent.keystore import FILE_BYTES, SLOT_BYTES, SLOT_OFFSETS, Keystore
from agent.keytree import Root, new_root
from tests.tpm.conftest import Swtpm

DEADLINE_S = 60
NOW_MS = 1_800_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keystore"


@contextlib.contextmanager
def opened(path: Path, tpm: Swtpm) -> Iterator[Keystore]:
    with contextlib.closing(Keystore.open(path, tpm=tpm.settings)) as store:
        yield store


def made(path: Path, tpm: Swtpm) -> tuple[Root, Root]:
    """Make a keystore in the middle of a rotation; return its current and its next root."""
    with contextlib.closing(Keystore.create(path, tpm=tpm.settings)) as store:
        store.stage_root(new_root())
        current, following = store.roots()
        return current, following


def slots(path: Path) -> tuple[bytes, ...]:
    whole = path.read_bytes()
    return tuple(whole[offset : offset + SLOT_BYTES] for offset in SLOT_OFFSETS)


def test_keystore_of_a_tpm_reads_back_the_same_and_holds_no_key_in_clear(path: Path, tpm: Swtpm) -> None:
    with contextlib.closing(Keystore.create(path, tpm=tpm.settings)) as store:
        kid, roots, index_key, recipient = store.kid, store.roots(), store.index_key(), store.recipient()
        (identity,) = store.identities()
        assert (store.protection, store.engine, store.alg) == ("tpm", "tpm", "ES256")
    tpm.cut()
    with opened(path, tpm) as store:
        assert (store.kid, store.roots(), store.index_key(), store.recipient()) == (kid, roots, index_key, recipient)
        assert store.sound
    whole = path.read_bytes()
    assert len(whole) == FILE_BYTES
    assert [key for key in (roots[0].key, index_key, identity.to_text().encode()) if key in whole] == []


def test_signature_of_the_tpm_is_raw_and_verifies_with_the_public_key(path: Path, tpm: Swtpm) -> None:
    with contextlib.closing(Keystore.create(path, tpm=tpm.settings)) as store:
        jwk = store.public_jwk()
        raws = [store.sign(b"data") for _ in range(3)]  # more than the TPM has places for what is loaded
    x, y = (int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "=")) for name in "xy")
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    for raw in raws:
        assert len(raw) == 64
        der = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
        key.verify(der, b"data", ec.ECDSA(SHA256()))


def test_copy_of_the_file_from_before_a_root_was_destroyed_never_opens_again(path: Path, tpm: Swtpm) -> None:
    current, following = made(path, tpm)
    copy = path.read_bytes()
    with opened(path, tpm) as store:
        store.destroy_root(current.id)
        assert store.protection == "tpm"
    newest = path.read_bytes()
    path.write_bytes(copy)
    with pytest.raises(CorruptError, match=r"a copy from before something was destroyed(.|\n)*next: "):
        Keystore.open(path, tpm=tpm.settings)
    path.write_bytes(newest)
    with opened(path, tpm) as store:
        assert store.roots() == (following,)


def test_counter_that_is_removed_and_made_anew_opens_no_copy(path: Path, tpm: Swtpm) -> None:
    current, _ = made(path, tpm)
    copy = path.read_bytes()
    with contextlib.closing(open_element(tpm.settings)) as element:
        before = element.count()
    with opened(path, tpm) as store:
        store.destroy_root(current.id)
    path.write_bytes(copy)
    with contextlib.closing(open_element(tpm.settings)) as element:
        element.remove_counter()
        assert element.make_counter(str(path.absolute())) > before
    with pytest.raises(CorruptError, match="a copy from before"):
        Keystore.open(path, tpm=tpm.settings)


def test_sealed_key_is_refused_by_the_tpm_itself_once_its_counter_was_raised(path: Path, tpm: Swtpm) -> None:
    with contextlib.closing(open_element(tpm.settings)) as element:
        count = element.make_counter(str(path))
        sealed = element.seal(b"k" * 32, count=count)
        assert element.unseal(sealed, count=count) == b"k" * 32
        element.raise_counter()
        for claimed in (count, count + 1):  # neither the true value nor the one that the counter has now
            with pytest.raises(CorruptError, match="does not open"):
                element.unseal(sealed, count=claimed)


def test_file_beside_another_tpm_does_not_open(path: Path, tpm: Swtpm, make_tpm: Callable[[str], Swtpm]) -> None:
    made(path, tpm)
    other = make_tpm("other")
    with pytest.raises(CorruptError, match=r"has no counter(.|\n)*next: give the device its own TPM back"):
        Keystore.open(path, tpm=other.settings)
    with contextlib.closing(open_element(other.settings)) as element:
        count = element.make_counter(str(path.absolute()))
    with contextlib.closing(open_element(tpm.settings)) as element:
        while element.count() < count:
            element.raise_counter()
    with pytest.raises(CorruptError):
        Keystore.open(path, tpm=other.settings)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_power_cut_between_two_steps_leaves_the_root_or_destroys_it_for_good(path: Path, tpm: Swtpm, step: int) -> None:
    current, following = made(path, tpm)
    copy = path.read_bytes()
    ended = subprocess.run(
        [sys.executable, "-m", "tests.tpm.cut", path, tpm.settings.tcti, str(step)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert [int(line) for line in ended.stdout.split()] == list(range(1, step + 1))
    tpm.cut()
    with opened(path, tpm) as store:
        assert store.roots() == ((current, following) if step < 3 else (following,))
        if step < 3:
            store.destroy_root(current.id)
    first, second = slots(path)
    assert first == second
    with opened(path, tpm) as store:
        assert store.roots() == (following,)
        store.sign(b"it goes on")
    path.write_bytes(copy)
    with pytest.raises(CorruptError, match="a copy from before"):
        Keystore.open(path, tpm=tpm.settings)


@pytest.mark.parametrize("last", [2, 3])
def test_after_a_cut_change_nothing_more_is_written_and_the_next_opening_finishes(
    path: Path, tpm: Swtpm, last: int
) -> None:
    current, following = made(path, tpm)

    def fail(step: int) -> None:
        if step == last:
            raise OSError("the TPM did not answer")

    with contextlib.closing(Keystore.open(path, tpm=tpm.settings, at=fail)) as store:
        with pytest.raises(OSError, match="did not answer"):
            store.destroy_root(current.id)
        written = path.read_bytes()
        with pytest.raises(OSError, match="the next start finishes it"):  # else: under a key that nothing opens
            store.rotate_pseudonyms([PAUSE_MS], now_ms=NOW_MS)
        assert path.read_bytes() == written
    with opened(path, tpm) as store:
        assert store.roots() == ((current, following) if last < 3 else (following,))


def test_tpm_that_stops_in_the_middle_of_a_change_is_an_error_and_the_change_is_made_later(
    path: Path, tpm: Swtpm
) -> None:
    current, following = made(path, tpm)
    with (
        contextlib.closing(
            Keystore.open(path, tpm=tpm.settings, at=lambda step: tpm.power_off() if step == 2 else None)
        ) as store,
        pytest.raises(OSError, match="could not raise the counter"),
    ):
        store.destroy_root(current.id)
    tpm.power_on()
    with opened(path, tpm) as store:
        assert store.roots() == (current, following)
        store.destroy_root(current.id)
        assert (store.roots(), store.protection) == ((following,), "tpm")


@pytest.mark.parametrize("slot", SLOT_OFFSETS)
def test_one_damaged_slot_is_made_good_from_the_other(path: Path, tpm: Swtpm, slot: int) -> None:
    roots = made(path, tpm)
    with path.open("r+b") as file:
        file.seek(slot + 200)
        file.write(b"\xff\x00\xff")
    with contextlib.closing(Keystore.open(path, tpm=tpm.settings, mend=False)) as store:
        assert not store.sound
    with opened(path, tpm) as store:
        assert store.roots() == roots
    first, second = slots(path)
    assert first == second


def test_slot_that_was_changed_and_summed_anew_raises_only_that_it_is_corrupt(path: Path, tpm: Swtpm) -> None:
    made(path, tpm)
    whole = path.read_bytes()
    slot = whole[:SLOT_BYTES]
    length = int.from_bytes(slot[16:20])
    for place in range(20, 20 + length, length // 23):
        changed = slot[:place] + bytes([slot[place] ^ 0x11]) + slot[place + 1 : -32]
        changed += hashlib.sha256(changed).digest()
        for offset in SLOT_OFFSETS:
            with path.open("r+b") as file:
                file.seek(offset)
                file.write(changed)
        with pytest.raises(CorruptError):
            Keystore.open(path, tpm=tpm.settings)
    path.write_bytes(whole)
    with opened(path, tpm) as store:
        assert store.sound


def test_pseudonyms_key_of_a_period_that_is_over_opens_in_no_copy(path: Path, tpm: Swtpm) -> None:
    with contextlib.closing(Keystore.create(path, tpm=tpm.settings)) as store:
        store.rotate_pseudonyms([PAUSE_MS], now_ms=NOW_MS)
        copy = path.read_bytes()
        store.rotate_pseudonyms([PAUSE_MS], now_ms=NOW_MS + PAUSE_MS)
    path.write_bytes(copy)
    with pytest.raises(CorruptError, match="a copy from before"):
        Keystore.open(path, tpm=tpm.settings)


def test_without_a_raise_left_the_root_goes_receipts_say_software_and_an_hour_later_it_is_made_good(
    path: Path, tpm: Swtpm
) -> None:
    current, following = made(path, tpm)
    with opened(path, tpm) as store:
        store._state = msgspec.structs.replace(store._state, wear=Wear(0, NOW_MS, NOW_MS))
        store.settle(NOW_MS)
        store.destroy_root(current.id)
        assert store.roots() == (following,)
        assert (store.protection, store.engine) == ("software", "tpm")
    with opened(path, tpm) as store:  # a restart forgives nothing
        told: list[str] = [store.protection]
        store.settle(NOW_MS + PAUSE_MS - 1)
        told.append(store.protection)
        copy = path.read_bytes()
        store.settle(NOW_MS + PAUSE_MS)
        told.append(store.protection)
        assert told == ["software", "software", "tpm"]
        assert store.roots() == (following,)
    path.write_bytes(copy)
    with pytest.raises(CorruptError, match="a copy from before"):
        Keystore.open(path, tpm=tpm.settings)


def test_staging_a_root_does_not_wear_the_tpm(path: Path, tpm: Swtpm) -> None:
    made(path, tpm)
    with contextlib.closing(open_element(tpm.settings)) as element:
        before = element.count()
    with opened(path, tpm) as store:
        store.destroy_root(store.roots()[0].id)
        store.stage_root(new_root())
        store.destroy_root("absent")
    with contextlib.closing(open_element(tpm.settings)) as element:
        assert element.count() == before + 1


def test_destroyed_keystore_leaves_no_counter_and_no_copy_that_opens(path: Path, tpm: Swtpm) -> None:
    made(path, tpm)
    copy = path.read_bytes()
    Keystore.destroy(path, tpm=tpm.settings)
    assert Keystore.is_destroyed(path)
    Keystore.destroy(path, tpm=tpm.settings)  # also again
    path.unlink()
    with contextlib.closing(Keystore.create(path, tpm=tpm.settings)) as following:
        kid = following.kid
    path.write_bytes(copy)
    with pytest.raises(CorruptError, match="a copy from before"):
        Keystore.open(path, tpm=tpm.settings)
    assert kid


def test_keystore_is_overwritten_before_a_tpm_that_does_not_answer_is_asked(path: Path, tpm: Swtpm) -> None:
    made(path, tpm)
    copy = path.read_bytes()
    tpm.power_off()
    with pytest.raises(ConfigError, match="no TPM answers there"):
        Keystore.destroy(path, tpm=tpm.settings)
    assert Keystore.is_destroyed(path)
    first, second = slots(path)
    assert first == second
    tpm.power_on()
    Keystore.destroy(path, tpm=tpm.settings)
    path.write_bytes(copy)
    with pytest.raises(CorruptError, match="has no counter"):
        Keystore.open(path, tpm=tpm.settings)


def test_keystore_that_was_begun_and_cut_is_made_by_the_next_call(path: Path, tpm: Swtpm) -> None:
    with contextlib.closing(open_element(tpm.settings)) as element:
        element.make_counter(str(path.absolute()))
    with contextlib.closing(Keystore.create(path, tpm=tpm.settings)) as store:
        assert store.protection == "tpm"


def test_counter_of_another_agent_is_not_taken(path: Path, tmp_path: Path, tpm: Swtpm) -> None:
    made(path, tpm)
    with pytest.raises(ConfigError, match=r"another agent's(.|\n)*next: give this agent its own: counter = "):
        Keystore.create(tmp_path / "other", tpm=tpm.settings)
    assert not (tmp_path / "other").exists()
    beside = TpmSettings(tcti=tpm.settings.tcti, counter=0x01810731)
    Keystore.create(tmp_path / "other", tpm=beside).close()
    with opened(path, tpm) as store:
        assert store.protection == "tpm"


def test_memory_of_the_tpm_that_could_be_written_back_is_not_taken_for_the_counter(path: Path, tpm: Swtpm) -> None:
    with contextlib.closing(open_element(tpm.settings)) as element:
        element.make_counter(str(path.absolute()))
        ours, _ = element._esys.nv_read_public(element._its_counter())
        element.remove_counter()
        ours.nvPublic.attributes = TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA
        element._esys.nv_define_space(b"", ours)
    with pytest.raises(ConfigError, match="or another program's"):
        Keystore.create(path, tpm=tpm.settings)
    assert not path.exists()


def test_password_of_the_tpms_owner_is_told_with_the_next_step(path: Path, tpm: Swtpm) -> None:
    with contextlib.closing(open_element(tpm.settings)) as element:
        element._esys.hierarchy_change_auth(ESYS_TR.OWNER, b"secret")
    with pytest.raises(ConfigError, match=r"owner hierarchy has a password(.|\n)*next: "):
        Keystore.create(path, tpm=tpm.settings)
    assert not path.exists()


def test_tpm_that_others_left_full_is_told_with_the_next_step_and_works_once_it_is_empty(
    path: Path, tpm: Swtpm
) -> None:
    roots = made(path, tpm)
    with ESAPI(tpm.settings.tcti) as other:
        for _ in range(3):  # as many as it has places for
            other.create_primary(None, "ecc")
    with pytest.raises(ConfigError, match=r"could not make the parent of its keys(.|\n)*next: look what it is full of"):
        Keystore.open(path, tpm=tpm.settings)
    tpm.cut()
    with opened(path, tpm) as store:
        assert store.roots() == roots


def test_engine_that_the_keystore_was_not_made_with_is_refused_with_the_next_step(path: Path, tpm: Swtpm) -> None:
    made(path, tpm)
    with pytest.raises(ConfigError, match=r'made with a TPM(.|\n)*next: write engine = "tpm"'):
        Keystore.open(path)
    path.unlink()
    Keystore.create(path)
    with pytest.raises(ConfigError, match=r'made without a TPM(.|\n)*next: write engine = "software"'):
        Keystore.open(path, tpm=tpm.settings)


def test_tpm_that_is_not_there_is_said_with_the_next_step(path: Path, tpm: Swtpm) -> None:
    made(path, tpm)
    tpm.power_off()
    with pytest.raises(ConfigError, match=r"no TPM answers there(.|\n)*next: look for /dev/tpmrm0"):
        Keystore.open(path, tpm=tpm.settings)
    with pytest.raises(ConfigError, match="no TPM answers there"):
        Keystore.create(path.with_name("new"), tpm=tpm.settings)
    assert not path.with_name("new").exists()
    tpm.power_on()


def test_vault_file_is_put_back_with_everything_else_and_the_deleted_stays_deleted(
    path: Path, tmp_path: Path, tpm: Swtpm
) -> None:
    current, _ = made(path, tpm)
    stolen = tmp_path / "stolen"
    shutil.copy(path, stolen)
    with opened(path, tpm) as store:
        store.destroy_root(current.id)
    tpm.cut()
    with pytest.raises(CorruptError):
        Keystore.open(stolen, tpm=tpm.settings, mend=False)
