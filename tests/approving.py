"""The owner of a device without a broker, who approves by files the policy that waits there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.waiting import until

Said = Callable[..., str]
"""Run a shell command with these words and return what it printed."""


def approve_policy(agent: Said, owner: Said, folder: Path) -> None:
    """Wait until the edited policy waits on the device, and have exactly that document approved."""

    def waits() -> Any:  # noqa: ANN401 - JSON
        return json.loads(agent("policy", "show", "--json"))["waiting"]

    (waiting,) = until(waits, what="the policy waits for its owner")
    fingerprint = json.loads(agent("status", "--json"))["fingerprint"]
    owner("device", "add", folder / "state" / "device.jws", "--accept", fingerprint)
    file = folder / f"approve-{waiting['id']}.cmd"
    owner("approve", waiting["id"], waiting["sha256"], "--yes", "--out", file)
    agent("submit", file)
