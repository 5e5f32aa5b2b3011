"""A camera's label is read in the forms that people copy it in, and nothing else is taken for one."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.envelope.label import CameraLabel, camera_fingerprint, is_device_id, read_fingerprint, read_label
from agent.errors import ConfigError

pytestmark = pytest.mark.promise("FIND-AUTH")

KID = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
ID = "abcdefgh234567xy"
DIGITS = hashlib.sha256(KID.encode()).digest()[:16].hex()
PRINTED = f"PVCAM:1:{ID.upper()}:{DIGITS.upper()}"


def test_printed_label_names_id_and_key() -> None:
    label = read_label(PRINTED)
    assert label == CameraLabel(ID, DIGITS)
    assert str(label) == PRINTED
    assert label.means(KID)
    assert not label.means(KID[:-1] + "t")


def test_label_fits_the_alphanumeric_mode_of_a_qr_code() -> None:
    assert set(PRINTED) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


def test_label_is_read_in_lower_case_and_with_dashes() -> None:
    dashed = ":".join(("pvcam", "1", "abcd-efgh-2345-67xy", "-".join(DIGITS[at : at + 4] for at in range(0, 32, 4))))
    assert read_label(dashed) == read_label(PRINTED)


def test_fingerprint_is_the_one_that_people_compare() -> None:
    shown = camera_fingerprint(KID)
    assert shown.replace(" ", "") == DIGITS
    assert [len(group) for group in shown.split(" ")] == [4] * 8
    assert read_fingerprint(shown) == read_fingerprint(shown.replace(" ", "-").upper()) == DIGITS


@pytest.mark.parametrize(
    "text",
    [
        "",
        PRINTED + "\n",
        " " + PRINTED,
        PRINTED.replace(":", " : "),
        PRINTED.replace("PVCAM", "PVCAN"),
        PRINTED.replace(":1:", ":2:"),
        PRINTED.replace(":1:", ":01:"),
        PRINTED.replace(":1:", ":-1:"),
        PRINTED + ":",
        PRINTED[:-1],
        PRINTED + "0",
        PRINTED[:-1] + "G",
        PRINTED.replace("A", "1", 1),
        PRINTED.replace("ABC", "AB\u212a"),  # a sign that lower-cases to an ASCII k
        PRINTED.replace("ABCDEFGH", "ABCDEFG1"),
        PRINTED.replace("ABCDEFGH", "ABCDEFG"),
        PRINTED + "-" * 200,
        "https://example.test/?c=" + PRINTED,
    ],
)
def test_anything_else_is_refused_with_the_form_that_is_right(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_label(text)
    assert refused.value.hint.startswith("copy it as it is printed")


@given(st.text(max_size=200))
def test_any_text_is_a_label_or_refused(text: str) -> None:
    try:
        label = read_label(text)
    except ConfigError:
        return
    assert is_device_id(label.id)


@given(st.text(alphabet="PVCAMpvcam1:-0ABCDEF234567", max_size=140))
def test_what_is_read_is_written_so_that_it_is_read_again(text: str) -> None:
    try:
        label = read_label(PRINTED[:8] + text)
    except ConfigError:
        return
    assert read_label(str(label)) == label
