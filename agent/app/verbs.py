"""What the shell commands ask, as functions of the parts: the same code answers over the socket and without an agent.

Every verb takes plain JSON arguments and returns plain JSON; the shell makes tables of it. A person at this machine may
look at everything and may export to the policy's owner; whatever else changes data needs a signed command (``submit``).
"""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import msgspec

from agent import audit, enrolment, registry, tally
from agent.app import integrations
from agent.app.answering import requests_view
from agent.app.camera_state import Said, how_view
from agent.app.consenting import consents_view
from agent.app.judging import judge
from agent.app.parts import Parts
from agent.app.passkey import Passkeys
from agent.app.policy_file import read_policy
from agent.app.policy_view import changes_view, policy_view
from agent.app.refusals import Refusals
from agent.app.standing import NAMED_MAX, standing
from agent.app.switching import Switches, Tell
from agent.audit import Event
from agent.broker import Broker
from agent.bundle import EXPORTS_FOLDER, Form
from agent.bundle import view as export_view
from agent.clock import parse_rfc3339_ms, rfc3339_ms
from agent.collection import Way
from agent.commands.frozen import frozen_view, standing_view
from agent.commands.listing import at_store_view, held_view, owner_listed
from agent.control import ANSWER_BYTES, Progress, Verb
from agent.enrolment import Enrolled
from agent.errors import ConfigError, CorruptError, RefusedError, SpaceError
from agent.files import read_whole
from agent.index import Tx
from agent.model import AtStore, Moment, Object, Selection, new_id
from agent.nearby.alert import Standing
from agent.nearby.reach import Reach
from agent.nearby.view import camera_view, near_view, radio_view, troubles_view
from agent.policy import Allow, Decision, Refuse
from agent.retention import Retention
from agent.rights import consent, correction, deadline, delivery
from agent.rtsp.message import Listened
from agent.rtsp.onvif.message import Found
from agent.upload import Upload

if TYPE_CHECKING:  # else an agent that listens for nothing would load what that takes
    from agent.app.collecting import Collecting
    from agent.nearby.flow import Nearby

LISTED_MAX: Final = 1000
"""Objects of one answer; of an inventory ``after`` asks for the next."""

LISTED_BYTES: Final = ANSWER_BYTES // 2
"""Of one answer: objects sealed to several post-quantum recipients take thousands of bytes each."""

LOOKED_MS: Final = 3_600_000
"""Whoever looks at the inventory here is noted in the log at most this often: a screen may refresh each second."""

EXPORTS_LISTED_MAX: Final = 200
"""Exports of one answer, the oldest; of more only the number is told."""

SIGNED_FILE_BYTES: Final = 128 << 10
"""Commands and key sets are below it; the local socket takes no more."""

_COUNT_MAX: Final = 2**53
_FILE_NAMES: Final = frozenset({"file", "name"})


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
        self.ways: tuple[tuple[Way, Tell], ...] = ()
        self.found: dict[str, Found] = {}
        self.said: dict[str, Said] = {}
        self.failed: dict[str, str] = {}
        self.listened: dict[str, Listened] = {}


