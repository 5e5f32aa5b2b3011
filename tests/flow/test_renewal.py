"""Certificates in the life of a device: the end is announced, renewal needs no restart, a revoked one is told so."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from device_sim.cloud.failure import SetupError
from device_sim.cloud.link import Link
from tests.flow.house import DEVICE, TENANT, House
from tests.waiting import until

LOOKS_WITHIN_S = 120.0
"""The agent looks for a renewed certificate every 30 s."""


def codes(house: House) -> set[str]:
    return {one["code"] for one in house.agent_json("status")["alerts"]}


def left(house: House) -> timedelta:
    told = datetime.fromisoformat(house.agent_json("status")["broker"]["certificate_expires"])
    return told - datetime.now(UTC)  # noqa: TID251 - compared with a real certificate's end


def test_ending_certificate_is_announced_and_its_renewal_taken_up_without_a_restart(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.run("certs", "issue", tmp_path / "tls", DEVICE, "--days", "9", "--force")
        house.start_agent()
        pid = house._processes["agent"].pid
        until(lambda: "certificate_expiring" in codes(house), what="the end announced")
        assert left(house) < timedelta(days=10)
        house.run("certs", "issue", tmp_path / "tls", DEVICE, "--days", "400", "--force")
        until(lambda: left(house) > timedelta(days=300), what="the new one in use", within_s=LOOKS_WITHIN_S)
        until(lambda: "certificate_expiring" not in codes(house), what="the alert ended")
        assert house.online()
        assert house._processes["agent"].pid == pid

        house.run("certs", "revoke", tmp_path / "tls", DEVICE)
        assert house.broker is not None
        house.broker.restart()

        def trouble() -> str:
            line = house.agent_json("status")["broker"]
            return "" if line["online"] else line.get("trouble", "") + " " + line.get("next", "")

        # Until the broker is up again its port refuses the connection: that is told first.
        until(lambda: "certificate" in (said := trouble()) and "refuse" in said, what="the refusal told")
        house.record()
        house.one("sealed")  # what is recorded meanwhile is kept


@contextlib.contextmanager
def double(house: House) -> Iterator[None]:
    """Connect under the device's own name, again and again, as a copied card would."""
    link = Link(
        house.url,
        client_id=DEVICE,
        identity=house.folder / "tls" / DEVICE,
        topics=[f"pv1/{TENANT}/{DEVICE}/cmd"],
        receive=lambda *_: None,
    )
    with contextlib.suppress(SetupError):  # the agent may be faster
        link.start()
    try:
        yield
    finally:
        link.stop()


def test_second_device_of_the_same_name_raises_an_alert_and_the_agent_is_back_when_it_is_gone(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_agent()
        with double(house):
            until(lambda: "takeover" in codes(house), what="the takeover told")
        until(house.online, what="online again")
        house.record()
        house.one("sealed")
