"""The whole cloud: store, backend, an owner's client where there is one, on one MQTT connection.

    with Cloud(folder, broker="mqtt://127.0.0.1:1883", tenant="acme", descriptors=[file]) as cloud:
        cloud.faults.lose("chunk", nth=3)
        jti = cloud.backend.command("delete", select={"ids": [...]})
        receipt = cloud.backend.wait(jti)

Order of starting: state from disk, threads, link. Order of stopping: the reverse.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from device_sim.cloud import clock, wire
from device_sim.cloud.backend import Backend
from device_sim.cloud.failure import MessageError, SetupError
from device_sim.cloud.faults import Faults
from device_sim.cloud.journal import Journal, Sink
from device_sim.cloud.jws import Alg
from device_sim.cloud.keys import Device, Party, Role, read_device
from device_sim.cloud.link import Link
from device_sim.cloud.store import Store

DEFAULT_REGION: Final = "eu"
ROLES: Final[tuple[Role, ...]] = ("store", "backend")


def init(folder: Path, *, roles: Sequence[Role] = ROLES, alg: Alg = "EdDSA") -> list[Path]:
    """Make keys (0600) and descriptors for the key set; returns the descriptors. Raises ``SetupError``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made: list[Path] = []
    for role in roles:
        party = Party.generate(role, name=f"simulated {role}", alg=alg)
        party.save(folder / f"{role}.key")
        file = folder / f"{role}.json"
        party.write_descriptor(file)
        made.append(file)
    return made


class Cloud:
    """A running cloud; a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        broker: str,
        tenant: str,
        identity: Path | None = None,
        descriptors: Sequence[Path] = (),
        region: str = DEFAULT_REGION,
        sinks: Sequence[Sink] = (),
        now_s: Callable[[], int] = clock.now_s,
    ) -> None:
        self.folder = folder
        self.tenant = tenant
        self.journal = Journal(*sinks)
        self.faults = Faults(self.journal)
        self.devices: dict[str, Device] = {}
        for file in descriptors:
            self.learn(file)
        self.store = Store(
            folder,
            party=Party.load(folder / "store.key"),
            devices=self.devices,
            region=region,
            send=lambda device, payload: self._publish(device, "upack", payload, retain=False),
            faults=self.faults,
            journal=self.journal,
            now_s=now_s,
        )
        self.backend = self._issuer("backend", now_s)
        self.client = self._issuer("client", now_s) if (folder / "client.key").exists() else None
        """An owner's client, where ``init`` made one."""
        self._broker = broker
        self._identity = identity
        self._snapshots = 0
        self._link: Link | None = None

    def __enter__(self) -> Self:
        self.store.start()
        self.online()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.offline()
        self.faults.stop()
        self.store.stop()
        for issuer in self._issuers():
            issuer.close()

    def learn(self, descriptor: Path) -> Device:
        """Learn a device from its self-signed descriptor; raises ``SetupError``."""
        try:
            device = read_device(descriptor.read_bytes())
        except (OSError, MessageError) as error:
            raise SetupError(f"{descriptor}: {error}", hint="take the file that privacy-agent init wrote") from error
        self.devices[device.id] = device
        return device

    def online(self) -> None:
        """Connect; unfinished commands are sent again."""
        topics = [f"pv1/{self.tenant}/+/{channel}" for channel in ("up/#", "rcpt/#", "state", "alert")]
        self._link = Link(
            self._broker,
            client_id=f"cloud-{self.backend.party.kid[:12]}",
            identity=self._identity,
            topics=topics,
            receive=self._receive,
            connected=self._on_connected,
        )
        self._link.start()
        self.journal.note("online", broker=self._broker)

    def offline(self) -> None:
        """Disconnect; a fault that the other side sees as silence."""
        link, self._link = self._link, None
        if link is not None:
            link.stop()
            self.journal.note("offline")

    def snapshot(self) -> Path:
        """Copy the store's state, to roll back to."""
        self._snapshots += 1
        target = self.folder / f"snapshot-{self._snapshots}"
        self.store.snapshot(target)
        return target

    def roll_back(self, snapshot: Path) -> None:
        """Restore an earlier state of the store: it lost what came after, and has a new epoch."""
        self.store.roll_back(snapshot)

    def _issuer(self, role: Role, now_s: Callable[[], int]) -> Backend:
        return Backend(
            self.folder / f"{role}.sqlite3",
            party=Party.load(self.folder / f"{role}.key"),
            devices=self.devices,
            publish=lambda device, channel, payload, retain: self._publish(device, channel, payload, retain=retain),
            journal=self.journal,
            now_s=now_s,
        )

    def _issuers(self) -> list[Backend]:
        return [self.backend, *([self.client] if self.client else [])]

    def _on_connected(self) -> None:
        self.journal.note("subscribed")
        for issuer in self._issuers():
            issuer.resend()

    def _publish(self, device: str, channel: str, payload: bytes, *, retain: bool) -> None:
        link = self._link
        if link is not None:
            link.publish(f"pv1/{self.tenant}/{device}/{channel}", payload, retain=retain)

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - the link's callback
        try:
            place = wire.parse_topic(topic, tenant=self.tenant)
            if place.channel == "state" and not payload:
                self.journal.note("left", device=place.device)  # it has left its owner; nothing is retained of it
                return
            kind = wire.parse_kind(payload, channel=place.channel)
        except MessageError as error:
            self.journal.note("dropped", topic=topic, why=str(error))
            return
        if retained and place.channel != "state":
            self.journal.note("dropped", topic=topic, why="retained, which this channel never is")
            return
        if place.channel == "up":
            self.store.receive(kind, place.device, place.rest, payload)
            return
        readers = [issuer for issuer in self._issuers() if _is_for(issuer, place, payload)]
        if not readers:
            self.journal.note("dropped", kind=kind, device=place.device, why="none of us can open it")
        for issuer in readers:
            issuer.receive(kind, place.device, payload)


def _is_for(issuer: Backend, place: wire.Topic, payload: bytes) -> bool:
    match place.channel:
        case "rcpt":
            return place.rest == issuer.party.kid
        case "alert":
            return issuer.can_open(payload)
    return True
