"""What a person at this machine is shown of the policy: the one in force, those that wait, what another changes."""

from pathlib import Path
from typing import Any

from agent.app.parts import Parts, waiting_documents
from agent.app.policy_file import read_new_policy, read_policy
from agent.clock import rfc3339_ms
from agent.document import Lines
from agent.index import Tx
from agent.policy import Change, compare, loosens
from agent.rights import force
from agent.rights.force import Waiting


def policy_view(parts: Parts, tx: Tx) -> dict[str, Any]:
    """Return the document in force, who brought it and since when, and every document that waits."""
    now = force.in_force(tx)
    told: dict[str, Any] = {"document": parts.document.decode("utf-8"), "sha256": force.hash_of(parts.document)}
    if now is not None:
        told |= {"by": now.by, "revision": now.revision, "since": rfc3339_ms(now.since_ms), "bound": now.bound}
        if now.signed:
            told["jws"] = now.signed.decode("ascii")
    waiting = [(one, "local") for one in (force.waiting_file(tx),) if one is not None]
    return told | {
        "waiting": [_waiting(parts, one, by=by) for one, by in (*waiting, *waiting_documents(parts.trust, tx))]
    }


def changes_view(parts: Parts, document: bytes, *, file: str) -> list[dict[str, Any]]:
    """Return what a document changes of the one in force, each with its line; raises ``ConfigError``."""
    after = read_new_policy(document, file=file)
    lines = Lines(document.decode("utf-8"))
    return [_change(change, lines) for change in compare(parts.policy, after)]


def _waiting(parts: Parts, one: Waiting, *, by: str) -> dict[str, Any]:
    policy = read_policy(one.document, file=Path(parts.config.policy).name)
    looser = loosens(compare(parts.policy, policy))
    text = one.document.decode("utf-8")
    lines = Lines(text)
    return {
        "id": one.id,
        "sha256": one.sha256,
        "by": by,
        "document": text,
        "loosens": [_change(change, lines) for change in looser],
    }


def _change(change: Change, lines: Lines) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "field": ".".join(change.path),
        "line": lines.of(change.at),
        "before": change.before,
        "after": change.after,
        "because": change.because,
    }
