"""What the shell commands ask, as functions of the parts: the same code answers over the socket and without an agent.

Every verb takes plain JSON arguments and returns plain JSON; the shell makes tables of it. A person at this machine may
look at everything and may export to the policy's owner; whatever else changes data needs a signed command (``submit``).
"""

import base64
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from agent import audit
from agent.app import integrations, scrubbing
from agent.app.camera_list import CameraList
from agent.app.camera_verbs import CameraVerbs
from agent.app.consenting import consents_view
from agent.app.explaining import Explaining
from agent.app.inventory import Inventory
from agent.app.judging import judge
from agent.app.living import Living, Offline
from agent.app.parts import Parts
from agent.app.policy_file import read_new_policy, require_owner
from agent.app.policy_view import changes_view, policy_view
from agent.app.question import LISTED_BYTES, LISTED_MAX, count, in_whole_characters, selection_of, with_camera
from agent.app.status import Status
from agent.bundle import Form
from agent.clock import rfc3339_ms
from agent.control import Progress, Verb
from agent.errors import ConfigError, CorruptError, RefusedError
from agent.files import read_whole
from agent.index import Tx
from agent.model import new_id
from agent.rights import consent

SIGNED_FILE_BYTES: Final = 128 << 10
"""Commands and key sets are below it; the local socket takes no more."""


def table(live: Living) -> dict[str, Verb]:
    """Return every verb by its name."""
    cameras = CameraList(live)
    told: dict[str, Verb] = {
        "status": Status(live, cameras).tell,
        "inventory": Inventory(live, cameras).tell,
        "explain": Explaining(live, cameras).tell,
        "scrub": partial(scrubbing.asked, live.scrub),
    }
    verbs = told | CameraVerbs(live, cameras).table() | Verbs(live.parts).table()
    return {name: in_whole_characters(verb) for name, verb in verbs.items()}


class Verbs:
    """The verbs that need the parts alone."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def table(self) -> dict[str, Verb]:
        """Return these verbs by name."""
        return {
            "export": self.export,
            "submit": self.submit,
            "audit": self.audit,
            "consents": self.consents,
            "integrations": self.integrations,
            "policy": self.policy,
            "dry-run": self.dry_run,
            "counts": self.counts,
        }

    async def export(self, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Build an export sealed to the policy's owner and nobody else."""
        parts = self._parts
        asked = selection_of(args)
        selection = await parts.index.read(lambda tx: with_camera(tx, asked))
        form = str(args.get("form", "objects"))
        if form not in {"objects", "zip"}:
            raise ConfigError(f"form {form!r} is not known", hint="use objects or zip")
        require_owner(parts.policy, file=str(parts.config.policy))
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
        after = count(args, "after", usual=0)
        limit = min(count(args, "limit", usual=audit.PAGE_ENTRIES), audit.PAGE_ENTRIES)
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
            policy = read_new_policy(document, file=str(args.get("file", "policy.toml")))
            retention = parts.retention.under(policy, document)
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

    async def counts(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Tell counts of usage logs with noise, once, or what is left of their budget."""
        from agent.app import counts  # noqa: PLC0415 - loaded only where somebody counts

        return await (counts.tell if args.get("tell") is True else counts.standing)(self._parts)


async def offline(parts: Parts, verb: str, args: dict[str, Any], *, progress: Progress) -> Any:  # noqa: ANN401 - JSON
    """Answer a verb without a running agent; the caller holds the vault's lock."""
    live = Offline(parts)
    await live.switches.load()
    verbs = table(live)
    if verb not in verbs:
        raise RefusedError(
            f"no agent runs to {verb}", reason="unknown_verb", hint=f"start it: {parts.config.command('run')}"
        )
    return await verbs[verb](args, progress)


def file_argument(path: Path) -> str:
    """Return a file's bytes as the ``submit`` verb takes them."""
    raw = read_whole(path, max_bytes=SIGNED_FILE_BYTES, hint="name the file that privacy-owner --out wrote")
    return base64.b64encode(raw).decode("ascii")
