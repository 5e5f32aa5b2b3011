"""A vendor's policy over a real broker: it may tighten at once; a new recipient waits for the owner's own word."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent import age
from tests.flow.directed import Directed
from tests.waiting import until


def shown(house: Directed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(house.run("privacy-agent", "policy", "show", "--config", house.config, "--json"))
    return found


def answered(house: Directed, jti: str, status: str) -> dict[str, Any]:
    """Wait until the backend has a receipt of that status for its command."""
    return until(
        lambda: next(
            (one for one in house.events("receipt") if one["command"] == jti and one["status"] == status), None
        ),
        what=f"the backend told {status}",
    )


@pytest.mark.promise("POLICY-VERSION")
@pytest.mark.promise("TRANSFER")
def test_vendor_alone_tightens_a_policy_and_a_new_reader_waits_for_the_owner(tmp_path: Path) -> None:
    with Directed(tmp_path) as house:
        granted = tmp_path / "keyset-2.jws"
        house.owner("client", "grant", "simulated backend", "policy", "--out", granted)
        house.start_cloud()
        house.start_agent()
        house.run("privacy-agent", "submit", granted, "--config", house.config)
        first = shown(house)
        text = first["document"]
        assert first["by"] == "local"

        tighter = text.replace('age = "14d"', 'age = "7d"')
        jti = house.order("policy", document=tighter, revision=1)["jti"]
        answered(house, jti, "done")
        now = shown(house)
        assert now["document"] == tighter
        assert now["by"] != "local"
        assert "policy_tightened" in {one["code"] for one in house.agent_json("status")["alerts"]}

        buyer = age.generate_identity(post_quantum=True).recipient().to_text()
        sold = tighter.replace("[recipients]\n", f'[recipients]\nbuyer = ["{buyer}"]\n')
        sold = sold.replace('seal_to = ["owner"]', 'seal_to = ["owner", "buyer"]')
        jti = house.order("policy", document=sold, revision=2)["jti"]
        answered(house, jti, "waiting")
        waits = shown(house)
        assert waits["document"] == tighter, "nothing of it is obeyed"
        (waiting,) = waits["waiting"]
        assert waiting["id"] == jti
        assert "category.recording.seal_to" in {line["field"] for line in waiting["loosens"]}

        house.stop("agent")
        house.start_agent()
        assert shown(house)["document"] == tighter, "it waits through a restart"
        house.owner("approve", jti, waiting["sha256"], "--yes")
        answered(house, jti, "done")
        assert shown(house)["document"] == sold
