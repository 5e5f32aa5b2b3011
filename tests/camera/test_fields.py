"""A usage log on a camera's card is cleaned by the field rules while it is fetched; it is nowhere whole."""

import asyncio
import json
import socket

import msgspec
import pytest

from agent import tally
from agent.camera.content import Progress
from agent.camera.route import READ_STEP_BYTES
from agent.policy import Policy, parse_policy
from agent.policy.fields.tally import Tally
from agent.sealer.fetching import Switchboard
from tests.camera.place import Place, until
from tests.writing import policy_text

LINES = 2_000
LOG = b"".join(b'{"event":"motion","n":%d,"serial":"SN-4711-0815","new":"hunter2hunter2"}\n' % n for n in range(LINES))


def rules(place: Place, text: str) -> Policy:
    document = policy_text(place.owner.recipient().to_text(), usage_log=text)
    return parse_policy(document.encode(), file="policy.toml")


@pytest.mark.promise("COLLECT-LOGS")
def test_log_on_a_camera_is_cleaned_while_it_is_fetched(place: Place) -> None:
    place.policy = rules(place, 'fields.n = "keep"\nfields.serial.pseudonym = "1d"')
    place.record(LOG, kind="usage-log")
    place.stand.do(lambda: place.stand.device.faults.add("link-cut"))  # behind each 64 KiB
    place.collect(place.is_clean())
    (item,) = place.objects()
    told = place.opened(item)
    lines = [json.loads(raw) for raw in told.splitlines()]
    assert [line["n"] for line in lines] == list(range(LINES)), "none is lost or doubled where the link was cut"
    assert {tuple(line) for line in lines} == {("n", "serial")}
    assert b"SN-4711" not in told
    kept = place.index.read_now(lambda tx: tally.view(tx, item.id))["fields"]
    assert msgspec.convert(kept, Tally) == Tally(lines=LINES, unknown=2 * LINES, changed=LINES)


def test_what_a_camera_calls_a_recording_has_no_fields(place: Place) -> None:
    owner = place.owner.recipient().to_text()
    text = policy_text(owner, recording="", usage_log='fields.n = "keep"')
    place.policy = parse_policy(text.encode(), file="policy.toml")
    place.record(LOG)
    place.collect(place.is_clean())
    assert place.contents() == [LOG]


def test_job_that_writes_little_of_what_it_reads_tells_how_it_gets_on() -> None:
    async def told() -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        async def nobody() -> None:
            raise AssertionError

        with theirs, Switchboard(ours, nobody) as switchboard:  # type: ignore[arg-type]  # it is never asked
            progress = Progress(theirs)
            for _ in range(5):
                progress.read(READ_STEP_BYTES * 3 // 4)
            await until(lambda: switchboard.read_bytes >= 3 * READ_STEP_BYTES)
            return switchboard.read_bytes

    assert asyncio.run(told()) == 3 * READ_STEP_BYTES
