"""Files and keys go both ways between us and other people's programs, at every size where chunks begin or end."""

import importlib
import io
import random
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.age import (
    Identity,
    ScryptIdentity,
    ScryptRecipient,
    decrypt,
    encrypt,
    encrypt_stream,
    generate_identity,
    new_file_key,
    parse_identity,
    parse_identity_file,
    payload_size,
    unwrap_header,
    wrap_header,
    write_identity_file,
)
from agent.age.format import split_header
from tests.age.armoring import armor, dearmor

pyrage: Any = importlib.import_module("pyrage")  # it ships no type information

DebianAge = Callable[..., bytes]
NodePeer = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
VECTORS = Path(__file__).parent / "cctv.tar.gz"
SIZES = (0, 1, 65535, 65536, 65537, 5_000_000)
CREATED = "2026-01-02T03:04:05Z"


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)  # noqa: S311 - test data, and the same every time


@pytest.fixture(scope="module")
def classic() -> tuple[Identity, ...]:
    return tuple(generate_identity(post_quantum=False) for _ in range(3))


@pytest.fixture(scope="module")
def hybrid() -> tuple[Identity, ...]:
    return tuple(generate_identity(post_quantum=True) for _ in range(3))


def key_file(folder: Path, identity: Identity) -> Path:
    path = folder / "identity"
    path.write_text(write_identity_file(identity, created=CREATED))
    return path


def sealed_by_stream(plain: bytes, identities: tuple[Identity, ...]) -> bytes:
    file_key = new_file_key()
    out = io.BytesIO(wrap_header(file_key, [identity.recipient() for identity in identities]))
    out.seek(0, io.SEEK_END)
    encrypt_stream(file_key, io.BytesIO(plain), out)
    return out.getvalue()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 3])
def test_file_of_ours_is_opened_by_debian_age_gives_the_content(
    size: int, count: int, classic: tuple[Identity, ...], debian_age: DebianAge, tmp_path: Path
) -> None:
    sealed = sealed_by_stream(content(size), classic[:count])
    opened = debian_age("-d", "-i", key_file(tmp_path, classic[count - 1]), stdin=sealed)
    assert opened == content(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 3])
def test_file_of_debian_age_is_opened_by_us_gives_the_content(
    size: int, count: int, classic: tuple[Identity, ...], debian_age: DebianAge
) -> None:
    recipients = [word for one in classic[:count] for word in ("-r", one.recipient().to_text())]
    sealed = debian_age(*recipients, stdin=content(size))
    assert decrypt(sealed, [classic[count - 1]]) == content(size)
    assert len(sealed) == len(split_header(sealed)[0]) + payload_size(size)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 70_000])
def test_armor_goes_both_ways_with_debian_age(
    size: int, classic: tuple[Identity, ...], debian_age: DebianAge, tmp_path: Path
) -> None:
    text = armor(encrypt(content(size), [classic[0].recipient()]))
    assert debian_age("-d", "-i", key_file(tmp_path, classic[0]), stdin=text) == content(size)
    theirs = debian_age("-a", "-r", classic[0].recipient().to_text(), stdin=content(size))
    assert decrypt(dearmor(theirs), classic) == content(size)


def test_key_file_of_age_keygen_is_read_gives_the_recipient_it_names(tmp_path: Path) -> None:
    program = shutil.which("age-keygen")
    assert program, "age-keygen is missing: sudo apt-get install age"
    path = tmp_path / "theirs"
    subprocess.run([program, "-o", path], check=True, capture_output=True)
    (identity,) = parse_identity_file(path.read_text())
    named = re.search(r"# public key: (\S+)", path.read_text())
    assert named
    assert identity.recipient().to_text() == named[1]


def test_key_file_of_ours_is_read_by_age_keygen_gives_our_recipient(
    classic: tuple[Identity, ...], tmp_path: Path
) -> None:
    program = shutil.which("age-keygen")
    assert program, "age-keygen is missing: sudo apt-get install age"
    done = subprocess.run([program, "-y", key_file(tmp_path, classic[0])], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == classic[0].recipient().to_text()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 3])
