"""What is heard is proved before it is believed; spoofs are refused, written down and told.

The index and the TLS sessions are real, over loopback; the discoverer says what each test has it say, and time is the
test's.
"""

import asyncio
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import audit, enrolment
from agent.camera.identity import Address
from agent.camera.tls import Shown, client_context
from agent.discovery.sighting import Hear, Lost, Sighting, Trouble, Way
from agent.enrolment import Enrolled
from agent.envelope import public_jwk, thumbprint
from agent.errors import LinkError, RefusedError, SpaceError
from agent.index import Tx
from agent.model import Moment
from agent.nearby import flow
from agent.nearby.alert import Standing
from agent.nearby.flow import PROBE_MS, RADIO_TRIED, Nearby, Outside, Prove
from agent.nearby.inventory import ROWS_MAX, Met
from agent.nearby.judging import Impostor, Same, Stranger
from agent.nearby.look import Look, look, reached
from agent.nearby.rotating import rotating_ids
from tests.camera.relay import Relay
from tests.enrolment.far_end import DEVICE, OTHER_DEVICE, FarEnd, camera, certificate_of, digest_of, new_key, pem_of
from tests.store.home import NOW, Home, run

pytestmark = [pytest.mark.promise("FIND-AUTH"), pytest.mark.promise("FIND-LAN")]

ADVERT_KEY = b"a" * 32
PATIENCE_S = 60.0
ANNOUNCED_MAX = 3
LOOPS = 2
"""Of the flow, that wait for the clock."""
Key = Any


def kid_of(key: Key) -> str:
    return thumbprint(public_jwk(key))


class Says:
    """A discoverer that says what a test tells it to."""

    def __init__(self) -> None:
        self.hear: Hear | None = None
        self.fails: list[Exception] = []
        self.started = 0

    async def run(self, hear: Hear) -> None:
        self.started += 1
        if self.fails:
            raise self.fails.pop()
        self.hear = hear
        await asyncio.Event().wait()


