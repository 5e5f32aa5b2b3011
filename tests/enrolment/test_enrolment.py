"""What a person enrolled is kept with its level, told in the log, and nobody else's word changes it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent import audit, collection, enrolment, registry
from agent.enrolment import ENROLLED_MAX, Enrolled, enrol
from agent.errors import ConfigError, SpaceError
from agent.index import Index, Tx
from tests.store.home import NOW, Home

pytestmark = pytest.mark.promise("FIND-AUTH")

DEVICE, OTHER_DEVICE = "abcdefgh234567xy", "bcdefgh234567xyz"
KID, OTHER_KID = "K" * 43, "L" * 43


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    home = Home(tmp_path / "home")
    yield home.index
    home.close()


def proved(index: Index, *, device: str = DEVICE, kid: str = KID, endpoint: str = "", name: str = "") -> Enrolled:
    return index.write_now(
        lambda tx: enrol(tx, level="proved", device=device, kid=kid, endpoint=endpoint, name=name, moment=NOW)
    )


def configured(index: Index, endpoint: str) -> Enrolled:
    return index.write_now(lambda tx: enrol(tx, level="configured", endpoint=endpoint, moment=NOW))


def events(index: Index) -> list[tuple[str, str, dict[str, Any]]]:
    lines = index.read_now(lambda tx: audit.entries(tx, 0)[1])
    told = [msgspec.json.decode(line) for line in lines]
    return [(one["kind"], one["rule"], one["detail"]) for one in told if "kind" in one]


def test_enrolled_camera_is_found_again(index: Index) -> None:
    made = proved(index, name="Garden")
    assert index.read_now(lambda tx: enrolment.by_camera(tx, made.camera)) == made
    assert index.read_now(enrolment.enrolled) == (made,)
    known = index.read_now(lambda tx: registry.camera(tx, made.camera))
    assert known is not None
    assert (known.source, known.label) == (enrolment.SOURCE, DEVICE)


def test_enrolling_is_told_in_the_log_without_name_or_key(index: Index) -> None:
    made = proved(index, name="Garden")
    assert events(index)[-1] == ("camera_trusted", "proved", {"camera": made.camera})
    lines = b"".join(index.read_now(lambda tx: audit.entries(tx, 0)[1]))
    assert all(told.encode() not in lines for told in ("Garden", KID, DEVICE))


def test_a_change_that_is_undone_leaves_no_word_in_the_log(index: Index) -> None:
    before = events(index)

    def cut_off(tx: Tx) -> None:
        enrol(tx, level="proved", device=DEVICE, kid=KID, moment=NOW)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        index.write_now(cut_off)
    assert events(index) == before
    assert index.read_now(enrolment.enrolled) == ()


def test_same_camera_again_is_the_one_that_is_there(index: Index) -> None:
    made = proved(index)
    told = events(index)
    assert proved(index) == made
    assert events(index) == told


def test_same_camera_again_takes_the_address_and_the_name_that_are_given(index: Index) -> None:
    made = proved(index, endpoint="192.0.2.7:8443", name="Garden")
    other = proved(index, device=OTHER_DEVICE, kid=OTHER_KID, endpoint="192.0.2.9:8443")
    moved = proved(index, endpoint="192.0.2.8:8443")
    assert (moved.camera, moved.endpoint, moved.name) == (made.camera, "192.0.2.8:8443", "Garden")
    assert events(index)[-1] == ("camera_changed", "proved", {"camera": made.camera, "endpoint": 1, "name": 0})
    named = proved(index, name="Gate")
    assert (named.endpoint, named.name) == ("192.0.2.8:8443", "Gate")
    assert events(index)[-1] == ("camera_changed", "proved", {"camera": made.camera, "endpoint": 0, "name": 1})
    with pytest.raises(ConfigError, match="not the same"):
        proved(index, endpoint=other.endpoint)
    assert index.read_now(enrolment.enrolled) in {(named, other), (other, named)}
    lines = b"".join(index.read_now(lambda tx: audit.entries(tx, 0)[1]))
    assert all(told.encode() not in lines for told in ("Garden", "Gate", "192.0.2"))


def test_pinned_certificate_and_address_alone_are_the_same_only_as_they_were_enrolled(index: Index) -> None:
    where = "192.0.2.7:443"
    made = index.write_now(lambda tx: enrol(tx, level="configured", endpoint=where, name="Garden", moment=NOW))
    again = index.write_now(lambda tx: enrol(tx, level="configured", endpoint=where, name="Gate", moment=NOW))
    assert (again.camera, again.name) == (made.camera, "Gate")
    with pytest.raises(ConfigError, match="not the same"):
        index.write_now(lambda tx: enrol(tx, level="pinned", endpoint=where, certificate_sha256=bytes(32), moment=NOW))


def test_another_key_for_an_enrolled_id_is_refused_and_the_pin_stays(index: Index) -> None:
    made = proved(index)
    with pytest.raises(ConfigError, match="not the same") as refused:
        proved(index, kid=OTHER_KID)
    assert made.camera in refused.value.hint
    assert index.read_now(enrolment.enrolled) == (made,)


def test_one_key_under_two_ids_is_refused(index: Index) -> None:
    made = proved(index)
    with pytest.raises(ConfigError, match="not the same"):
        proved(index, device=OTHER_DEVICE)
    assert index.read_now(enrolment.enrolled) == (made,)


def test_forgotten_camera_is_trusted_no_more_and_may_come_back_with_another_key(index: Index) -> None:
    made = proved(index)
    index.write_now(lambda tx: enrolment.forget(tx, made.camera, moment=NOW))
    assert events(index)[-1] == ("camera_forgotten", "proved", {"camera": made.camera})
    assert index.read_now(lambda tx: enrolment.level_of(tx, made.camera)) == "configured"
    assert proved(index, kid=OTHER_KID).camera == made.camera, "what is held of it is still this camera's"
    with pytest.raises(ConfigError, match="not enrolled"):
        index.write_now(lambda tx: enrolment.forget(tx, "zzzzzzzz", moment=NOW))


def test_enrolled_camera_keeps_its_id_when_everything_is_deleted(index: Index) -> None:
    made = proved(index)
    index.write_now(lambda tx: registry.forget_cameras(tx, named=(), all_deleted=True))
    assert index.read_now(lambda tx: registry.camera(tx, made.camera)) is not None


def test_camera_that_was_switched_off_is_off_still_when_everything_was_deleted_and_it_is_enrolled_anew(
    index: Index,
) -> None:
    made = proved(index)
    index.write_now(lambda tx: collection.switch(tx, made.camera, on=False, moment=NOW))
    index.write_now(lambda tx: enrolment.forget(tx, made.camera, moment=NOW))
    index.write_now(lambda tx: registry.forget_cameras(tx, named=(), all_deleted=True))
    again = proved(index)
    assert index.read_now(collection.off_by_hand) == {again.camera}
    index.write_now(lambda tx: collection.switch(tx, again.camera, on=True, moment=NOW))
    index.write_now(lambda tx: enrolment.forget(tx, again.camera, moment=NOW))
    assert index.write_now(lambda tx: registry.forget_cameras(tx, named=(), all_deleted=True)) == 1


def test_keys_and_names_stand_in_no_text_of_an_error(index: Index) -> None:
    made = msgspec.structs.replace(Enrolled(camera="abcdefgh", level="proved"), advert_key=b"s" * 32, name="Garden")
    identity = index.write_now(lambda tx: enrolment.link_identity(tx, moment=NOW))
    assert (repr(made), repr(identity)) == ("Enrolled(abcdefgh, proved)", "LinkIdentity(…)")


def test_advert_key_is_kept_once(index: Index) -> None:
    made = proved(index)
    for _ in range(2):
        index.write_now(lambda tx: enrolment.pair(tx, made.camera, advert_key=b"a" * 32, moment=NOW))
    assert [kind for kind, _, _ in events(index)].count("camera_paired") == 1
    known = index.read_now(lambda tx: enrolment.by_camera(tx, made.camera))
    assert known is not None
    assert known.advert_key == b"a" * 32


def test_levels_are_told_and_a_camera_of_a_folder_is_configured(index: Index) -> None:
    pinned = index.write_now(
        lambda tx: enrol(
            tx, level="pinned", certificate_sha256=b"c" * 32, endpoint="192.0.2.9:8443", name="Hall", moment=NOW
        )
    )
    by_address = configured(index, "rtsp://192.0.2.8/stream")
    folder = index.write_now(lambda tx: registry.camera_id(tx, "nvr", "porch", moment=NOW))
    cameras = (proved(index).camera, pinned.camera, by_address.camera, folder)
    told = [index.read_now(partial(enrolment.level_of, camera=one)) for one in cameras]
    assert told == ["proved", "pinned", "configured", "configured"]


@pytest.mark.parametrize("name", ["x" * 65, "Gar\x1bden", "Gar\u202eden"])
def test_name_that_would_draw_on_a_screen_is_refused(index: Index, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        proved(index, name=name)


def test_more_cameras_than_a_hub_has_are_refused(index: Index) -> None:
    for at in range(ENROLLED_MAX):
        configured(index, f"192.0.2.1:{at + 1}")
    with pytest.raises(SpaceError) as refused:
        configured(index, "192.0.2.2:1")
    assert "forget" in refused.value.hint


def test_link_identity_is_made_once_and_says_nothing_about_this_device(index: Index) -> None:
    made = index.write_now(lambda tx: enrolment.link_identity(tx, moment=NOW))
    assert index.write_now(lambda tx: enrolment.link_identity(tx, moment=NOW)) == made
    assert [kind for kind, _, _ in events(index)].count("link_key_made") == 1
    certificate = x509.load_pem_x509_certificate(made.certificate_pem)
    key = load_pem_private_key(made.key_pem, password=None).public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    assert isinstance(key.curve, SECP256R1)
    assert certificate.public_key() == key
    certificate.verify_directly_issued_by(certificate)
    (name,) = certificate.subject
    assert len(str(name.value)) == 26