class Verbs:
    """The verbs over one set of parts."""

    def __init__(self, live: Living) -> None:
        self._live = live
        self._parts = live.parts
        self._looked_ms: int | None = None

    def table(self) -> dict[str, Verb]:
        """Return the verbs by name."""
        verbs: dict[str, Verb] = {
            "status": self.status,
            "inventory": self.inventory,
            "explain": self.explain,
            "export": self.export,
            "submit": self.submit,
            "audit": self.audit,
            "consents": self.consents,
            "integrations": self.integrations,
            "dry-run": self.dry_run,
            "policy": self.policy,
            "nearby": self.nearby,
            "cameras": self.cameras,
            "enrol": self.enrol,
            "forget-camera": self.forget_camera,
            "collection": self.collection,
            "passkey": self.passkey,
            "counts": self.counts,
        }
        return {name: _in_whole_characters(verb) for name, verb in verbs.items()}

    def _source(self, name: str, refusals: Refusals) -> dict[str, Any]:
        listened = self._live.listened.get(name)
        heard = {} if listened is None else {"sound": {"coding": listened.coding, "left_out": listened.left_out}}
        return {"name": name, "not_taken": refusals.of(name), **self._failing(name), **self._onvif(name), **heard}

    def _onvif(self, source: str) -> dict[str, Any]:
        """Return what the ONVIF service of a camera said that streams; nothing where it was not asked."""
        found = self._live.found.get(source)
        return {} if found is None else {"onvif": {"snapshot": found.snapshot, "topics": list(found.topics)}}

    def _failing(self, name: str) -> dict[str, str]:
        reason = self._live.failed.get(name, "")
        return {"failed": reason, "next": "look at the folder, or the address: privacy-agent doctor"} if reason else {}

    async def status(self, _args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
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
                "cameras": self._cameras(tx),
                "waiting_deletes": self._waiting_deletes(tx),
                "field_rules": {name: msgspec.to_builtins(told) for name, told in tally.sums(tx).items()},
                "frozen": standing_view(parts.snapshot.standing(tx)),
            }

        told = await parts.index.read(read)
        told["not_removed"] += [f"{EXPORTS_FOLDER}/{export_id}" for export_id in sorted(parts.bundle.kept)[:NAMED_MAX]]
        disk = parts.disk()
        broker = self._live.broker
        line: dict[str, Any] = {"configured": parts.config.broker is not None, "online": False}
        if broker is not None:
            line |= {"online": broker.online, "protocol": str(broker.protocol)}
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
            "discovery": self._discovery(),
            **told,
        }

    async def inventory(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """List what is held, with why, until when and who can read it; exports on the first page."""
        parts = self._parts
        moment = parts.now()
        asked = selection_of(args)
        after = str(args.get("after", ""))

        def read(tx: Tx) -> dict[str, Any]:
            selection = _with_camera(tx, asked)
            ids = parts.vault.page_of(tx, selection, after=after, limit=LISTED_MAX + 1, erasing=True)
            page = ids[:LISTED_MAX]
            more = page[-1] if len(ids) > len(page) else ""
            forgotten_ms = parts.retention.forgets_by_ms(tx)
            views: list[dict[str, Any]] = []
            exports = [] if after else self._exports(tx, selection)
            beside = {"exports": exports[:EXPORTS_LISTED_MAX], "more_exports": len(exports[EXPORTS_LISTED_MAX:])}
            size_bytes = len(json.dumps(beside))
            for object_id in page:
                view = self._listed(tx, object_id, moment=moment, forgotten_ms=forgotten_ms)
                if view is None:
                    continue
                size_bytes += len(json.dumps(view))
                if views and size_bytes > LISTED_BYTES:
                    return {"objects": views, "next": views[-1]["id"], "levels": self._levels(tx, views)} | beside
                views.append(view)
            return {"objects": views, "next": more, "levels": self._levels(tx, views)} | beside

        told = await parts.index.read(read)
        await self._note_look(moment)
        return told

    async def _note_look(self, moment: Moment) -> None:
        """Note in the log that somebody here was told what is held; a full disk keeps nobody from looking."""
        if self._looked_ms is not None and moment.agent_ms - self._looked_ms < LOOKED_MS:
            return
        event = Event(kind="inventory_told", actor="local")
        with suppress(SpaceError):
            await self._parts.index.write(lambda tx: audit.append(tx, event, moment=moment))
            self._looked_ms = moment.agent_ms

    async def explain(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Say why an object is still here, until when, and which rule will end it."""
        parts = self._parts
        moment = parts.now()
        object_id = str(args.get("id", ""))

        def read(tx: Tx) -> dict[str, Any]:
            export = parts.bundle.get(tx, object_id)
            if export is not None:
                return export_view(export, policy=parts.policy) | {"folder": str(parts.bundle.folder / export.id)}
            item = parts.vault.get(tx, object_id)
            away = parts.vault.at_store(tx, object_id) if item is None else None
            if away is not None:
                return self._away(tx, away)
            if item is None and (source := parts.erasure.waiting_copy(tx, object_id)):
                return self._at_camera(tx, object_id, source)
            if item is None:
                raise RefusedError(
                    f"no object {object_id!r} is held here",
                    reason="malformed",
                    retry="after_fix",
                    hint="privacy-agent inventory lists what is held; privacy-agent audit show says why others went",
                )
            told = parts.retention.explain(tx, item, moment=moment, disk=parts.disk())
            decision = _decision(told.decision)
            if item.state == "erasing":
                decision = self._erasing(tx, item)
            view = _view(item, told.decision, label=enrolment.label_of(tx, item.camera))
            view |= frozen_view(parts.snapshot.standing(tx), item)
            keep = None if told.rule is None else msgspec.to_builtins(told.rule.keep)
            return view | {
                "camera_level": self._level(tx, item.camera),
                "camera_location": correction.location(tx, item.camera),
                "decision": decision,
                "policy_rule": None if told.rule is None else told.rule.scope,
                "keep": keep,
                "newer_objects": told.rank,
                "set_bytes": told.newer_bytes,
                "readable_by_device": item.kind == "file-key",
                "copies": self._copies(tx, item),
                **tally.view(tx, item.id),
            }

        return await parts.index.read(read)

    async def export(self, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Build an export sealed to the policy's owner and nobody else."""
        parts = self._parts
        asked = selection_of(args)
        selection = await parts.index.read(lambda tx: _with_camera(tx, asked))
        form = str(args.get("form", "objects"))
        if form not in {"objects", "zip"}:
            raise ConfigError(f"form {form!r} is not known", hint="use objects or zip")
        export = await parts.commands.export_here(
            new_id(),
            selection,
            form=cast("Form", form),
            moment=parts.now(),
            progress=lambda done, total: progress({"done": done, "total": total}),
        )
        parts.changed()
        return export.told(named=True) | {
            "folder": str(export.folder) if export.files else "",
            "outcomes": msgspec.to_builtins(export.outcomes),
        }

    async def submit(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Take a signed command, an acknowledgement or a key set from a file; tell what became of it."""
        try:
            raw = base64.b64decode(str(args.get("file", "")), validate=True)
        except ValueError as error:
            raise CorruptError("the file did not arrive whole", hint="submit it again") from error
        try:
            submitted = await self._parts.commands.submit(raw, moment=self._parts.now())
        except CorruptError as error:
            raise CorruptError(f"{args.get('name', 'the file')}: {error.message}", hint=error.hint) from error
        self._parts.changed()
        return {
            "receipt": base64.b64encode(submitted.receipt).decode("ascii"),
            "status": submitted.status,
            "reason": submitted.reason,
        }

    async def audit(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Return a page of the audit log as its lines, or the verdict over all of it."""
        parts = self._parts
        if args.get("verify"):
            verdict = await judge(parts)
            return {"verdict": msgspec.to_builtins(verdict), "sentence": verdict.sentence()}
        after = _count(args, "after", usual=0)
        limit = min(_count(args, "limit", usual=audit.PAGE_ENTRIES), audit.PAGE_ENTRIES)
        cursor, page = await parts.index.read(lambda tx: audit.entries(tx, after, limit=limit))
        return {"lines": [line.decode("utf-8") for line in page], "next": cursor if page else 0}

    async def consents(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Tell what the owner said of each purpose, what is allowed now, and a page of the records."""
        parts = self._parts
        after = str(args.get("after", ""))

        def read(tx: Tx) -> dict[str, Any]:
            page = consent.page(tx, after=after, limit=consent.TOLD_MAX + 1)
            more = page[consent.TOLD_MAX - 1].id if len(page) > consent.TOLD_MAX else ""
            written, cut = parts.commands.documents(tx, page[: consent.TOLD_MAX], max_bytes=LISTED_BYTES)
            return consents_view(tx, parts.policy) | {"records": written, "next": cut or more}

        return await parts.index.read(read)

    async def integrations(self, _args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """List what this device has to do with that is not its own."""
        parts = self._parts
        return integrations.view(await parts.index.read(parts.integrations))

    async def policy(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Show the policy in force and what waits; of another document, what it would change."""
        if "document" not in args:
            return await self._parts.index.read(lambda tx: policy_view(self._parts, tx))
        document = str(args["document"]).encode()
        return {"changes": changes_view(self._parts, document, file=str(args.get("file", "policy.toml")))}

    async def dry_run(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Count what retention would remove now under this policy, or under another document, and list the first.

        What that policy's limits would remove too, but for a hold or a restriction, is listed as what ``stays``.
        """
        parts = self._parts
        retention = parts.retention
        if "policy" in args:
            document = str(args["policy"]).encode()
            retention = Retention(
                index=parts.index,
                vault=parts.vault,
                erasure=parts.erasure,
                snapshot=parts.snapshot,
                policy=read_policy(document, file=str(args.get("file", "policy.toml"))),
                document=document,
            )
        moment, disk = parts.now(), parts.disk()
        plan = await retention.plan(moment, disk, listed=LISTED_MAX)
        stays = await retention.exempt(moment, disk, listed=LISTED_MAX)

        def what(tx: Tx) -> dict[str, dict[str, str]]:
            ids = (*(due.id for due in plan.due), *(one.id for one in stays))
            found = (parts.vault.get(tx, object_id) for object_id in ids)
            return {
                one.id: {"camera": one.camera, "captured_from": rfc3339_ms(one.captured_from_ms)}
                for one in found
                if one is not None
            }

        of = await parts.index.read(what)
        return {
            "objects": [
                {"id": due.id, "rule": due.rule, "bytes": due.size_bytes} | of.get(due.id, {}) for due in plan.due
            ],
            "count": plan.count,
            "kept": plan.kept,
            "stays": [
                {
                    "id": one.id,
                    "rule": one.rule,
                    "reason": one.reason,
                    "until": None if one.until_ms is None else rfc3339_ms(one.until_ms),
                    "bytes": one.size_bytes,
                }
                | of.get(one.id, {})
                for one in stays
            ],
            "held": plan.objects,
            "asks_first": plan.overlarge,
        }

    async def nearby(self, _args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Tell what is near, and why something may not be heard; ``on`` is false where nothing is listened for."""
        nearby = self._live.nearby
        if nearby is None:
            return {"on": False}
        told = near_view(nearby)
        known = {one.camera: one for one in nearby.cameras}
        now_ms = self._parts.now().agent_ms
        for one in told["near"]:
            if (enrolled := known.get(one.get("camera", ""))) is not None:
                one["how"] = self._how(enrolled, now_ms=now_ms)
        return {"on": True} | told

    async def cameras(self, _args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """List the cameras that are known: enrolled ones with their level, then those of sources."""
        return {"cameras": await self._parts.index.read(self._cameras), "running": self._live.refusals is not None}

    async def enrol(self, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Enrol a camera after what a person holds in hand was compared with what answers."""
        from agent.app.pairing import enrol  # noqa: PLC0415 - loaded only where somebody enrols

        before = await self._parts.index.read(self._forgotten)
        made = await enrol(self._parts, self._live.nearby, self._live.passkeys, args, progress)
        return camera_view(made, self._reach().get(made.camera, Reach())) | {
            "discovery": self._parts.config.discovery is not None,
            "known_before": made.camera in before,
        }

    async def forget_camera(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Take a camera's trust away, and tell it while it answers; what is held of it stays."""
        from agent.app.leaving import leave  # noqa: PLC0415 - loaded only where somebody forgets

        told, nearby = str(args.get("camera", "")), self._live.nearby
        one = await self._parts.index.read(lambda tx: enrolment.require(tx, _enrolled_named(tx, told)))
        camera = one.camera
        collecting = self._live.collecting
        async with nullcontext() if collecting is None else collecting.without(camera):
            at_camera = await leave(self._parts, one, () if nearby is None else nearby.addresses(camera))
            moment = self._parts.now()
            known = await self._parts.index.write(
                lambda tx: enrolment.forget(tx, camera, at_camera=at_camera, moment=moment)
            )
        if nearby is not None:
            await nearby.enrolled_changed()
        return camera_view(known, Reach()) | {"at_camera": at_camera}

    async def collection(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Switch a camera's collection on or off by hand, and tell the camera."""
        live = self._live
        return await live.switches.switch(await self._by_id(args), ways=live.ways)

    async def passkey(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Pair with a camera that demands a passkey, and meet it over Bluetooth."""
        from agent.app.pairing import pair  # noqa: PLC0415 - loaded only where somebody pairs

        return await pair(self._parts, self._live.nearby, self._live.passkeys, await self._by_id(args))

    async def counts(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Tell counts of usage logs with noise, once, or what is left of their budget."""
        from agent.app import counts  # noqa: PLC0415 - loaded only where somebody counts

        return await (counts.tell if args.get("tell") is True else counts.standing)(self._parts)

    async def _by_id(self, args: dict[str, Any]) -> dict[str, Any]:
        """Return the question about an enrolled camera with its id, where its name was given."""
        told = str(args.get("camera", ""))
        return args | {"camera": await self._parts.index.read(lambda tx: _enrolled_named(tx, told))}

    def _discovery(self) -> dict[str, Any]:
        """Tell which ways are listened by, and what keeps them from hearing."""
        nearby, settings = self._live.nearby, self._parts.config.discovery
        told: dict[str, Any] = {"ways": [] if settings is None else list(settings.ways), "troubles": []}
        if nearby is not None:
            told["troubles"] = troubles_view(nearby)
        return told

    def _reach(self) -> dict[str, Reach]:
        return {} if self._live.nearby is None else self._live.nearby.reach

    def _levels(self, tx: Tx, views: list[dict[str, Any]]) -> dict[str, str]:
        """Return how far the camera of each listed object is proved; objects are told as an owner is told them."""
        return {camera: self._level(tx, camera) for camera in sorted({view["camera"] for view in views})}

    def _level(self, tx: Tx, camera: str) -> str:
        """Return how far a camera is proved: as it was enrolled, else by what the config pins of its stream.

        One that was enrolled and is no more is ``forgotten``.
        """
        level, known = enrolment.level_of(tx, camera), registry.camera(tx, camera)
        if known is not None and known.source == enrolment.SOURCE and enrolment.by_camera(tx, camera) is None:
            return "forgotten"
        pinned = {one.name for one in self._parts.config.streams if one.certificate_sha256}
        return "pinned" if level == "configured" and known is not None and known.source in pinned else level

    def _cameras(self, tx: Tx) -> list[dict[str, Any]]:
        now_ms = self._parts.now().agent_ms
        enrolled = enrolment.enrolled(tx)
        waiting = dict(self._parts.erasure.waiting_copies(tx))
        told = [
            self._enrolled(one)
            | {"how": self._how(one, now_ms=now_ms, waiting=waiting.get(enrolment.source_name(one.camera), 0))}
            for one in enrolled
        ]
        there = {one.camera for one in enrolled}
        for known in registry.every_camera(tx):
            if known.id not in there and len(told) < LISTED_MAX:
                told.append(
                    {
                        "camera": known.id,
                        "level": self._level(tx, known.id),
                        "name": known.called,
                        "source": known.source,
                        "reachable": None,
                        **self._onvif(known.source),
                    }
                )
        return told

    def _enrolled(self, one: Enrolled) -> dict[str, Any]:
        nearby = self._live.nearby
        told = camera_view(one, self._reach().get(one.camera, Reach())) | {"source": ""}
        if one.level == "proved":
            told["collection"] = self._live.switches.view(one.camera)
            told |= {} if nearby is None else radio_view(nearby, one.camera)
        return told

    def _how(self, one: Enrolled, *, now_ms: int, waiting: int = 0) -> dict[str, Any]:
        """Return how an enrolled camera is, and how many deletes wait for it."""
        told = how_view(
            one,
            self._live.said.get(one.camera, Said()),
            self._reach().get(one.camera, Reach()),
            running=self._live.refusals is not None,
            now_ms=now_ms,
            findable=bool(one.endpoint) or self._live.nearby is not None,
            is_off=self._live.switches.view(one.camera)["at_camera"] == "off",
            is_impersonated=one.camera in self._live.standing.cameras,
        )
        return told | ({"waiting": waiting} if waiting else {})

    def _forgotten(self, tx: Tx) -> frozenset[str]:
        """Return the cameras that were enrolled once and are no more."""
        every = registry.every_camera(tx)
        return frozenset(one.id for one in every if self._level(tx, one.id) == "forgotten")

    def _waiting_deletes(self, tx: Tx) -> list[dict[str, Any]]:
        """Tell for which cameras deletes wait, and why those have not answered."""
        return [
            self._waits_for(tx, source) | {"count": count} for source, count in self._parts.erasure.waiting_copies(tx)
        ]

    def _waits_for(self, tx: Tx, source: str) -> dict[str, Any]:
        """Name the camera of a source that is asked to delete something, and what keeps it."""
        camera = enrolment.camera_of(source)
        known = enrolment.by_camera(tx, camera)
        how = {"state": "forgotten"} if known is None else self._how(known, now_ms=self._parts.now().agent_ms)
        return {"camera": camera, "name": enrolment.label_of(tx, camera), "how": how}

    def _at_camera(self, tx: Tx, object_id: str, source: str) -> dict[str, Any]:
        """Explain an object that is deleted here and whose copy a camera is asked to delete."""
        waits = self._waits_for(tx, source)
        return {
            "id": object_id,
            "state": "waiting_for_camera",
            "category": "",
            "camera": waits["camera"],
            "camera_label": waits["name"],
            "camera_level": self._level(tx, waits["camera"]),
            "decision": {"waits_for": "the camera's answer that its own copy is gone"},
            "how": waits["how"],
            "copies": [{"where": "the camera's own storage", "state": "asked to delete it"}],
        }

    def _erasing(self, tx: Tx, item: Object) -> dict[str, Any]:
        told = {"ends": "soon: nobody is given it any more", "rule": self._parts.erasure.cause(tx, item.id)}
        by_ms = self._parts.retention.forgets_by_ms(tx)
        return told if by_ms is None else told | {"until": rfc3339_ms(by_ms)}

    def _listed(self, tx: Tx, object_id: str, *, moment: Moment, forgotten_ms: int | None) -> dict[str, Any] | None:
        parts = self._parts
        return owner_listed(
            tx,
            object_id,
            vault=parts.vault,
            erasure=parts.erasure,
            label=enrolment.label_of,
            forgotten_ms=forgotten_ms,
            standing=parts.snapshot.standing(tx),
            held=lambda item, label: _view(item, parts.retention.outlook(tx, item, moment), label=label),
        )

    def _away(self, tx: Tx, away: AtStore) -> dict[str, Any]:
        """Explain an object of which only a store has a copy."""
        copies = [
            {"where": f"store, region {region}" if region else "store", "state": "stored"}
            for region in self._parts.vault.regions(tx, away.id)
        ]
        decision = {"stays_at_store": "until a delete; this device's own copy is gone"}
        told = at_store_view(away, label=enrolment.label_of(tx, away.camera))
        told |= frozen_view(self._parts.snapshot.standing(tx), away)
        return told | {
            "camera_level": self._level(tx, away.camera),
            "decision": decision,
            "copies": copies,
        }

    def _exports(self, tx: Tx, selection: Selection) -> list[dict[str, Any]]:
        """Return the exports that a selection names or means."""
        bundle, named = self._parts.bundle, frozenset(selection.ids or ())
        meant = named | frozenset(bundle.select(tx, selection))
        return [export_view(one, policy=self._parts.policy) for one in bundle.lying(tx) if one.id in meant]

    def _copies(self, tx: Tx, item: Object) -> list[dict[str, Any]]:
        copies: list[dict[str, Any]] = [{"where": "this device", "state": item.state}]
        row = self._parts.vault.upload_of(tx, item.upload) if item.upload else None
        if row is not None:
            copies.append(
                {
                    "where": f"store, region {row.region}" if row.region else "store",
                    "state": "stored" if row.stored else "sending",
                    "bytes": row.offset,
                }
            )
        if item.source_copy == "left":
            copies.append({"where": f"source {item.source}", "state": "left in place"})
        elif item.source_copy == "asked":
            copies.append({"where": "the camera's own storage", "state": "may be there until it needs the room"})
        copies += delivery.copies(tx, item.id)
        for export in self._parts.bundle.holding(tx, item.id):
            until = export_view(export, policy=self._parts.policy)["until"]
            copies.append({"where": f"export {export.id}", "state": "sealed", "until": until})
        return copies


def _view(item: Object, decision: Decision, *, label: str) -> dict[str, Any]:
    until_ms = decision.until_ms if isinstance(decision, Refuse) else None
    return held_view(item, label=label, rule=decision.rule, until_ms=until_ms)


def _in_whole_characters(verb: Verb) -> Verb:
    """Refuse half a character, which JSON can write and neither the index nor UTF-8 can hold, before it gets there.

    How a file is called, which is only told back, may be any bytes.
    """

    async def asked(args: dict[str, Any], progress: Progress) -> Any:  # noqa: ANN401 - JSON
        try:
            meant = {name: value for name, value in args.items() if name not in _FILE_NAMES}
            json.dumps(meant, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError):
            raise RefusedError(
                "the question is not UTF-8 text", reason="malformed", retry="after_fix", hint="give ids as text"
            ) from None
        return await verb(args, progress)

    return asked


def selection_of(args: dict[str, Any]) -> Selection:
    """Read a selection; none of its members means all. Raises ``ConfigError`` for one that can mean nothing."""
    told = {name: args[name] for name in ("ids", "camera", "category", "from", "to") if args.get(name)}
    if "ids" in told and len(told) > 1:
        raise ConfigError("ids stand alone", hint="leave out camera, category, from and to; or the ids")
    try:
        begin, end = (parse_rfc3339_ms(told[name]) if name in told else None for name in ("from", "to"))
        selection = msgspec.convert(told or {"all": True}, Selection)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise ConfigError(
            f"the selection is not understood: {error}", hint="use ids, or camera, category, from, to"
        ) from error
    if begin is not None and end is not None and begin >= end:
        raise ConfigError("from is not before to", hint="name the earlier time first: --from 14d --to 7d")
    return selection


def _with_camera(tx: Tx, selection: Selection) -> Selection:
    """Return the selection with its camera's id where a name was given; raises ``RefusedError`` for what is neither."""
    told = selection.camera
    if told is None or registry.camera(tx, told) is not None:
        return selection
    found = [one.id for one in registry.every_camera(tx) if told in {one.label, enrolment.label_of(tx, one.id)}]
    if len(found) != 1:
        raise RefusedError(
            f"no camera {told!r} is known here" if not found else f"{len(found)} cameras are called {told!r}",
            reason="malformed",
            retry="after_fix",
            hint="privacy-agent cameras lists the ids" if not found else f"name one by its id: {', '.join(found[:8])}",
        )
    return msgspec.structs.replace(selection, camera=found[0])


def _enrolled_named(tx: Tx, told: str) -> str:
    """Return the id of the enrolled camera that has this id or, alone, this name; else what was told."""
    enrolled = enrolment.enrolled(tx)
    named = [one.camera for one in enrolled if told and one.name == told]
    if told in {one.camera for one in enrolled} or not named:
        return told
    if len(named) > 1:
        raise ConfigError(
            f"{len(named)} cameras are called {told!r}", hint=f"name one by its id: {', '.join(named[:8])}"
        )
    return named[0]


def _count(args: dict[str, Any], name: str, *, usual: int) -> int:
    value = args.get(name, usual)
    if type(value) is not int or not 0 <= value <= _COUNT_MAX:
        raise ConfigError(f"{name} {value!r} is not a count", hint="give a whole number from 0")
    return value


def _decision(decision: Allow | Refuse) -> dict[str, Any]:
    if isinstance(decision, Allow):
        return {"ends": "at the next retention pass", "rule": decision.rule}
    told: dict[str, Any] = {"stays_because": decision.reason, "rule": decision.rule}
    if decision.until_ms is not None:
        told["until"] = rfc3339_ms(decision.until_ms)
    return told


async def offline(parts: Parts, verb: str, args: dict[str, Any], *, progress: Progress) -> Any:  # noqa: ANN401 - JSON
    """Answer a verb without a running agent; the caller holds the vault's lock."""
    live = Offline(parts)
    await live.switches.load()
    table: dict[str, Callable[[dict[str, Any], Progress], Awaitable[Any]]] = dict(Verbs(live).table())
    if verb not in table:
        raise RefusedError(f"no agent runs to {verb}", reason="unknown_verb", hint="start it: privacy-agent run")
    return await table[verb](args, progress)


def file_argument(path: Path) -> str:
    """Return a file's bytes as the ``submit`` verb takes them."""
    raw = read_whole(path, max_bytes=SIGNED_FILE_BYTES, hint="name the file that privacy-owner --out wrote")
    return base64.b64encode(raw).decode("ascii")
