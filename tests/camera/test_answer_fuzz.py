"""Whatever a camera answers, it is read into values within their limits, or it is the one error that is declared."""

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.camera.answer import (
    BODY_MAX_BYTES,
    PAGE_MAX,
    SIZE_MAX_BYTES,
    AnswerError,
    Page,
    Recording,
    read_collection,
    read_error,
    read_page,
    read_status,
)
from agent.errors import CorruptError
from tests.camera.answers import body, spoiled, spoiled_document, told

CODES = 14
ID = re.compile(r"[a-z0-9]{1,32}")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bodies of a real camera's answers."""
    return {name: body(raw) for name, raw in told(tmp_path_factory.mktemp("camera")).items()}


def changed(data: st.DataObject, raw: bytes) -> bytes:
    return data.draw(st.one_of(spoiled_document(raw), spoiled(raw), st.binary(max_size=200)))


def test_what_the_camera_says_unchanged_is_read(said: dict[str, bytes]) -> None:
    page, rest = read_page(said["page"]), read_page(said["rest"])
    assert (len(page.recordings), page.next != "", page.bad) == (2, True, 0)
    assert (len(rest.recordings), len(rest.running), rest.next, rest.bad) == (3, 1, "", 0)
    assert read_status(said["status"]).clock == "trusted"
    assert read_collection(said["collection"]) is False
    assert read_error(said["error"], status=404).code == "not_found"


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_page_is_read_within_its_limits_or_refused(said: dict[str, bytes], data: st.DataObject) -> None:
    raw = changed(data, said[data.draw(st.sampled_from(["page", "rest"]))])
    try:
        page = read_page(raw)
    except CorruptError:
        return
    assert within(page)


def within(page: Page) -> bool:
    assert len(page.recordings) + len(page.running) + page.bad <= PAGE_MAX
    assert re.fullmatch(r"[A-Za-z0-9_-]{0,64}", page.next)
    assert re.fullmatch(r"[a-z0-9]{1,32}", page.card)
    for one in page.recordings:
        assert plausible(one)
    for running, clock in page.running:
        assert ID.fullmatch(running)
        assert clock in {"trusted", "unsure"}
    return True


def plausible(one: Recording) -> bool:
    assert ID.fullmatch(one.id)
    assert one.category in {"recording", "photo", "usage-log"}
    assert re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+-]+", one.media_type)
    assert -(2**47) < one.from_ms <= one.to_ms < 2**48
    assert 0 < one.size_bytes <= SIZE_MAX_BYTES
    assert len(one.sha256) == 32
    assert one.clock in {"trusted", "unsure"}
    assert type(one.acknowledged) is bool
    return True


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_status_is_read_within_its_limits_or_refused(said: dict[str, bytes], data: st.DataObject) -> None:
    try:
        status = read_status(changed(data, said["status"]))
    except CorruptError:
        return
    for text in (status.device, status.model, status.firmware):
        assert 0 < len(text) <= 64
        assert text.isprintable()
    assert len(status.advert_key) == 32
    assert re.fullmatch(r"[a-z0-9]{0,32}", status.card)
    assert status.card or status.storage in {"missing", "failing"}
    assert status.storage in {"ok", "full", "missing", "failing"}
    assert status.erasure in {"unlink", "key"}
    assert {type(one) for one in (status.recording, status.microphone, status.stream, status.consent)} == {bool}


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_collection_is_read_or_refused(said: dict[str, bytes], data: st.DataObject) -> None:
    try:
        enabled = read_collection(changed(data, said["collection"]))
    except CorruptError:
        return
    assert type(enabled) is bool


@settings(max_examples=300, deadline=None)
@given(data=st.data(), status=st.integers(100, 999))
def test_every_error_is_one_of_the_documents(said: dict[str, bytes], data: st.DataObject, status: int) -> None:
    error = read_error(changed(data, said["error"]), status=status)
    assert isinstance(error, AnswerError)
    assert error.code.replace("_", "").isalpha()
    assert error.hint


@pytest.mark.parametrize("read", [read_page, read_status, read_collection])
def test_answer_that_is_too_long_is_not_looked_at(read: Callable[[bytes], object]) -> None:
    with pytest.raises(CorruptError, match="limit"):
        read(b" " * (BODY_MAX_BYTES + 1))


@pytest.mark.parametrize("time", ["2026-02-30T00:00:00.000Z", "2001-01-01T00:00:00.000Z"])
def test_entry_whose_end_is_no_time_or_before_its_beginning_is_passed_over(said: dict[str, bytes], time: str) -> None:
    document = json.loads(said["page"])
    document["recordings"][0]["to"] = time
    page = read_page(json.dumps(document).encode())
    assert (len(page.recordings), page.bad) == (1, 1)


def test_advert_key_of_another_length_is_refused(said: dict[str, bytes]) -> None:
    with pytest.raises(CorruptError, match="32 bytes"):
        read_status(json.dumps(json.loads(said["status"]) | {"advert_key": "AAAA"}).encode())
