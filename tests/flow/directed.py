"""A household whose cloud takes orders while it runs: faults on demand, snapshots, commands of any claims."""

import json
import os
from pathlib import Path
from typing import Any

from tests import loaded
from tests.flow.house import House
from tests.loaded import BIN, Running
from tests.waiting import until


class Directed(House):
    """A household with the cloud's stdin in the test's hands (``device-sim cloud --help`` lists what it takes)."""

    def start(self, name: str, program: str, *arguments: str | Path) -> None:
        """Start a process that stays, with a pipe to its stdin."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = loaded.begin(
                [BIN / program, *arguments],
                stdin=loaded.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "TZ": "UTC"},
            )

    def kill(self, name: str) -> None:
        """SIGKILL, and let go of the pipe."""
        process = self._processes[name]
        super().kill(name)
        _let_go(process)

    def stop(self, name: str) -> int:
        """Ask it to stop, and let go of the pipe."""
        process = self._processes[name]
        try:
            return super().stop(name)
        finally:
            _let_go(process)

    def order(self, do: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Tell the running cloud to do something and return what it answered."""
        before = len(self.events("did")) + len(self.events("refused"))
        stdin = self._processes["cloud"].stdin
        assert stdin is not None
        stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        stdin.flush()

        def answered() -> list[dict[str, Any]]:
            return (self.events("did") + self.events("refused"))[before:]

        (answer, *_) = until(answered, what=f"the cloud did {do}")
        assert answer["event"] == "did", answer
        found: dict[str, Any] = answer
        return found

    def fault(self, *specs: str) -> None:
        """Have the running cloud misbehave."""
        for spec in specs:
            self.order("fault", fault=spec)

    def alerts(self) -> set[str]:
        """Return the codes of the alerts that stand."""
        return {one["code"] for one in self.agent_json("status")["alerts"]}

    def audit(self) -> list[dict[str, Any]]:
        """Return the audit log's entries."""
        shown = self.run("privacy-agent", "audit", "show", "--config", self.config)
        return [json.loads(line) for line in shown.splitlines()]

    def restart_agent(self) -> None:
        """Stop and start the agent: a new connection, and a retention pass at once."""
        self.stop("agent")
        self.start_agent()


def _let_go(process: Running) -> None:
    if process.stdin is not None:
        process.stdin.close()
