"""Step 12: an owner takes consent back, restricts a camera, has something held, and hands a recording to somebody."""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from device_sim.demo.found import Found, Told
from device_sim.demo.screen import Live
from device_sim.demo.stage import OWNER, Stage

GARDEN: Final = "Garden"
PURPOSE: Final = "analytics"
REASON: Final = "claim 7 of the insurer"

_ADMITTED: Final = re.compile(r"ingest admitted source=\S+ object=(\w+)")


def ask(stage: Stage, found: Found, *, live: Live) -> Told:
    """Step 12: four requests, each signed by the owner, each with a receipt that says what it did."""
    claims: dict[str, bool] = {}
    for act in (_withdraw, _restrict, _hold, _hand_over):
        claims |= act(stage, found, live)
    left = [path for path in stage.spool.rglob("*.jsonl") if path.is_file()]  # since a while by now
    logs = [one for one in _held(stage) if one["category"] == "usage-log"]
    claims[f"nothing more is taken in for {PURPOSE}"] = bool(left) and not logs
    return Told(
        seen="; ".join(f"{request}: {did}" for request, _status, did in found.requests),
        proves="a right is a signed command: it acts at once, on what is here and on what comes, and says what it did",
        figure=f"{sum(status == 'done' for _request, status, _did in found.requests)} of {len(found.requests)} done",
        claims=claims,
    )


def _withdraw(stage: Stage, found: Found, live: Live) -> dict[str, bool]:
    live(f"consent to {PURPOSE}, and a usage log for it")
    before = _admitted(stage)
    stage.owner("consent", "give", PURPOSE, "--json")
    recorded = _now() + timedelta(seconds=1)  # a yes is about what is recorded from then on
    _camera(stage, "--no-clips", "--logs", "--start", recorded.isoformat(timespec="seconds"))
    log = _next(stage, before)
    live(f"consent to {PURPOSE} taken back")
    answer = stage.owner("withdraw", PURPOSE, "--json").json()
    (outcome,) = [one for one in answer["outcomes"] if one["id"] == log["id"]]
    _camera(stage, "--no-clips", "--logs")
    stage.until(lambda: "consent_withdrawn" in _said(stage), "a log that is not taken in")
    found.requests.append(
        (f"withdraw {PURPOSE}", answer["status"], f"the log that waited: {outcome['result']}; the next is not taken in")
    )
    return {
        "a log was sealed to those alone whom consent let read it": log["recipients"] == [vendor(stage)],
        "what waited for the withdrawn purpose is deleted": outcome["result"] == "deleted",
    }


def _restrict(stage: Stage, found: Found, live: Live) -> dict[str, bool]:
    live(f"the camera “{GARDEN}”, restricted")
    before = _admitted(stage)
    _camera(stage, "--seconds", "1", name=GARDEN)
    first = _next(stage, before)
    answer = stage.owner("restrict", "--camera", first["camera"], "--ground", "claims", "--json").json()
    before = _admitted(stage)
    _camera(stage, "--seconds", "1", "--seed", "3", name=GARDEN)
    second = _next(stage, before)
    refused = stage.agent("export", second["id"], "--json", may_fail=True)
    found.requests.append(
        (f"restrict “{GARDEN}”", answer["status"], "kept, not uploaded, not exported here; also what it records later")
    )
    return {
        "what was recorded before and after it is restricted": all(
            one["restrictions"] for one in _held(stage) if one["camera"] == first["camera"]
        ),
        "nobody at the device exports it": refused.code != 0 and "restricted" in refused.out,
        "what came later stays here": second["id"] not in _uploaded(stage),
    }


def _hold(stage: Stage, found: Found, live: Live) -> dict[str, bool]:
    live("a hold on the kept clip")
    keys = stage.folder / "keyset-hold.jws"
    stage.owner("client", "grant", OWNER, "hold", "release", "--out", keys, "--json")
    stage.agent("submit", keys, "--json")
    kept = found.objects["kept"]
    answer = stage.owner("hold", kept, "--reason", REASON, "--until", "30d", "--json").json()
    live("a delete of what is held")
    deleted = stage.owner("delete", kept, "--yes", "--json", may_fail=True).json()
    (outcome,) = deleted["outcomes"]
    shown = stage.agent("explain", kept).out
    found.requests.append(("hold the kept clip", answer["status"], f"a delete of it was answered: {outcome['result']}"))
    return {
        "a delete of what is held deletes nothing": outcome["result"] == "held" and kept in _ids(stage),
        "its owner sees the reason": REASON in shown,
    }


def _hand_over(stage: Stage, found: Found, live: Live) -> dict[str, bool]:
    live("the kept clip, for a third party that the owner names")
    party = stage.folder / "third-party.txt"
    recipient = stage.ask("privacy-owner", "keygen", "-o", party, "--json").json()["recipient"]
    kept = found.objects["kept"]
    answer = stage.owner("export", kept, "--recipient", recipient, "--yes", "--json").json()
    folder = stage.state / "vault" / "exports" / str(answer["cmd"])
    opened = stage.folder / "third-party.mp4"
    sealed = next(path for path in sorted(folder.iterdir()) if kept in path.name)
    stage.ask("privacy-owner", "decrypt", "-i", party, "-o", opened, sealed)
    other = stage.ask(
        "privacy-owner", "decrypt", "-i", stage.home / "identity.txt", "-o", "/dev/null", sealed, may_fail=True
    )
    same = hashlib.sha256(opened.read_bytes()).hexdigest() == found.sources["kept"].sha256
    found.requests.append(("export to a third party", answer["status"], "it alone opens it, byte for byte"))
    return {
        "the third party opens it with its own key, byte for byte": same,
        "nobody else does, not even who asked for it": other.code != 0,
    }


def vendor(stage: Stage) -> str:
    """Return the recipient of the vendor, who reads what is sealed for analytics."""
    told: dict[str, Any] = json.loads((stage.folder / "cloud" / "backend.json").read_text(encoding="utf-8"))
    return str(told["recipient"])


def _camera(stage: Stage, *options: str, name: str = "Front door") -> None:
    stage.ask("device-sim", "camera", "--spool", stage.spool, "--name", name, "--count", "1", "--rate", "0", *options)


def _held(stage: Stage) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = stage.agent("inventory", "--json").json()["objects"]
    return objects


def _ids(stage: Stage) -> set[str]:
    return {str(one["id"]) for one in _held(stage)}


def _uploaded(stage: Stage) -> set[str]:
    return {str(one["id"]) for one in _held(stage) if one["state"] == "uploaded"}


def _next(stage: Stage, before: set[str]) -> dict[str, Any]:
    """Return what was taken in that had not been ``before``, as soon as the agent tells of it."""
    stage.until(lambda: bool(_admitted(stage) - before), "the camera's file to be sealed")
    return next(one for one in _held(stage) if one["id"] in _admitted(stage) - before)


def _admitted(stage: Stage) -> set[str]:
    """Return the id of every object that the agent told of since the demo began."""
    return set(_ADMITTED.findall(_said(stage)))


def _said(stage: Stage) -> str:
    return Path(stage.logs / "agent.log").read_text(encoding="utf-8")


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - what is recorded now tells the time of this machine
