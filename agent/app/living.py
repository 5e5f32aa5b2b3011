"""What the verbs of the local socket are asked of: the parts, and what only a running agent has beside them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from agent.app.camera_state import Said
from agent.app.parts import Parts
from agent.app.passkey import Passkeys
from agent.app.refusals import Refusals
from agent.app.scrubbing import make_scrub
from agent.app.switching import Switches, Tell
from agent.broker import Broker
from agent.collection import Way
from agent.nearby.alert import Standing
from agent.rtsp.message import Listened
from agent.rtsp.onvif.message import Found
from agent.scrub.flow import Scrub
from agent.upload import Upload

if TYPE_CHECKING:  # else an agent that listens for nothing would load what that takes
    from agent.app.collecting import Collecting
    from agent.nearby.flow import Nearby


class Living(Protocol):
    """What the verbs need: the parts, and what only a running agent has."""

    parts: Parts
    broker: Broker | None
    upload: Upload | None
    nearby: "Nearby | None"
    collecting: "Collecting | None"
    switches: Switches
    passkeys: Passkeys
    standing: Standing
    scrub: Scrub

    @property
    def ways(self) -> Sequence[tuple[Way, Tell]]:
        """How a camera can be met now, the first that reaches it first."""
        ...

    @property
    def refusals(self) -> Refusals | None:
        """What was not taken in since the start."""
        ...

    @property
    def found(self) -> dict[str, Found]:
        """What the ONVIF services of cameras said, by source."""
        ...

    @property
    def said(self) -> Mapping[str, Said]:
        """What became of asking each enrolled camera, by its id."""
        ...

    @property
    def failed(self) -> Mapping[str, str]:
        """Why sources are not taken in, by their names."""
        ...

    @property
    def listened(self) -> dict[str, Listened]:
        """What became of the sound of cameras of which it is asked for, by source."""
        ...


class Offline:
    """The parts without an agent."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.refusals: Refusals | None = None
        self.broker: Broker | None = None
        self.upload: Upload | None = None
        self.nearby: Nearby | None = None
        self.collecting: Collecting | None = None
        self.switches = Switches(parts)
        self.passkeys = Passkeys()
        self.standing = Standing()
        self.scrub = make_scrub(parts)
        self.ways: tuple[tuple[Way, Tell], ...] = ()
        self.found: dict[str, Found] = {}
        self.said: dict[str, Said] = {}
        self.failed: dict[str, str] = {}
        self.listened: dict[str, Listened] = {}