def test_file_goes_both_ways_with_pyrage(size: int, count: int, classic: tuple[Identity, ...]) -> None:
    last = classic[count - 1]
    theirs = pyrage.x25519.Identity.from_str(last.to_text())
    assert pyrage.decrypt(sealed_by_stream(content(size), classic[:count]), [theirs]) == content(size)
    recipients = [pyrage.x25519.Recipient.from_str(one.recipient().to_text()) for one in classic[:count]]
    assert decrypt(pyrage.encrypt(content(size), recipients), [last]) == content(size)


def test_passphrase_goes_both_ways_with_pyrage() -> None:
    ours = encrypt(b"a letter", [ScryptRecipient("open sesame", log_n=10)])
    assert pyrage.passphrase.decrypt(ours, "open sesame") == b"a letter"
    # pyrage picks its work factor by how fast the machine is.
    theirs = pyrage.passphrase.encrypt(b"an answer", "open sesame")
    assert decrypt(theirs, [ScryptIdentity("open sesame", log_n_max=24)]) == b"an answer"


@pytest.mark.parametrize("post_quantum", [False, True])
def test_files_go_both_ways_with_age_encryption_under_node(
    *,
    post_quantum: bool,
    classic: tuple[Identity, ...],
    hybrid: tuple[Identity, ...],
    node_peer: NodePeer,
    tmp_path: Path,
) -> None:
    ours = hybrid if post_quantum else classic
    (made,) = node_peer([{"op": "keygen", "pq": post_quantum}])
    identities = (*ours[:2], parse_identity(made["identity"]))
    assert identities[2].recipient().to_text() == made["recipient"]
    recipients = [identity.recipient().to_text() for identity in identities]
    jobs: list[dict[str, Any]] = []
    for size in SIZES:
        for count in (1, 3):
            name = f"{size}-{count}"
            (tmp_path / f"{name}.plain").write_bytes(content(size))
            (tmp_path / f"{name}.ours").write_bytes(sealed_by_stream(content(size), identities[:count]))
            last = identities[count - 1].to_text()
            plain, theirs = tmp_path / f"{name}.plain", tmp_path / f"{name}.theirs"
            jobs.append({"op": "encrypt", "recipients": recipients[:count], "in": plain, "out": theirs})
            sealed, opened = tmp_path / f"{name}.ours", tmp_path / f"{name}.opened"
            jobs.append({"op": "decrypt", "identities": [last], "in": sealed, "out": opened})
    node_peer(jobs)
    for size in SIZES:
        for count in (1, 3):
            assert (tmp_path / f"{size}-{count}.opened").read_bytes() == content(size)
            sealed_by_peer = (tmp_path / f"{size}-{count}.theirs").read_bytes()
            assert decrypt(sealed_by_peer, [identities[count - 1]]) == content(size)


@pytest.mark.parametrize("size", [0, 65536, 200_000])
def test_second_header_is_made_from_the_file_key_alone_opens_the_same_payload_for_others(
    size: int, classic: tuple[Identity, ...], hybrid: tuple[Identity, ...], debian_age: DebianAge, tmp_path: Path
) -> None:
    header_a, payload = split_header(sealed_by_stream(content(size), hybrid))
    others = classic[:2]
    header_b = wrap_header(unwrap_header(header_a, [hybrid[1]]), [other.recipient() for other in others])
    for other in others:
        assert debian_age("-d", "-i", key_file(tmp_path, other), stdin=header_b + payload) == content(size)


def test_vectors_of_the_package_are_the_committed_ones(node_peer: NodePeer, tmp_path: Path) -> None:
    (answer,) = node_peer([{"op": "vectors", "out": tmp_path}])
    with tarfile.open(VECTORS) as archive:
        names = archive.getnames()
        assert answer == {"count": len(names)}
        for name in names:
            committed = archive.extractfile(name)
            assert committed
            assert (tmp_path / name).read_bytes() == committed.read()
