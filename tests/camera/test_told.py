"""What a person is told of an enrolled camera, from the button to a delete that waits for its card.

The agent is a process of its own; the camera's link is on loopback.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.clock import system_clock
from tests.cli.conftest import Device, device, made, shell
from tests.link_server.stand import Stand
from tests.waiting import until

pytestmark = pytest.mark.promise("COLLECT-REC")

__all__ = ["device", "made", "shell"]  # fixtures

WITHIN_S = 60.0


def how(device: Device) -> dict[str, Any]:
    (one,) = device.ok("cameras", "--json").json["cameras"]
    told: dict[str, Any] = one["how"]
    return told


def until_state(device: Device, state: str) -> dict[str, Any]:
    return until(lambda: told if (told := how(device))["state"] == state else None, what=state, within_s=WITHIN_S)


def tell_another_advert_key(stand: Stand) -> None:
    """As one that does so at each look; all else of it stays as it is."""

    def again() -> None:
        kid, before = stand.device.agent, stand.device.advert_key
        stand.device.unpair()
        stand.device.open_setup()
        stand.device.pair(kid)
        assert stand.device.advert_key != before

    stand.do(again)


def test_camera_is_told_of_from_its_button_to_a_delete_that_waits_for_its_card(device: Device, tmp_path: Path) -> None:
    stand = Stand(tmp_path / "camera")
    stand.hands.at = datetime.fromtimestamp(system_clock()().wall_ms / 1000, UTC)
    with stand:
        where = f"127.0.0.1:{stand.port}"
        camera = device.ok("enrol", stand.device.label, where, "--name", "Front door", "--json").json["camera"]
        with device.running():
            told = until(lambda: one if "reason" in (one := how(device)) else None, what="an answer", within_s=WITHIN_S)
            assert (told["state"], told["reason"]) == ("not_paired_yet", "its set-up window is closed")
            assert device.ok("status", "--json").json["alerts"] == [], "that it waits for its button is ordinary"
            stand.do(stand.device.open_setup)
            assert until_state(device, "collecting")["says"] == ["not recording"], "nothing films here"
            tell_another_advert_key(stand)
            stand.record(os.urandom(1000), start=stand.hands.at)
            held = until(lambda: device.ok("inventory", "--json").json["objects"], what="it here", within_s=WITHIN_S)
            stand.do(lambda: stand.device.break_("card-missing"))
            until_state(device, "failed")
            device.owner("delete", held[0]["id"], "--yes", "--out", tmp_path / "delete.cmd")
            device.agent("submit", tmp_path / "delete.cmd", "-o", tmp_path / "delete.receipt")
            assert "waits for a camera's answer" in device.owner("receipt", tmp_path / "delete.receipt").out
            said = until(
                lambda: device.ok("status", "--json").json["waiting_deletes"], what="it waits", within_s=WITHIN_S
            )
            assert [(one["camera"], one["name"], one["count"]) for one in said] == [(camera, "Front door", 1)]
            status = " ".join(device.ok("status").out.split())
            assert f"1 delete waits for camera {camera} Front door: failed: its card is missing" in status
            assert "put a card into the camera" in status, "the alert says which, why, and what to do"
            explained = device.ok("explain", held[0]["id"]).out
            assert "Front door has its own copy still" in explained
            assert "its card is missing" in explained
            assert "waits for" in explained
        paired = [line for line in device.ok("audit", "show").out.splitlines() if "camera_paired" in line]
        assert len(paired) == 1, "another key of its rotating ids is taken over once a day, whatever it tells"
