"""A machine's Bluetooth in a process of its own, in a network namespace of its own: `device-sim ble`."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from agent.discovery.ble.proof import AgentKey
from agent.envelope import public_jwk, raw_signature, thumbprint

SIM = Path(sys.executable).with_name("device-sim")
PATIENCE_S = 60.0


def agent_key() -> AgentKey:
    key = ec.generate_private_key(ec.SECP256R1())
    return AgentKey(public_jwk(key), lambda words: raw_signature(key, words))


class Near:
    """One camera, as `device-sim ble` tells of it."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.address: str = told["address"]
        self.kid: str = told["kid"]
        self.advert_key = base64.urlsafe_b64decode(told["advert_key"] + "=")
        self.collecting: bool = told["collecting"]
        self.state: dict[str, bool] = told["state"]


class Radio:
    """`device-sim ble` in its process; commands are lines."""

    def __init__(self, *options: str) -> None:
        self.agent = agent_key()
        isolated = ["unshare", "--net"]
        if os.geteuid() != 0:  # who asks on a bus says his number, and it has to be the one that the bus sees
            isolated += ["--user", "--map-current-user", "--keep-caps"]
        command = [*isolated, str(SIM), "ble", "--json", f"--agent={thumbprint(self.agent.jwk)}", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self) -> "Radio":
        """Read what it tells at its start."""
        told = self._answer()
        self.bus: str = told["DBUS_SYSTEM_BUS_ADDRESS"]
        self.cameras = [Near(one) for one in told["cameras"]]
        return self

    @property
    def camera(self) -> Near:
        return self.cameras[0]

    def do(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self._answer()
        assert "error" not in answer, answer
        return answer

    def now(self) -> Near:
        """The first camera as it is now."""
        return Near(self.do("told")["cameras"][0])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "device-sim ble ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE_S)
