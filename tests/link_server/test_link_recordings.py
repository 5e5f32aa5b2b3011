"""Listing, fetching with ranges, acknowledging, deleting and switching (docs/camera-link.md §4 to §6)."""

import http.client
import json
import os
import ssl
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from device_sim.camera.breakage import Breakage
from device_sim.camera.device import Device
from tests.link_server.stand import NOW, Caller, Stand, asked, sha256

CLIP = bytes(range(256)) * 1000
SIZE = len(CLIP)


def ids(caller: Caller, stand: Stand, query: str = "") -> list[str]:
    return [one["id"] for one in caller.ask(stand.port, "GET", f"/v1/recordings{query}").json["recordings"]]


def test_list_tells_each_recording(stand: Stand, agent: Caller) -> None:
    entry = stand.record(CLIP)
    listed = agent.ask(stand.port, "GET", "/v1/recordings").json
    assert listed == {
        "storage": stand.device.card.id,
        "recordings": [
            {
                "id": entry.id,
                "category": "recording",
                "media_type": "video/mp4",
                "from": "2026-11-22T10:15:00.000Z",
                "to": "2026-11-22T10:15:10.000Z",
                "clock": "trusted",
                "size": SIZE,
                "complete": True,
                "sha256": sha256(CLIP),
                "acknowledged": False,
            }
        ],
    }


def test_pages_hold_everything_once_whatever_is_deleted_meanwhile(stand: Stand, agent: Caller) -> None:
    made = [stand.record(b"%d" % index).id for index in range(7)]
    seen: list[str] = []
    query = "?limit=2"
    while query:
        page = agent.ask(stand.port, "GET", f"/v1/recordings{query}").json
        seen += [one["id"] for one in page["recordings"]]
        agent.ask(stand.port, "DELETE", f"/v1/recordings/{seen[-1]}")
        query = f"?limit=2&after={page['next']}" if "next" in page else ""
    assert seen == made


def test_list_is_cut_at_its_default_and_its_most(stand: Stand, agent: Caller) -> None:
    made = [stand.record(b"%d" % index).id for index in range(201)]
    assert ids(agent, stand) == made[:100]
    assert ids(agent, stand, "?limit=200") == made[:200]
    assert ids(agent, stand, f"?after={201}") == []


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=201", "?limit=x", "?limit=%C2%B2", "?after=-1", "?after=", "?acknowledged=yes",
     "?limit=1&limit=1", "?before=1", "?%FF=1", "?limit"],
)  # fmt: skip
def test_malformed_query_is_refused(stand: Stand, agent: Caller, query: str) -> None:
    assert agent.ask(stand.port, "GET", f"/v1/recordings{query}").code == (400, "bad_request")


def test_what_is_being_recorded_is_listed_and_not_given(stand: Stand, agent: Caller) -> None:
    entry = stand.begin()
    (listed,) = agent.ask(stand.port, "GET", "/v1/recordings?acknowledged=false").json["recordings"]
    assert (listed["complete"], "sha256" in listed, "to" in listed) == (False, False, False)
    path = f"/v1/recordings/{entry.id}"
    assert agent.ask(stand.port, "GET", f"{path}/content").code == (409, "incomplete")
    said = agent.ask(stand.port, "PUT", f"{path}/acknowledged", {"sha256": sha256(b"")})
    assert said.code == (409, "incomplete")


@pytest.mark.parametrize(
    ("asked_for", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=100-199", 100, 200),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        (f"bytes=10-{SIZE * 9}", 10, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        (f"bytes=-{SIZE * 9}", 0, SIZE),
        (" bytes=5-9 ", 5, 10),
    ],
)
def test_range_is_given(stand: Stand, agent: Caller, asked_for: str, begin: int, end: int) -> None:
    entry = stand.record(CLIP)
    said = agent.ask(stand.port, "GET", f"/v1/recordings/{entry.id}/content", Range=asked_for)
    assert (said.status, said.body) == (206, CLIP[begin:end])
    assert said.headers["content-range"] == f"bytes {begin}-{end - 1}/{SIZE}"
    assert said.headers["etag"] == f'"{sha256(CLIP)}"'


