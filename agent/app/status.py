"""How this device is: whose it is, what it holds, how its line, clock, disk and sources are, and what is wrong."""

from typing import Any

import msgspec

from agent import audit, tally
from agent.app.answering import requests_view
from agent.app.camera_list import CameraList
from agent.app.ignored import ignored
from agent.app.living import Living
from agent.app.refusals import Refusals
from agent.app.standing import standing, unnamed
from agent.clock import rfc3339_ms
from agent.commands.frozen import standing_view
from agent.control import Progress
from agent.index import Tx
from agent.nearby.view import troubles_view
from agent.rights import deadline
from agent.scrub.flow import scrub_view


class Status:
    """Tells how this device is."""

    def __init__(self, live: Living, cameras: CameraList) -> None:
        self._live = live
        self._parts = live.parts
        self._cameras = cameras

    async def tell(self, _args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Tell who owns this device, what it holds, how the line and the clock are, and what is wrong."""
        parts = self._parts
        moment = parts.now()

        def read(tx: Tx) -> dict[str, Any]:
            totals = parts.vault.totals(tx)
            exports = parts.bundle.lying(tx)
            away = parts.vault.at_stores(tx)
            by_ms = parts.retention.forgets_by_ms(tx)
            gone_by = {} if by_ms is None else {"until": rfc3339_ms(by_ms)}
            waiting, waiting_bytes = parts.waiting_uploads(tx)
            keys = parts.trust.key_set(tx)
            return standing(tx, parts.outbox) | {
                "key_set_jws": None if keys is None else keys.raw.decode("ascii"),
                "held": {"objects": totals.all.objects, "bytes": totals.all.bytes},
                "erasing": {"objects": parts.erasure.under_way(tx)} | gone_by,
                "at_store": {"objects": away.objects, "bytes": away.bytes},
                "exports": {"count": len(exports), "bytes": sum(export.size_bytes for export in exports)},
                "uploads": {"waiting": waiting, "bytes": waiting_bytes},
                "audit_head": msgspec.to_builtins(audit.head(tx)),
                "requests": requests_view(deadline.open_requests(tx, moment=moment)),
                "cameras": self._cameras.every(tx),
                "waiting_deletes": self._cameras.waiting_deletes(tx),
                "field_rules": {name: msgspec.to_builtins(told) for name, told in tally.sums(tx).items()},
                "scrub": scrub_view(tx, parts.vault),
                "frozen": standing_view(parts.snapshot.standing(tx)),
                "unnamed": unnamed(tx, parts.config),
            }

        told = await parts.index.read(read)
        disk = parts.disk()
        broker = self._live.broker
        line: dict[str, Any] = {"configured": parts.config.broker is not None, "online": False}
        if broker is not None:
            line |= {"online": broker.online, "protocol": str(broker.protocol)}
            line |= {"connections": broker.counters.connections, "refused": broker.counters.refused_publishes}
            if broker.trouble is not None and not broker.online:
                line |= {"trouble": broker.trouble.message, "next": broker.trouble.hint}
            expires_ms = broker.certificate_expires_ms()
            if expires_ms is not None:
                line["certificate_expires"] = rfc3339_ms(expires_ms)
        refusals = self._live.refusals
        if refusals is not None:
            told["sources"] = [self._source(name, refusals) for name in parts.config.source_names]
        upload = self._live.upload
        if upload is not None:
            told["uploads"]["under_way"] = [
                {"id": object_id, "done": done, "bytes": total}
                for object_id, (done, total) in upload.progress().items()
            ]
        return {
            "device": parts.config.device,
            "running": refusals is not None,
            "fingerprint": parts.fingerprint(),
            "protection": parts.keystore.protection,
            "clock": {"trusted": moment.trusted, "agent_time": rfc3339_ms(moment.agent_ms)},
            "disk": {"free": disk.free_bytes, "total": disk.total_bytes},
            "broker": line,
            "ignored": ignored(
                line=None if broker is None else broker.counters,
                commands=parts.commands.counters,
                answers={} if upload is None else upload.refused,
            ),
            "discovery": self._discovery(),
            **told,
        }

    def _source(self, name: str, refusals: Refusals) -> dict[str, Any]:
        listened = self._live.listened.get(name)
        heard = {} if listened is None else {"sound": {"coding": listened.coding, "left_out": listened.left_out}}
        return {
            "name": name,
            "not_taken": refusals.of(name),
            **self._failing(name),
            **self._cameras.onvif(name),
            **heard,
        }

    def _failing(self, name: str) -> dict[str, str]:
        reason = self._live.failed.get(name, "")
        return {"failed": reason, "next": "look at the folder, or the address: privacy-agent doctor"} if reason else {}

    def _discovery(self) -> dict[str, Any]:
        """Tell which ways are listened by, and what keeps them from hearing."""
        nearby, settings = self._live.nearby, self._parts.config.discovery
        told: dict[str, Any] = {"ways": [] if settings is None else list(settings.ways), "troubles": []}
        if nearby is not None:
            told["troubles"] = troubles_view(nearby)
        return told
