"""A vendor's policy over a real broker: it may tighten at once; a new recipient waits for the owner's own word."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent import age
from tests.flow.directed import Directed
from tests.waiting import until, until_the_next_second


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


@pytest.mark.promise("TRANSFER")
def test_key_that_a_new_holder_signed_for_commands_nothing(tmp_path: Path) -> None:
    with Directed(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        buyer = ("privacy-owner", "--home", tmp_path / "buyer")
        house.run(*buyer, "init", "--backend", tmp_path / "cloud" / "backend.json")
        house.run(*buyer, "client", "grant", "simulated backend", "policy", "--out", tmp_path / "theirs.jws")
        answer = house.run("privacy-agent", "submit", tmp_path / "theirs.jws", "--config", house.config, expect=1)
        assert "not signed by the root of the owner who is known here" in answer

        tighter = shown(house)["document"].replace('age = "14d"', 'age = "7d"')
        answered(house, house.order("policy", document=tighter, revision=1)["jti"], "refused")
        assert shown(house)["document"] != tighter


@pytest.mark.promise("POLICY-VERSION")
@pytest.mark.promise("HOLD")
def test_owner_is_told_by_notice_and_by_receipt_what_a_tighter_policy_cannot_end(tmp_path: Path) -> None:
    with Directed(tmp_path) as house:
        house.owner("client", "grant", "simulated backend", "policy", "--out", tmp_path / "keyset-2.jws")
        house.owner("client", "grant", "owner", "hold", "--out", tmp_path / "keyset-3.jws")
        house.start_cloud()
        house.start_agent()
        for name in ("keyset-2.jws", "keyset-3.jws"):
            house.run("privacy-agent", "submit", tmp_path / name, "--config", house.config)
        ids = []
        for seed in (1, 2, 3):  # in this order: a limit of one ends the first two
            house.record(seed=seed)
            ids += [one["id"] for one in house.one("uploaded", count=seed) if one["id"] not in ids]
        restricted, held, _newest = ids
        house.owner("restrict", restricted, "--ground", "accuracy")
        house.owner("hold", held, "--reason", "claim 7/26", "--until", "30d")
        stays = sorted([(restricted, "restricted"), (held, "held")])

        one_each = shown(house)["document"].replace(
            'keep = { age = "14d" }\n', 'keep = { age = "14d", count = 1 }\n', 1
        )
        jti = house.order("policy", document=one_each, revision=1)["jti"]
        answered(house, jti, "done")
        house.owner("inventory")
        (notice,) = (one for one in house.owner_json("alerts") if one["code"] == "policy_tightened")
        assert all(f"{object_id} ({why})" in notice["what"] for object_id, why in stays)

        mixed = one_each.replace('age = "14d", count', 'age = "7d", count').replace(
            'keep = { age = "14d" }', 'keep = { age = "30d" }'
        )
        jti = house.order("policy", document=mixed, revision=2)["jti"]
        answered(house, jti, "waiting")
        (waiting,) = shown(house)["waiting"]
        until_the_next_second()  # one that is signed in the second in which another came into force is too late
        approved = house.owner_json("approve", jti, waiting["sha256"], "--yes")
        assert (approved["status"], named(approved)) == ("done", stays)

        own = tmp_path / "own.toml"
        own.write_text(mixed.replace('age = "7d", count', 'age = "5d", count'))
        told = house.owner_json("policy", own, "--yes")
        assert (told["status"], named(told)) == ("done", stays)
        assert {one["id"] for one in house.held()} >= {restricted, held}


def named(receipt: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a receipt says of each object."""
    return [(one["id"], one["result"]) for one in receipt["outcomes"]]