class Scene:
    """What is near, over a real index, with a clock that the test moves; ``step`` lets one round of ticks pass."""

    def __init__(self, home: Home, *, way: Way = "mdns", prove: Prove | None = None) -> None:
        self.home = home
        self.now_ms = NOW.agent_ms
        self.says = Says()
        self.told: list[tuple[str, str]] = []
        self.alerts: list[str] = []
        self.at_once: list[bool] = []
        self.found: list[str] = []
        self._ticks: list[asyncio.Future[None]] = []
        identity = home.index.write_now(lambda tx: enrolment.link_identity(tx, moment=NOW))
        context = partial(client_context, key_pem=identity.key_pem, certificate_pem=identity.certificate_pem)
        older = context(minimum=ssl.TLSVersion.TLSv1_2)
        self.looked: list[tuple[str, int]] = []
        self.looks: Look | None = None
        self.standing = Standing()
        self.is_full = False

        self.context = context

        async def noted(host: str, port: int) -> Shown:
            self.looked.append((host, port))
            return await (self.looks or self._look)(host, port)

        self.nearby = Nearby(
            {way: self.says},
            index=home.index,
            now=self.now,
            outside=Outside(
                look=noted,
                look_at_name=partial(look, context=older, numeric=False),
                reached=reached,
                prove=prove,
                wait=self._wait,
            ),
            alert_in=self._alert,
            tell=lambda code, what: self.told.append((code, what)),
            found=self.found.append,
            standing=self.standing,
        )

    def _alert(self, _tx: Tx, code: str, what: str, _moment: Moment, *, at_once: bool) -> None:
        if self.is_full:
            raise SpaceError("no space")
        self.alerts.append(f"{code}: {what}")
        self.at_once.append(at_once)

    async def _look(self, host: str, port: int) -> Shown:
        return await look(host, port, context=self.context())

    def now(self) -> Moment:
        return Moment(agent_ms=self.now_ms, wall_ms=self.now_ms, trusted=True)

    async def _wait(self, _seconds: float) -> None:
        tick = asyncio.get_running_loop().create_future()
        self._ticks.append(tick)
        await tick

    async def pass_ms(self, ms: int) -> None:
        """Let time pass, and every loop that waited look again."""
        self.now_ms += ms
        ticks, self._ticks = self._ticks, []
        for tick in ticks:
            tick.set_result(None)
        await self.until(lambda: len(self._ticks) >= LOOPS, "another round")

    async def until(self, true: Callable[[], object], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not true():
                    await self.nearby.next_change(within_s=0.02)
        except TimeoutError:
            pytest.fail(f"still not: {what}")

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Scene"]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.nearby.run())
            await self.until(lambda: self.says.hear is not None and len(self._ticks) >= LOOPS, "ears")
            yield self
            task.cancel()

    def hear(self, far_end: FarEnd, *, key: str = "one", advert_id: str = "", addresses: tuple[str, ...] = ()) -> None:
        self.say(key, addresses or (far_end.host,), far_end.port, advert_id=advert_id)

    def say(self, key: str, addresses: tuple[str, ...], port: int, *, advert_id: str = "") -> None:
        assert self.says.hear is not None
        self.says.hear(
            Sighting(
                way="mdns",
                place="eth0",
                key=key,
                service="_camera-link._tcp",
                seen_ms=self.now_ms,
                unverified_id=advert_id,
                addresses=addresses,
                port=port,
            )
        )

    def lose(self, key: str = "one") -> None:
        assert self.says.hear is not None
        self.says.hear(Lost(way="mdns", place="eth0", key=key))

    def enrol(self, key: Key, *, device: str = DEVICE, paired: bool = True, endpoint: str = "") -> Enrolled:
        def write(tx: Tx) -> Enrolled:
            made = enrolment.enrol(tx, level="proved", device=device, kid=kid_of(key), endpoint=endpoint, moment=NOW)
            if paired:
                enrolment.pair(tx, made.camera, advert_key=ADVERT_KEY, moment=NOW)
            return made

        return self.home.index.write_now(write)

    def advert_id(self) -> str:
        return rotating_ids(ADVERT_KEY, unix_day=self.now_ms // 86_400_000)[0]

    def verdict(self, key: str = "one") -> object:
        row = self.nearby.inventory.row(("mdns", "eth0", key))
        return None if row is None else row.verdict

    def is_checked(self, key: str = "one") -> bool:
        """Tell whether a check of it, which may be under way, has ended since the time passed last."""
        row = self.nearby.inventory.row(("mdns", "eth0", key))
        return row is not None and row.checked_ms == self.now_ms

    async def judged(self, key: str = "one") -> object:
        await self.until(lambda: self.verdict(key) is not None, f"a verdict on {key}")
        return self.verdict(key)

    def refusals(self) -> list[tuple[str, str]]:
        lines = self.home.index.read_now(lambda tx: audit.entries(tx, 0)[1])
        told = [msgspec.json.decode(line) for line in lines]
        return [(one["detail"]["camera"], one["rule"]) for one in told if one.get("kind") == "camera_refused"]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    home = Home(tmp_path / "home")
    yield Scene(home)
    home.close()


def played(scene: Scene, play: Callable[[], Awaitable[None]]) -> None:
    async def live() -> None:
        async with scene.listening():
            await play()

    run(live())


def test_camera_that_proves_its_key_is_joined_and_its_address_is_told(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        scene.hear(far_end)
        assert await scene.judged() == Same(enrolled.camera)

    with camera(key, DEVICE) as far_end:
        played(scene, play)
    assert scene.nearby.addresses(enrolled.camera) == (("127.0.0.1", far_end.port),)
    assert scene.found == [enrolled.camera]
    assert far_end.sent == b""
    assert (scene.refusals(), scene.alerts) == ([], [])


def test_unknown_camera_is_shown_with_its_fingerprint_and_trusted_with_nothing(scene: Scene) -> None:
    key = new_key()

    async def play() -> None:
        scene.hear(far_end)
        assert await scene.judged() == Stranger()
        (device,) = scene.nearby.devices()
        assert (device.kid, device.unverified_device) == (kid_of(key), DEVICE)

    with camera(key, DEVICE) as far_end:
        played(scene, play)
    assert scene.home.index.read_now(enrolment.enrolled) == ()
    assert (scene.refusals(), far_end.sent) == ([], b"")


@pytest.mark.parametrize(
    ("named", "announced", "rule"),
    [(DEVICE, False, "changed_key"), (DEVICE, True, "changed_key"), (OTHER_DEVICE, True, "copied_advert")],
    ids=["changed key", "changed key with the camera's own advert", "copied advert"],
)
def test_spoof_is_refused_written_down_and_told_and_gets_nothing(
    scene: Scene, named: str, rule: str, *, announced: bool
) -> None:
    enrolled = scene.enrol(new_key())

    async def play() -> None:
        scene.hear(far_end, advert_id=scene.advert_id() if announced else "")
        assert await scene.judged() == Impostor(enrolled.camera, rule)  # type: ignore[arg-type] # one of the rules
        await scene.until(scene.refusals, "the log's word")

    with camera(new_key(), named) as far_end:
        played(scene, play)
    assert scene.refusals() == [(enrolled.camera, rule)]
    (told,) = scene.alerts
    assert told.startswith(f"camera_impostor: Something answers for camera {enrolled.camera}")
    assert scene.nearby.addresses(enrolled.camera) == ()
    assert scene.home.index.read_now(enrolment.enrolled)[0].kid == enrolled.kid
    assert far_end.sent == b""


def test_second_device_under_the_id_is_refused_and_the_camera_is_used_on(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        scene.hear(real, advert_id=scene.advert_id())
        assert await scene.judged() == Same(enrolled.camera)
        scene.hear(second, key="two", advert_id=scene.advert_id())
        assert await scene.judged("two") == Impostor(enrolled.camera, "second_device")
        assert scene.verdict() == Same(enrolled.camera)
        await scene.until(scene.refusals, "that it is written down")

    with camera(key, DEVICE) as real, camera(new_key(), DEVICE) as second:
        played(scene, play)
    assert scene.nearby.addresses(enrolled.camera) == (("127.0.0.1", real.port),)
    assert scene.refusals() == [(enrolled.camera, "second_device")]


def test_spoofed_address_of_the_same_service_changes_nothing_that_is_used(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        scene.hear(real, advert_id=scene.advert_id())
        assert await scene.judged() == Same(enrolled.camera)
        scene.hear(thief, advert_id=scene.advert_id())  # the same name, another port: a cache flush
        await scene.until(lambda: isinstance(scene.verdict(), Impostor), "a refusal")
        await scene.until(scene.refusals, "that it is written down")
        assert scene.nearby.addresses(enrolled.camera) == (("127.0.0.1", real.port),)

    with camera(key, DEVICE) as real, camera(new_key(), OTHER_DEVICE) as thief:
        played(scene, play)
    assert scene.refusals() == [(enrolled.camera, "copied_advert")]


def test_thief_before_the_camera_in_the_list_of_addresses_hides_nothing(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        scene.hear(real, addresses=("127.0.0.9", "127.0.0.1"), advert_id=scene.advert_id())
        assert await scene.judged() == Same(enrolled.camera)
        await scene.until(scene.refusals, "the thief's refusal")

    with camera(key, DEVICE) as real:
        other = new_key()
        with FarEnd(pem_of(other, certificate_of(other, DEVICE)), host="127.0.0.9", port=real.port) as thief:
            played(scene, play)
    assert thief.calls == 1
    assert scene.nearby.addresses(enrolled.camera)[0] == ("127.0.0.1", real.port)


def test_goodbye_and_silence_take_no_trust_and_no_address(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        scene.hear(far_end)
        await scene.judged()
        scene.lose()
        await scene.pass_ms(flow.PROBE_MS)
        await scene.until(lambda: scene.nearby.reach[enrolled.camera].tried_ms == scene.now_ms, "a probe")
        assert scene.nearby.reach[enrolled.camera].reachable is True
        await scene.pass_ms(20 * flow.PROBE_MS)  # and the row is long gone
        assert scene.verdict() is None

    with camera(key, DEVICE) as far_end:
        played(scene, play)
    assert scene.nearby.addresses(enrolled.camera) == (("127.0.0.1", far_end.port),)
    assert scene.home.index.read_now(enrolment.enrolled)[0].kid == enrolled.kid


def test_camera_that_is_switched_off_is_told_to_be_away_and_found_again(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        with camera(key, DEVICE) as far_end:
            scene.hear(far_end)
            await scene.judged()
        await scene.pass_ms(flow.PROBE_MS)
        await scene.until(lambda: scene.nearby.reach[enrolled.camera].reachable is False, "away")
        with FarEnd(pem_of(key, certificate_of(key, DEVICE)), port=far_end.port):
            await scene.pass_ms(flow.PROBE_MS)
            await scene.until(lambda: scene.nearby.reach[enrolled.camera].reachable, "back")

    played(scene, play)
    assert scene.refusals() == []


def test_another_key_at_the_address_of_a_camera_that_went_is_refused_by_the_probe(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        with camera(key, DEVICE) as far_end:
            scene.hear(far_end)
            await scene.judged()
            scene.lose()
        other = new_key()
        with FarEnd(pem_of(other, certificate_of(other, DEVICE)), port=far_end.port) as thief:
            await scene.pass_ms(flow.PROBE_MS)
            await scene.until(scene.refusals, "a refusal")
        assert thief.sent == b""

    played(scene, play)
    assert scene.refusals()[0][0] == enrolled.camera
    assert scene.nearby.reach[enrolled.camera].reachable is False


def test_alert_ends_when_the_impostor_has_been_gone_for_a_while(scene: Scene) -> None:
    scene.enrol(new_key())

    async def play() -> None:
        with camera(new_key(), DEVICE) as thief:
            scene.hear(thief)
            await scene.judged()
            await scene.until(lambda: scene.alerts, "an alert")
            await scene.pass_ms(flow.QUIET_MS)  # it is tried again, and is still there
            await scene.until(scene.is_checked, "another try")
        assert scene.told == []
        await scene.pass_ms(flow.PROBE_MS)
        await scene.until(lambda: scene.verdict() is None, "it is gone")
        for _ in range(3):
            await scene.pass_ms(flow.QUIET_MS // 2)
        await scene.until(lambda: scene.told, "the end")

    played(scene, play)
    assert scene.told == [("camera_impostor", "")]


def test_alert_goes_on_while_somebody_else_sees_an_impostor(scene: Scene) -> None:
    async def play() -> None:
        scene.standing.see("stream", ("garden00",))
        await scene.pass_ms(flow.QUIET_MS)
        await scene.pass_ms(1)
        assert scene.told == []
        scene.standing.see("stream", ())
        await scene.nearby.refused("porch000", "failed_proof", Address("10.0.0.1", 1))
        assert scene.standing.cameras == {"porch000"}
        for _ in range(3):
            await scene.pass_ms(flow.QUIET_MS)
        assert scene.standing.cameras == frozenset()

    played(scene, play)
    assert scene.told == [("camera_impostor", "")]


def test_camera_of_which_the_alert_could_not_be_written_is_told_at_once_the_next_time(scene: Scene) -> None:
    async def play() -> None:
        await scene.nearby.refused("garden00", "failed_proof", Address("10.0.0.1", 1))
        scene.is_full = True
        await scene.nearby.refused("porch000", "failed_proof", Address("10.0.0.1", 1))
        scene.is_full = False
        await scene.nearby.refused("porch000", "failed_proof", Address("10.0.0.1", 1))

    played(scene, play)
    assert scene.at_once == [True, True]


def test_alert_that_an_earlier_run_left_is_ended_after_a_quiet_while(scene: Scene) -> None:
    async def play() -> None:
        await scene.pass_ms(flow.QUIET_MS - 1)
        assert scene.told == []
        await scene.pass_ms(1)
        await scene.until(lambda: scene.told, "the end")

    played(scene, play)
    assert scene.told == [("camera_impostor", "")]


def test_alert_names_every_camera_for_which_something_answers_and_a_second_one_at_once(scene: Scene) -> None:
    async def play() -> None:
        for one in ("garden00", "porch000", "garden00"):
            scene.now_ms += enrolment.REFUSED_PAUSE_MS
            await scene.nearby.refused(one, "failed_proof", Address("127.0.0.1", 1))

    played(scene, play)
    assert ["garden00" in one for one in scene.alerts] == [True, True, True]
    assert ["porch000" in one for one in scene.alerts] == [False, True, True]
    assert "2 cameras" in scene.alerts[1]
    assert scene.at_once == [True, True, False], "only one that was not named yet cannot wait"


def test_flood_of_impostors_is_one_line_in_the_log(scene: Scene) -> None:
    enrolled = scene.enrol(new_key())

    async def play() -> None:
        for number in range(40):
            scene.hear(thief, key=f"flood {number}")
        for number in range(40):
            await scene.judged(f"flood {number}")
        await scene.until(scene.refusals, "that it is written down")

    with camera(new_key(), DEVICE) as thief:
        played(scene, play)
    assert scene.refusals() == [(enrolled.camera, "changed_key")]
    assert len(scene.alerts) == 1


def test_expected_camera_is_checked_before_a_flood_that_was_heard_first(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        for number in range(300):
            scene.hear(nobody, key=f"flood {number}", addresses=("127.0.0.7",))
        scene.hear(real, key="real", advert_id=scene.advert_id())
        assert await scene.judged("real") == Same(enrolled.camera)
        asked = scene.looked.index(("127.0.0.1", real.port))
        assert asked <= flow.CHECKS, "those that were under way already, and no more"

    with camera(key, DEVICE) as real, camera(new_key(), OTHER_DEVICE) as nobody:
        played(scene, play)


@pytest.mark.parametrize("expected", [True, False])
def test_camera_heard_after_a_flood_that_made_room_for_itself_is_checked(scene: Scene, *, expected: bool) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        for number in range(2 * flow.WAITING_MAX):
            scene.hear(silent, key=f"flood {number}", addresses=("127.0.0.7",))
        scene.hear(real, key="real", advert_id=scene.advert_id() if expected else "")
        assert await scene.judged("real") == Same(enrolled.camera)

    with camera(key, DEVICE) as real, camera(new_key(), OTHER_DEVICE) as silent:
        played(scene, play)


def test_flood_makes_no_room_where_a_row_that_may_be_a_camera_is(scene: Scene) -> None:
    scene.enrol(new_key())

    async def play() -> None:
        scene.hear(silent, key="real", advert_id=scene.advert_id(), addresses=("127.0.0.7",))
        for number in range(2 * ROWS_MAX):
            scene.hear(silent, key=f"flood {number}", addresses=("127.0.0.7",))
        assert scene.nearby.inventory.row(("mdns", "eth0", "real")) is not None

    with camera(new_key(), OTHER_DEVICE) as silent:
        played(scene, play)


def test_row_that_announces_an_expected_id_while_it_waits_is_checked_before_a_flood(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        for number in range(300):
            scene.hear(silent, key=f"flood {number}", addresses=("127.0.0.7",))
        scene.hear(real, key="real")
        scene.hear(real, key="real", advert_id=scene.advert_id())
        assert await scene.judged("real") == Same(enrolled.camera)
        assert scene.looked.index(("127.0.0.1", real.port)) <= flow.CHECKS

    with camera(key, DEVICE) as real, camera(new_key(), OTHER_DEVICE) as silent:
        played(scene, play)


def test_same_words_again_are_not_checked_again(scene: Scene) -> None:
    async def play() -> None:
        scene.hear(far_end)
        await scene.judged()
        for _ in range(5):
            scene.hear(far_end)
        scene.hear(far_end, key="two")
        await scene.judged("two")

    with camera(new_key(), DEVICE) as far_end:
        played(scene, play)
    assert len(scene.looked) == 2


def test_nobody_at_the_address_is_tried_again_some_times(scene: Scene) -> None:
    with camera(new_key(), DEVICE) as far_end:
        pass

    async def play() -> None:
        scene.hear(far_end)
        for tried in range(1, flow.FAILURES_MAX + 1):
            await scene.until(lambda: len(scene.looked) == tried, f"try {tried}")  # noqa: B023 - called at once
            row = scene.nearby.inventory.row(("mdns", "eth0", "one"))
            assert row is not None
            await scene.until(lambda: row.failures == tried, "the failure")  # noqa: B023 - called at once
            await scene.pass_ms(int(flow.RETRY_S * 1000 * tried))
        await scene.pass_ms(10 * flow.PROBE_MS)

    played(scene, play)
    assert len(scene.looked) == flow.FAILURES_MAX


def test_enrolling_and_forgetting_judge_what_was_proved_at_once(scene: Scene) -> None:
    key = new_key()

    async def play() -> None:
        scene.hear(far_end)
        assert await scene.judged() == Stranger()
        enrolled = scene.enrol(key)
        await scene.nearby.enrolled_changed()
        assert scene.verdict() == Same(enrolled.camera)
        scene.home.index.write_now(lambda tx: enrolment.forget(tx, enrolled.camera, moment=NOW))
        await scene.nearby.enrolled_changed()
        assert scene.verdict() == Stranger()
        assert scene.nearby.addresses(enrolled.camera) == ()

    with camera(key, DEVICE) as far_end:
        played(scene, play)
        assert far_end.calls >= 1


def test_pinned_certificate_that_changes_is_refused(scene: Scene) -> None:
    key = new_key()
    certificate = certificate_of(key)

    async def play() -> None:
        port = 0
        with FarEnd(pem_of(key, certificate), maximum=ssl.TLSVersion.TLSv1_2) as far_end:
            port = far_end.port
            made = scene.home.index.write_now(
                lambda tx: enrolment.enrol(
                    tx,
                    level="pinned",
                    certificate_sha256=digest_of(certificate),
                    endpoint=f"localhost:{port}",
                    moment=NOW,
                )
            )
            await scene.nearby.enrolled_changed()
            await scene.pass_ms(flow.PROBE_MS)
            await scene.until(lambda: scene.nearby.reach[made.camera].reachable, "it answers")
        with FarEnd(pem_of(key, certificate_of(key)), port=port) as far_end:
            await scene.pass_ms(flow.PROBE_MS)
            await scene.until(scene.refusals, "a refusal")
            assert far_end.sent == b""
        assert scene.refusals() == [(made.camera, "changed_certificate")]
        assert scene.nearby.reach[made.camera].reachable is False

    played(scene, play)


def test_configured_camera_is_reached_or_not_and_nothing_more_is_said(scene: Scene) -> None:
    async def play() -> None:
        with camera(new_key(), DEVICE) as far_end:
            made = scene.home.index.write_now(
                lambda tx: enrolment.enrol(
                    tx, level="configured", endpoint=f"rtsp://127.0.0.1:{far_end.port}/live", moment=NOW
                )
            )
            await scene.nearby.enrolled_changed()
            await scene.pass_ms(flow.PROBE_MS)
            await scene.until(lambda: scene.nearby.reach[made.camera].reachable, "it answers")
        await scene.pass_ms(flow.PROBE_MS)
        await scene.until(lambda: scene.nearby.reach[made.camera].reachable is False, "it is away")

    played(scene, play)
    assert scene.refusals() == []


def test_words_of_a_stranger_that_break_a_discoverer_stand_in_no_log(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.says.fails = [ValueError("a stranger's name")]

    async def live() -> None:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(scene.nearby.run())
            await scene.until(lambda: "started again" in caplog.text, "a line in the log")
            task.cancel()

    run(live())
    assert "ValueError at test_flow.py:" in caplog.text
    assert "stranger" not in caplog.text


def test_discoverer_that_fails_is_told_of_and_started_again(scene: Scene) -> None:
    scene.says.fails.append(ValueError("what a stranger sent"))

    async def live() -> None:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(scene.nearby.run())
            await scene.until(scene.nearby.inventory.troubles, "the trouble")
            assert [one.reason for one in scene.nearby.inventory.troubles()] == ["stalled"]
            await scene.pass_ms(1)
            await scene.until(lambda: scene.says.hear is not None, "a new start")
            task.cancel()

    run(live())
    assert scene.says.started == 2
    assert scene.nearby.inventory.troubles() == ()


def test_refusal_of_whoever_collects_is_written_down_too(scene: Scene) -> None:
    enrolled = scene.enrol(new_key())

    async def play() -> None:
        for _ in range(2):
            await scene.nearby.refused(enrolled.camera, "failed_proof", Address("127.0.0.1", 9))

    played(scene, play)
    assert scene.refusals() == [(enrolled.camera, "failed_proof")]
    assert len(scene.alerts) == 1


def test_trouble_of_the_machine_is_kept_for_whoever_asks(scene: Scene) -> None:
    async def play() -> None:
        assert scene.says.hear is not None
        scene.says.hear(Trouble(way="ble", place="", reason="no_daemon", hint="start it"))
        assert [one.hint for one in scene.nearby.inventory.troubles()] == ["start it"]

    played(scene, play)


def test_relay_that_is_advertised_takes_not_the_place_of_the_camera_that_answers(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        scene.hear(real, advert_id=scene.advert_id())
        assert await scene.judged() == Same(enrolled.camera)
        with Relay(Address(real.host, real.port), handshake=True) as relay:
            scene.say("relay", (relay.address.host,), relay.address.port)
            assert await scene.judged("relay") == Same(enrolled.camera)
            own = (real.host, real.port)
            assert scene.nearby.addresses(enrolled.camera)[0] == own
            await scene.pass_ms(flow.PROBE_MS)
            await scene.until(lambda: scene.nearby.reach[enrolled.camera].tried_ms == scene.now_ms, "a probe")
            assert scene.nearby.addresses(enrolled.camera)[0] == own

    with camera(key, DEVICE) as real:
        played(scene, play)


def test_address_that_gave_whole_answers_outlasts_a_relay_and_a_restart(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)
    own = Address("127.0.0.1", 9)

    async def play() -> None:
        await scene.nearby.met(enrolled.camera, own)
        await scene.until(lambda: scene.home.index.read_now(enrolment.served_at), "that it is kept")
        scene.hear(relay)  # the camera blinks, and is proved through somebody else meanwhile
        scene.nearby.away(enrolled.camera)
        assert await scene.judged() == Same(enrolled.camera)
        assert scene.nearby.addresses(enrolled.camera)[0] == ("127.0.0.1", 9)

    with camera(key, DEVICE) as relay:
        played(scene, play)
    again = Scene(scene.home)

    async def later() -> None:
        assert again.nearby.addresses(enrolled.camera) == (("127.0.0.1", 9),)
        again.home.index.write_now(lambda tx: enrolment.forget(tx, enrolled.camera, moment=NOW))
        assert again.home.index.read_now(enrolment.served_at) == {}

    played(again, later)


def test_camera_is_found_after_a_restart_where_it_was_met_though_nothing_is_heard_of_it(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        await scene.until(lambda: scene.found, "the camera, by the first probe")

    with camera(key, DEVICE) as real:
        scene.home.index.write_now(
            lambda tx: enrolment.keep_served_at(tx, enrolled.camera, host=real.host, port=real.port)
        )
        played(scene, play)


@pytest.mark.parametrize("hosts", [3, 200], ids=["few silent hosts", "silent hosts without end"])
def test_flood_that_copies_the_rotating_id_keeps_the_camera_waiting_for_no_long(scene: Scene, hosts: int) -> None:
    """Some hundred names for each 32 that are looked at, and all of them silent."""
    key = new_key()
    enrolled = scene.enrol(key)
    silence = socket.create_server(("127.0.0.5", 0), backlog=4096)
    port, numbers = silence.getsockname()[1], itertools.count()

    def flood(names: int) -> None:
        for number in itertools.islice(numbers, names):
            silent = [f"127.1.{number % hosts}.{last}" for last in range(1, 5)]
            scene.say(f"flood {number}", tuple(silent), port, advert_id=scene.advert_id())

    async def silent_or_real(host: str, at: int) -> Shown:
        if at == port:
            await asyncio.Event().wait()
        return await look(host, at, context=scene.context())

    async def play() -> None:
        flood(ROWS_MAX)
        await scene.until(lambda: len(scene.looked) >= flow.CHECKS, "that all who check wait for the silent ones")
        for _ in range(ANNOUNCED_MAX):
            scene.hear(real, key="camera", advert_id=scene.advert_id())
            flood(400)
            before = len(scene.looked)
            await scene.until(
                lambda: scene.found or len(scene.looked) >= before + flow.CHECKS,  # noqa: B023 - called at once
                "a look of each that checks",
            )
            if scene.found:
                return
        pytest.fail("it announced itself all the time")

    scene.looks = silent_or_real
    with silence, camera(key, DEVICE) as real:
        played(scene, play)
    assert set(scene.found) == {enrolled.camera}


def test_key_that_the_collector_refused_is_shown_at_once(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        with camera(key, DEVICE) as far_end:
            scene.hear(far_end, advert_id=scene.advert_id())
            assert await scene.judged() == Same(enrolled.camera)
        other = new_key()
        with FarEnd(pem_of(other, certificate_of(other, DEVICE)), port=far_end.port):
            await scene.nearby.refused(enrolled.camera, "failed_proof", Address(far_end.host, far_end.port))
            assert scene.nearby.reach[enrolled.camera].reachable is False
            assert scene.alerts != []
            await scene.until(lambda: isinstance(scene.verdict(), Impostor), "a row of the impostor")

    played(scene, play)


def test_refusal_elsewhere_takes_nothing_of_the_camera(scene: Scene) -> None:
    key = new_key()
    enrolled = scene.enrol(key)

    async def play() -> None:
        scene.hear(far_end)
        await scene.judged()
        await scene.nearby.refused(enrolled.camera, "failed_proof", Address("127.0.0.9", far_end.port))
        assert scene.nearby.reach[enrolled.camera].reachable is True
        assert scene.verdict() == Same(enrolled.camera)

    with camera(key, DEVICE) as far_end:
        played(scene, play)


def test_what_the_collector_met_or_not_is_shown_at_once(scene: Scene) -> None:
    enrolled = scene.enrol(new_key())

    async def play() -> None:
        scene.nearby.away(enrolled.camera)
        assert scene.nearby.reach[enrolled.camera].reachable is False
        await scene.nearby.met(enrolled.camera, Address("127.0.0.1", 9))
        assert scene.nearby.reach[enrolled.camera].reachable is True
        scene.nearby.away("forgotten")
        await scene.nearby.met("forgotten", Address("127.0.0.1", 9))
        assert set(scene.nearby.reach) == {enrolled.camera}

    played(scene, play)


def test_old_proof_of_a_camera_that_is_enrolled_now_says_not_that_it_answers(scene: Scene) -> None:
    key = new_key()

    async def play() -> None:
        with camera(key, DEVICE) as far_end:
            scene.hear(far_end)
            assert await scene.judged() == Stranger()
        proved_ms, scene.now_ms = scene.now_ms, scene.now_ms + 1_000
        enrolled = scene.enrol(key)
        await scene.nearby.enrolled_changed()
        reach = scene.nearby.reach[enrolled.camera]
        assert (reach.host, reach.port, reach.proved_ms) == (far_end.host, far_end.port, proved_ms)
        assert reach.reachable is not True
        await scene.nearby.probe(enrolled)
        assert scene.nearby.reach[enrolled.camera].reachable is False

    played(scene, play)


class Air:
    """What a camera near by radio says when it is asked, or why it does not."""

    def __init__(self) -> None:
        self.asked = 0
        self.last = ""
        self.failure: LinkError | RefusedError | None = None

    def was_asked(self, times: int) -> bool:
        return self.asked >= times

    async def prove(self, sighting: Sighting, _camera: Enrolled) -> Met:
        self.asked += 1
        self.last = sighting.key
        if self.failure is not None:
            raise self.failure
        return Met(state={"collection": True}, unverified={})


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def by_radio(tmp_path: Path, air: Air) -> Iterator[Scene]:
    home = Home(tmp_path / "home")
    yield Scene(home, way="ble", prove=air.prove)
    home.close()


def advertise(scene: Scene, key: str) -> None:
    """Let something advertise the enrolled camera's id by radio."""
    told = Sighting(
        way="ble", place="hci0", key=key, service="camera", seen_ms=scene.now_ms, unverified_id=scene.advert_id()
    )
    assert scene.says.hear is not None
    scene.says.hear(told)


def test_camera_near_by_radio_is_asked_anew_and_one_that_does_not_answer_is_doing_nothing_that_is_known(
    by_radio: Scene, air: Air
) -> None:
    """What it is doing, and whether a switch still has to reach it, is never minutes old."""

    async def act() -> None:
        async with by_radio.listening() as scene:
            camera = scene.enrol(new_key())
            await scene.nearby.enrolled_changed()
            advertise(scene, "one")
            await scene.until(lambda: scene.nearby.inventory.rows_of(camera.camera), "it is met")
            (row,) = scene.nearby.inventory.rows_of(camera.camera)
            await scene.pass_ms(PROBE_MS // 2)
            assert air.asked == 1
            air.failure = LinkError("out of reach")
            await scene.pass_ms(PROBE_MS)
            await scene.until(lambda: air.asked == 2, "it is asked again")
            await scene.until(lambda: row.met is None, "nothing is known")
            air.failure = None
            await scene.pass_ms(PROBE_MS)
            await scene.until(lambda: row.met is not None, "it answers again")

    run(act())


def test_camera_near_by_radio_that_answered_nothing_so_far_is_asked_each_minute(by_radio: Scene, air: Air) -> None:
    async def act() -> None:
        async with by_radio.listening() as scene:
            scene.enrol(new_key())
            await scene.nearby.enrolled_changed()
            air.failure = LinkError("out of reach")
            for asked in range(1, 11):
                advertise(scene, "one")
                await scene.until(partial(air.was_asked, asked), f"it is asked {asked} times")
                await scene.pass_ms(PROBE_MS)

    run(act())


def test_what_wants_a_passkey_is_tried_with_it_before_what_was_heard_later(by_radio: Scene, air: Air) -> None:
    """A passkey is used once, and a copy of the advertisement may be the louder one."""

    async def act() -> None:
        async with by_radio.listening() as scene:
            camera = scene.enrol(new_key())
            await scene.nearby.enrolled_changed()
            air.failure = RefusedError("it wants to be paired", reason="passkey")
            advertise(scene, "the camera")
            await scene.until(lambda: air.asked == 1, "it says what it wants")
            air.failure = LinkError("out of reach")
            scene.now_ms += 1
            advertise(scene, "a copy")
            await scene.until(lambda: air.last == "a copy", "that is asked too")
            air.failure = None
            await scene.nearby.meet_by_radio(camera.camera)
            assert air.last == "the camera"

    run(act())


def test_who_waits_for_a_camera_by_radio_is_told_why_it_is_not_met(by_radio: Scene, air: Air) -> None:
    async def act() -> None:
        async with by_radio.listening() as scene:
            camera = scene.enrol(new_key())
            await scene.nearby.enrolled_changed()
            with pytest.raises(LinkError, match="not heard over Bluetooth"):
                await scene.nearby.meet_by_radio(camera.camera)
            air.failure = RefusedError("it wants to be paired", reason="passkey")
            for number in range(2 * RADIO_TRIED):
                advertise(scene, f"key {number}")
            await scene.until(lambda: air.asked == 2 * RADIO_TRIED, "all are tried")
            with pytest.raises(RefusedError, match="wants to be paired"):
                await scene.nearby.meet_by_radio(camera.camera)
            assert air.asked == 3 * RADIO_TRIED
            assert {row.wants_passkey for row in scene.nearby.inventory.rows()} == {True}
            air.failure = None
            await scene.nearby.meet_by_radio(camera.camera)
            assert air.asked == 3 * RADIO_TRIED + 1

    run(act())