@pytest.mark.parametrize("asked_for", [f"bytes={SIZE}-", f"bytes={SIZE * 2}-{SIZE * 3}", "bytes=-0"])
def test_range_beyond_the_end_is_416(stand: Stand, agent: Caller, asked_for: str) -> None:
    entry = stand.record(CLIP)
    said = agent.ask(stand.port, "GET", f"/v1/recordings/{entry.id}/content", Range=asked_for)
    assert said.code == (416, "range_not_satisfiable")
    assert said.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "asked_for", ["bytes=5-4", "bytes=0-1,4-5", "items=0-1", "bytes=", "bytes=-", "bytes=a-b", "0-1", "bytes=1-2-3"]
)
def test_range_that_is_none_is_ignored(stand: Stand, agent: Caller, asked_for: str) -> None:
    entry = stand.record(CLIP)
    said = agent.ask(stand.port, "GET", f"/v1/recordings/{entry.id}/content", Range=asked_for)
    assert (said.status, said.body) == (200, CLIP)
    assert "content-range" not in said.headers


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (f'"{sha256(CLIP)}"', 206),
        (f'"{sha256(b"another")}"', 200),
        (f'W/"{sha256(CLIP)}"', 200),
        ("Sun, 22 Nov 2026 10:15:00 GMT", 200),
    ],
)
def test_range_is_resumed_only_of_the_same_content(stand: Stand, agent: Caller, condition: str, status: int) -> None:
    entry = stand.record(CLIP)
    path = f"/v1/recordings/{entry.id}/content"
    said = agent.ask(stand.port, "GET", path, Range="bytes=1000-", If_Range=condition)
    assert (said.status, said.body) == (status, CLIP[1000:] if status == 206 else CLIP)


def test_cut_link_is_resumed_until_all_is_there(stand: Stand, agent: Caller) -> None:
    entry = stand.record(CLIP)
    path, taken, breaks = f"/v1/recordings/{entry.id}/content", b"", 0
    stand.do(lambda: stand.device.break_("link-cut"))
    while len(taken) < SIZE:
        with agent.connected(stand.port) as line:
            line.request("GET", path, headers={"Range": f"bytes={len(taken)}-", "If-Range": f'"{entry.sha256}"'})
            answer = line.getresponse()
            assert answer.status == 206
            try:
                taken += answer.read()
            except http.client.IncompleteRead as error:
                taken += error.partial
                breaks += 1
            except (ssl.SSLError, ConnectionError):
                breaks += 1
    assert sha256(taken) == entry.sha256
    assert breaks == SIZE // (64 * 1024)


def test_acknowledged_is_noted_durably_and_only_for_its_hash(stand: Stand, agent: Caller) -> None:
    entry = stand.record(CLIP)
    path = f"/v1/recordings/{entry.id}/acknowledged"
    assert agent.ask(stand.port, "PUT", path, {"sha256": sha256(b"another")}).code == (409, "hash_mismatch")
    assert ids(agent, stand, "?acknowledged=false") == [entry.id]
    assert [agent.ask(stand.port, "PUT", path, {"sha256": entry.sha256}).status for _ in range(2)] == [204, 204]
    assert ids(agent, stand, "?acknowledged=false") == []
    assert ids(agent, stand, "?acknowledged=true") == [entry.id]
    again = Device(stand.device.folder, now=lambda: NOW, monotonic=lambda: 0.0)
    assert [one.acknowledged for one in again.card.entries()] == [True]


def test_deleted_is_gone_for_good_and_a_second_time_too(stand: Stand, agent: Caller) -> None:
    entry, kept = stand.record(CLIP), stand.record(b"another")
    path = f"/v1/recordings/{entry.id}"
    assert [agent.ask(stand.port, "DELETE", path).status for _ in range(2)] == [204, 204]
    assert agent.ask(stand.port, "GET", f"{path}/content").code == (404, "not_found")
    assert agent.ask(stand.port, "PUT", f"{path}/acknowledged", {"sha256": entry.sha256}).code == (404, "not_found")
    again = Device(stand.device.folder, now=lambda: NOW, monotonic=lambda: 0.0)
    assert [one.id for one in again.card.entries()] == [kept.id]
    assert all(CLIP[:256] not in path.read_bytes() for path in stand.device.card.folder.iterdir())


