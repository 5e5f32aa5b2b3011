"""What this device has to do with that is not its own: services, protocols of others, programs, readers.

Rules: each is off until somebody here wrote it into the config, or the owner into the policy or the key set; the list
has also what is off, so that nothing is on that is not on the list; each has what it is for and what it gets; and a
change of what is on, one in the place of another too, stands in the audit log, by its kind and number, for names are
not what a log is for.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.config import WAYS, Config
from agent.enrolment import Enrolled
from agent.envelope import Key
from agent.index import Tx
from agent.index import integration as rows
from agent.model import Moment
from agent.policy import Policy


class Integration(msgspec.Struct, frozen=True, kw_only=True):
    """One of them; ``name`` is "" of a kind of which none is on.

    ``identity`` tells it from another of its name: a key, an address, a folder.
    """

    kind: str
    name: str = ""
    on: bool = True
    purpose: str
    gets: str
    by: str
    identity: str = ""


OFF: Final = (
    Integration(
        kind="broker",
        on=False,
        purpose="to carry messages",
        gets="sealed messages: topics, sizes and times",
        by="[broker] in agent.toml",
    ),
    Integration(
        kind="backend",
        on=False,
        purpose="to ask for deletes, exports to the owner and lists, within its quota",
        gets="ids, counts, sizes and codes; no names, cameras or times",
        by="the owner's key set",
    ),
    Integration(
        kind="store",
        on=False,
        purpose="to keep sealed copies",
        gets="ciphertext that it cannot read, in a region that the policy allows",
        by="the owner's key set",
    ),
    Integration(kind="time source", on=False, purpose="to state the time", gets="nothing", by="the owner's key set"),
    *(
        Integration(
            kind=f"discovery {way}",
            on=False,
            purpose="to find cameras that are near",
            gets="that somebody asks, by everybody near",
            by="[discovery] in agent.toml",
        )
        for way in WAYS
    ),
    Integration(
        kind="recorder",
        on=False,
        purpose="to take in what another program records",
        gets="nothing; its files are read, and removed only where after says so",
        by="a [[source]] of a recorder's kind in agent.toml",
    ),
    Integration(
        kind="rtsp",
        on=False,
        purpose="to take in what a camera streams",
        gets="the credentials that the config names for it",
        by="[[source]] in agent.toml",
    ),
    Integration(
        kind="onvif",
        on=False,
        purpose="to ask a camera where it streams",
        gets="the credentials that the config names for it",
        by="onvif of a [[source]] in agent.toml",
    ),
    Integration(
        kind="camera",
        on=False,
        purpose="to take in what a camera has on its card, and to have that deleted there",
        gets="what is asked of it, over its camera link or Bluetooth",
        by="privacy-agent enrol",
    ),
    Integration(
        kind="third party",
        on=False,
        purpose="to be handed an export",
        gets="an export that the owner signed for, sealed to the recipients named there; nothing else",
        by="privacy-owner export --put, each time; in a private network [delivery] private_hosts in policy.toml too",
    ),
    Integration(
        kind="certificate authority",
        on=False,
        purpose="to verify the servers of third parties",
        gets="nothing",
        by="[delivery] ca in agent.toml",
    ),
    Integration(
        kind="opendp",
        on=False,
        purpose="to draw the noise of counts",
        gets="the counts, within this device",
        by="[category.usage-log.counts] in policy.toml",
    ),
    Integration(
        kind="reader",
        on=False,
        purpose="what the policy says",
        gets="what is sealed for its purposes",
        by="[recipients] and seal_to in policy.toml",
    ),
)
"""Every kind that there is, as it is where nobody turned it on."""

_KINDS: Final = {one.kind: one for one in OFF}
_ROLES: Final = {"backend": "backend", "store": "store", "time": "time source"}
_OWN_SOURCE: Final = "spool"


def integrations(
    config: Config, policy: Policy, keys: Iterable[Key], cameras: Iterable[Enrolled] = ()
) -> tuple[Integration, ...]:
    """Return what is on, in the order of kinds, and each kind of which nothing is."""
    on: list[tuple[str, str, str, str]] = []
    if config.broker is not None:
        on.append(("broker", config.broker.url, "", ""))
    on += [(_ROLES[key.role], key.name, " ".join(key.verbs), key.kid) for key in keys if key.role in _ROLES]
    if config.discovery is not None:
        on += [(f"discovery {way}", "", "", "") for way in config.discovery.ways]
    on += [
        ("recorder", f"{one.name} ({one.kind})", "", str(one.path)) for one in config.sources if one.kind != _OWN_SOURCE
    ]
    on += [("rtsp", one.name, "", f"{one.url} {one.certificate_sha256.hex()}") for one in config.streams]
    on += [("onvif", one.name, "", one.onvif) for one in config.streams if one.onvif]
    on += [
        ("camera", one.camera, "", f"{one.level} {one.kid} {one.certificate_sha256.hex()} {one.endpoint}")
        for one in cameras
    ]
    on += [("third party", host, "", "") for host in policy.private_hosts]
    if config.authorities is not None:
        on.append(("certificate authority", str(config.authorities), "", ""))
    on += [("opendp", rule.scope, "", "") for rule in policy.rules if rule.counts is not None]
    on += [
        ("reader", name, _purposes(policy, name), " ".join(recipients))
        for name, recipients in policy.recipients.items()
        if name != "owner"
    ]
    found = [
        msgspec.structs.replace(
            _KINDS[kind], name=name, on=True, purpose=purpose or _KINDS[kind].purpose, identity=identity
        )
        for kind, name, purpose, identity in on
    ]
    there = {one.kind for one in found}
    return tuple(sorted([*found, *(one for one in OFF if one.kind not in there)], key=lambda one: _order(one.kind)))


def _order(kind: str) -> int:
    return list(_KINDS).index(kind)


def _purposes(policy: Policy, reader: str) -> str:
    """Return for which purposes of which categories a reader gets anything."""
    found = {
        f"{purpose.name} of {rule.category}"
        for rule in policy.rules
        for purpose in rule.purposes
        if reader in (*rule.seal_to, *purpose.seal_to)
    }
    return ", ".join(sorted(found)) or "nothing: no rule seals to it"


def note(tx: Tx, found: Iterable[Integration], *, moment: Moment) -> None:
    """Write down what is on now and was not, is not any more, or is another, in the caller's transaction."""
    now: dict[str, list[str]] = {}
    for one in found:
        if one.on:
            now.setdefault(one.kind, []).append(f"{one.name}\n{one.identity}")
    before = rows.known(tx)
    for kind in sorted(now.keys() | before.keys()):
        names = sorted(now.get(kind, ()))
        which = hashlib.sha256("\n\n".join(names).encode()).digest() if names else b""
        count, known = before.get(kind, (0, b""))
        if (len(names), which) == (count, known):
            continue
        rows.note(tx, kind, count=len(names), which=which)
        if len(names) == count and not known:  # an older version noted only how many there are
            continue
        detail: dict[str, str | int] = {"before": count, "now": len(names)}
        event = Event(kind="integration_changed", rule=kind.replace(" ", "_"), detail=detail)
        audit.append(tx, event, moment=moment)


def view(found: Iterable[Integration]) -> dict[str, Any]:
    """Return the list for who asks."""
    return {"integrations": [_shown(one) for one in found]}


def _shown(one: Integration) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(one)
    del shown["identity"]
    return shown
