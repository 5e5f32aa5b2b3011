"""The text of strangers moves no cursor, breaks no line and hides nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.discovery.clean import camera_id, clean
from agent.discovery.sighting import TEXT_MAX

pytestmark = pytest.mark.promise("FIND-LAN")

GONE = "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Front door", "Front door"),
        ("Haust\u00fcr", "Haust\u00fcr"),
        ("Haustu\u0308r", "Haust\u00fcr"),
        ("\u7384\u95a2", "\u7384\u95a2"),
        ("red\x1b[31m", f"red{GONE}[31m"),
        ("a\r\nb", f"a{GONE}b"),
        ("a\u2028b", f"a{GONE}b"),
        ("a\u202ebc", f"a{GONE}bc"),
        ("a\u200bb\u00a0c", f"a{GONE}b{GONE}c"),
        ("a\ud800b", f"a{GONE}b"),
        ("z" + "\u0336" * 50, "z\u0336\u0336"),
        ("a" * 1000, "a" * TEXT_MAX),
        ("  a  ", "a"),
        ("", ""),
    ],
)
def test_text_is_cleaned(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.text())
def test_any_text_is_printable_and_short_afterwards(raw: str) -> None:
    shown = clean(raw)
    assert shown.isprintable()
    assert len(shown) <= TEXT_MAX


ID = "ewyjkd5kfj4utll5"


@pytest.mark.parametrize("raw", ["", ID[:-1], ID + "a", ID.upper(), ID[:-1] + "1", ID[:-1] + "\n", ID + "\n"])
def test_id_of_another_form_is_none(raw: str) -> None:
    assert camera_id(raw) == ""
    assert camera_id(ID) == ID