def test_delete_that_names_its_content_and_its_card_touches_nothing_else(stand: Stand, agent: Caller) -> None:
    entry, running = stand.record(CLIP), stand.begin()
    path, card = f"/v1/recordings/{entry.id}", stand.device.card.id
    meant, another = f'"{entry.sha256}"', f'"{sha256(b"another")}"'

    def delete(path: str, etag: str, storage: str = card) -> tuple[int, str]:
        said = agent.ask(stand.port, "DELETE", f"{path}?storage={storage}", If_Match=etag)
        return (said.status, "") if said.status == 204 else said.code

    assert delete(path, another) == (412, "hash_mismatch")
    assert delete(f"/v1/recordings/{running.id}", meant) == (412, "hash_mismatch")
    assert delete(path, meant, "a" * 16) == (409, "other_storage")
    for bad in ("*", f"W/{meant}", f"{meant}, {another}", entry.sha256, '""'):
        assert delete(path, bad) == (400, "bad_request")
    assert delete(path, meant, "A" * 16) == (400, "bad_request")
    assert ids(agent, stand) == [entry.id, running.id]
    assert [delete(path, meant) for _ in range(2)] == [(204, ""), (204, "")]
    assert ids(agent, stand) == [running.id]


def test_card_keeps_its_id_and_another_one_has_another(stand: Stand, agent: Caller) -> None:
    def told() -> str:
        return str(agent.ask(stand.port, "GET", "/v1/camera").json["storage"].get("id", ""))

    entry, first = stand.record(CLIP), told()
    stand.do(lambda: stand.device.break_("card-swapped"))
    assert (ids(agent, stand), told() in {"", first}) == ([], False)
    stand.do(lambda: stand.device.break_("card-missing"))
    assert told() == ""
    stand.do(lambda: stand.device.mend("card-missing"))
    stand.do(lambda: stand.device.mend("card-swapped"))
    assert (ids(agent, stand), told()) == ([entry.id], first)
    stand.do(stand.device.reset)
    assert Device(stand.device.folder, now=lambda: NOW, monotonic=lambda: 0.0).card.id == first


def test_delete_is_answered_after_the_folder_is_synced(
    stand: Stand, agent: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = stand.record(CLIP)
    done: list[str] = []
    real_sync, real_unlink = os.fsync, Path.unlink

    def sync(handle: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{handle}').readlink().name}")
        real_sync(handle)

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        done.append(f"unlink {path.name}")
        real_unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "unlink", unlink)
    assert agent.ask(stand.port, "DELETE", f"/v1/recordings/{entry.id}").status == 204
    monkeypatch.undo()
    assert done == [f"unlink {entry.id}.json", "sync card", f"unlink {entry.id}", "sync card"]


def test_erase_before_takes_what_began_earlier_and_what_still_runs(stand: Stand, agent: Caller) -> None:
    stand.record(CLIP, start=NOW - timedelta(hours=2))
    stand.begin(start=NOW - timedelta(milliseconds=1))
    kept = stand.record(b"later", start=NOW)
    said = agent.ask(stand.port, "DELETE", "/v1/recordings?before=2026-11-22T10:15:00.000Z")
    assert (said.status, said.json) == (200, {"deleted": 2})
    assert ids(agent, stand) == [kept.id]


def test_erase_all_takes_everything(stand: Stand, agent: Caller) -> None:
    stand.record(CLIP)
    stand.begin()
    assert agent.ask(stand.port, "DELETE", "/v1/recordings?all=true").json == {"deleted": 2}
    assert agent.ask(stand.port, "DELETE", "/v1/recordings?all=true").json == {"deleted": 0}
    assert [path.name for path in stand.device.card.folder.iterdir()] == ["storage.id"]


@pytest.mark.parametrize(
    "query", ["", "?all=false", "?before=2026-11-22", "?all=true&before=2026-11-22T10:15:00.000Z", "?everything=true"]
)
def test_erase_of_nothing_in_particular_is_refused(stand: Stand, agent: Caller, query: str) -> None:
    entry = stand.record(CLIP)
    assert agent.ask(stand.port, "DELETE", f"/v1/recordings{query}").code == (400, "bad_request")
    assert ids(agent, stand) == [entry.id]


@pytest.mark.parametrize(
    ("breakage", "told"),
    [("card-missing", (503, "storage_missing")), ("card-failing", (500, "storage_failed"))],
)
def test_broken_card_promises_nothing(stand: Stand, agent: Caller, breakage: Breakage, told: tuple[int, str]) -> None:
    entry = stand.record(CLIP)
    stand.do(lambda: stand.device.break_(breakage))
    for method, path in (
        ("GET", "/v1/recordings"),
        ("DELETE", f"/v1/recordings/{entry.id}"),
        ("DELETE", "/v1/recordings/r9999999999"),
        ("DELETE", "/v1/recordings?all=true"),
        ("GET", f"/v1/recordings/{entry.id}/content"),
    ):
        assert agent.ask(stand.port, method, path).code == told, (method, path)
    stand.do(lambda: stand.device.mend(breakage))
    assert ids(agent, stand) == [entry.id]


def test_corrupt_card_gives_other_bytes_than_it_lists(stand: Stand, agent: Caller) -> None:
    entry = stand.record(CLIP)
    stand.do(lambda: stand.device.break_("card-corrupt"))
    said = agent.ask(stand.port, "GET", f"/v1/recordings/{entry.id}/content")
    assert said.status == 200
    assert len(said.body) == SIZE
    assert sha256(said.body) != entry.sha256


def test_lost_bytes_are_told_as_unreadable(stand: Stand, agent: Caller) -> None:
    entry = stand.record(CLIP)
    (stand.device.card.folder / entry.id).unlink()
    assert agent.ask(stand.port, "GET", f"/v1/recordings/{entry.id}/content").code == (500, "unreadable")


@pytest.mark.parametrize(
    ("breakage", "clock", "year"),
    [("clock-unsure", "unsure", "2016"), ("clock-wrong", "trusted", "2016")],
)
def test_wrong_clock_is_told_or_not(stand: Stand, agent: Caller, breakage: Breakage, clock: str, year: str) -> None:
    stand.do(lambda: stand.device.break_(breakage))
    said = agent.ask(stand.port, "GET", "/v1/camera").json
    assert (said["clock"], said["time"][:4]) == (clock, year)


def test_collection_is_off_until_switched_on_and_kept_over_a_power_cut(stand: Stand, agent: Caller) -> None:
    assert agent.ask(stand.port, "GET", "/v1/collection").json["enabled"] is False
    stand.hands.turn(timedelta(seconds=1))
    said = agent.ask(stand.port, "PUT", "/v1/collection", {"enabled": True}).json
    assert said == {"enabled": True, "since": "2026-11-22T10:15:01.000Z"}
    stand.hands.turn(timedelta(seconds=1))
    assert agent.ask(stand.port, "PUT", "/v1/collection", {"enabled": True}).json == said
    assert Device(stand.device.folder, now=lambda: NOW, monotonic=lambda: 0.0).collecting


def test_switched_off_is_answered_after_the_recording_has_ended(stand: Stand, agent: Caller) -> None:
    agent.ask(stand.port, "PUT", "/v1/collection", {"enabled": True})
    stand.do(lambda: stand.device.note_recording(running=True))
    ordered, answered = threading.Event(), threading.Event()
    stand.do(
        lambda: stand.device.happened.append(lambda event, _: ordered.set() if event == "not-collecting" else None)
    )

    def switch() -> None:
        agent.ask(stand.port, "PUT", "/v1/collection", {"enabled": False})
        answered.set()

    asking = threading.Thread(target=switch)
    asking.start()
    assert ordered.wait(60)
    assert agent.ask(stand.port, "GET", "/v1/camera").json["state"]["recording"] is False
    assert not answered.is_set()
    stand.do(lambda: stand.device.note_recording(running=False))
    asking.join(60)
    assert answered.is_set()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"enabled": 1}', b'{"enabled": true, "more": 1}', b'{"enabled": true, "enabled": false}',
     b'{"enabled": true}' + b" " * 4096, b"[" * 4000, b"\xff"],
)  # fmt: skip
def test_malformed_order_is_refused_and_changes_nothing(stand: Stand, agent: Caller, body: bytes) -> None:
    said = agent.ask(stand.port, "PUT", "/v1/collection", body)
    assert said.code == ((413, "too_large") if len(body) > 4096 else (400, "bad_request"))
    assert not stand.device.collecting


def test_other_methods_and_paths_are_told(stand: Stand, agent: Caller) -> None:
    said = agent.ask(stand.port, "POST", "/v1/recordings")
    assert said.code == (405, "method_not_allowed")
    assert set(said.headers["allow"].split(", ")) == {"GET", "DELETE"}
    assert agent.ask(stand.port, "HEAD", "/v1/camera").status == 405
    assert agent.ask(stand.port, "GET", "/v2/camera").code == (404, "not_found")
    assert agent.ask(stand.port, "GET", "/v1/recordings/..%2f..%2fdevice.key/content").code == (404, "not_found")


def test_head_that_is_too_large_is_refused_and_ends_the_line(stand: Stand, agent: Caller) -> None:
    with agent.connected(stand.port) as line:
        assert asked(line, "GET", "/v1/camera", X="x" * 9000).code == (431, "too_large")
    assert agent.ask(stand.port, "GET", "/v1/camera").status == 200


def test_what_is_no_http_is_refused(stand: Stand, agent: Caller) -> None:
    with agent.connected(stand.port) as line:
        line.connect()
        assert line.sock is not None
        line.sock.sendall(b"HELO camera\r\n\r\n")
        answer = http.client.HTTPResponse(line.sock)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["code"]) == (400, "bad_request")


def test_many_requests_go_over_one_line(stand: Stand, agent: Caller) -> None:
    entry = stand.record(CLIP)
    with agent.connected(stand.port) as line:
        for _ in range(3):
            assert asked(line, "GET", f"/v1/recordings/{entry.id}/content").body == CLIP
            assert asked(line, "GET", "/v1/no-such-path").status == 404
        assert line.sock is not None


def test_connections_beyond_the_most_wait_and_then_are_served(stand: Stand, agent: Caller) -> None:
    held = [http.client.HTTPSConnection("127.0.0.1", stand.port, context=agent.context(), timeout=60) for _ in range(8)]
    for line in held:
        asked(line, "GET", "/v1/camera")
    held[0].close()
    assert agent.ask(stand.port, "GET", "/v1/camera").status == 200
    for line in held:
        line.close()


def test_silent_link_takes_the_request_and_never_answers(stand: Stand, agent: Caller) -> None:
    heard = threading.Event()
    stand.do(lambda: stand.device.break_("link-silent"))
    stand.do(lambda: stand.device.happened.append(lambda event, _facts: heard.set() if event == "silent" else None))
    with agent.connected(stand.port) as line:
        line.request("GET", "/v1/camera")
        assert heard.wait(60)
        stand.end()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError, ssl.SSLError)):
            line.getresponse()


def test_clock_ticks_over_midnight_and_the_advert_changes(stand: Stand, agent: Caller) -> None:
    assert agent.kid
    told: list[str] = []
    stand.do(lambda: stand.device.changed.append(told.append))
    before = stand.device.rotating_id
    stand.do(stand.device.tick)
    assert told == []
    stand.hands.turn(timedelta(days=1))
    stand.do(stand.device.tick)
    assert told == ["advert"]
    assert stand.device.rotating_id != before
    stand.do(stand.device.tick)
    assert told == ["advert"]
