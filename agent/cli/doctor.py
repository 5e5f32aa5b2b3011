"""``doctor``: what is wrong with this device, in the order in which a person would mend it.

Each check answers ``good``, ``look`` (works, but) or ``bad`` with the next step. Nothing is changed: a running agent is
asked; where none runs, the state folder is read as it is, and what a crash left undone stays for the agent to finish.
Whoever is not the agent's user is told what that user alone can look at, once, and not that it is bad.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from agent.access import DeniedError, denied, user_name
from agent.errors import AgentError, CorruptError
from agent.shell.ending import next_step
from agent.shell.layout import counted, size
from agent.shell.parser import Subparsers, add

if TYPE_CHECKING:
    from agent.config import Config
    from agent.keystore import Keystore
    from agent.policy import Policy
    from agent.rtsp.settings import StreamSettings
    from agent.sources import SourceSettings

_MQTT: Final = {4: "3.1.1", 5: "5"}
CONNECT_S: Final = 10.0
_DAY_MS: Final = 86_400_000
_EXPIRY_DAYS: Final = 30
_WATCHES_FEW: Final = 1024
_INOTIFY_LIMIT: Final = Path("/proc/sys/fs/inotify/max_user_watches")
_LOW_SHARE: Final = 0.05
_NAMED: Final = 3
_ITSELF: Final = ": privacy-agent doctor"
_IN_STATE: Final = frozenset({"keys", "vault", "audit log"})

AskStatus = Callable[[], Any]
"""Asks the running agent how it is, once in an examination; ``None`` when there is none."""


class Finding(NamedTuple):
    """One check's answer."""

    what: str
    verdict: Literal["good", "look", "bad"]
    told: str
    next: str = ""


def add_parsers(subparsers: Subparsers) -> None:
    """Register the command."""
    doctor = add(
        subparsers,
        "doctor",
        summary="tell what is wrong with this device and how to mend it",
        example="privacy-agent doctor --config /etc/privacy-agent/agent.toml",
        detail="It checks config, policy, keys, folders, clock, disk and broker. Changes nothing.",
        run=_run,
    )
    doctor.add_argument("--config", type=Path, default=None, metavar="FILE", help="agent.toml")
    doctor.add_argument("--offline", action="store_true", help="leave the broker out")
    doctor.add_argument("--json", action="store_true", help="answer as JSON")


def _run(arguments: argparse.Namespace) -> int:
    from agent.cli.asking import config_of
    from agent.shell.terminal import table

    config = config_of(arguments)
    findings = [Finding("config", "good", str(config.file)), *_examine(config, arguments)]
    bad = [finding for finding in findings if finding.verdict == "bad"]
    if arguments.json:
        print(json.dumps({"healthy": not bad, "findings": [finding._asdict() for finding in findings]}))
        return 1 if bad else 0
    print(table([finding[:3] for finding in findings], head=("what", "verdict", "found")))
    steps = [finding for finding in findings if finding.next]
    if steps:
        print("\nnext steps")
        for number, finding in enumerate(steps, start=1):
            print(f"{number:>3}. {finding.what}: {finding.next}")
    return 1 if bad else 0


def _examine(config: "Config", arguments: argparse.Namespace) -> Iterator[Finding]:
    from agent.control import SilentError

    ask_status = _asked_once(config)
    is_agents, unseen, is_silent = os.geteuid() in {0, _agents_uid(config)}, dict[str, DeniedError](), False
    said: set[str] = set()
    for what, check in _checks(config, arguments, ask_status):
        try:
            yield from check()
        except DeniedError as error:
            if is_agents:
                yield Finding(what, "bad", error.message, next_step(error))
            else:
                unseen[what] = error
        except SilentError as error:  # it has what these checks would look at
            if not is_silent:
                yield Finding("agent", "bad", error.message, next_step(error))
            is_silent = True
        except AgentError as error:
            following = next_step(error)
            is_said = following in said or (what in _IN_STATE and _is_without_state(config))
            yield Finding(what, "bad", error.message, "" if is_said else following)
            said.add(following)
    if unseen:
        yield _unseen(config, unseen, ask_status)


def _asked_once(config: "Config") -> AskStatus:
    """Return what asks the running agent; one that says nothing is waited for once. Other errors come at each check."""
    from agent.control import FIRST_ANSWER_S, SilentError

    @functools.cache
    def answer() -> Any:  # noqa: ANN401 - JSON
        try:
            return _ask_running(config, "status", {}, within_s=FIRST_ANSWER_S)
        except SilentError as error:
            return error

    def ask_status() -> Any:  # noqa: ANN401 - JSON
        answered = answer()
        if isinstance(answered, SilentError):
            raise answered
        return answered

    return ask_status


def _checks(
    config: "Config", arguments: argparse.Namespace, ask_status: AskStatus
) -> Iterator[tuple[str, Callable[[], Iterator[Finding]]]]:
    """Yield each check by what it is about; what one of them may not look at keeps the others from nothing."""
    from agent.bundle import EXPORTS_FOLDER
    from agent.vault import OBJECTS_FOLDER

    yield "policy", lambda: _policy(config)
    yield "state folder", lambda: _folder(config)
    yield "keys", lambda: _keys(config)
    yield "socket", lambda: _socket(config, ask_status)
    for name, holds_folders in ((OBJECTS_FOLDER, False), (EXPORTS_FOLDER, True)):
        yield name, functools.partial(_vault_folder, config.vault / name, holds_folders=holds_folders)
    yield "vault", lambda: _vault(config, ask_status)
    yield "policy", lambda: _camera_rules(config, ask_status)
    yield "audit log", lambda: _audit_log(config, ask_status)
    yield "sources", lambda: _sources(config)
    for source in config.sources:
        yield f"source {source.name}", functools.partial(_source, source)
    for stream in config.streams:
        yield f"source {stream.name}", functools.partial(_stream, stream)
    yield "inotify", _inotify
    yield "discovery", lambda: _discovery(config, ask_status)
    yield "cameras", lambda: _enrolled_cameras(config, ask_status)
    if config.broker is not None:
        yield "TLS identity", lambda: _identity(config)
        if not arguments.offline:
            yield "broker", lambda: _broker(config, ask_status)


def _is_without_state(config: "Config") -> bool:
    """Tell whether the state folder is not there, which its own finding says; what is in it has no step then."""
    from agent.files import is_folder

    with contextlib.suppress(DeniedError):
        return not is_folder(config.state)
    return False


def _agents_uid(config: "Config") -> int | None:
    """Return whose the state folder is, which is whose the agent is; ours where there is none, ``None`` if unseen."""
    try:
        return config.state.stat().st_uid
    except PermissionError:
        return None
    except OSError:
        return os.geteuid()


def _unseen(config: "Config", unseen: dict[str, DeniedError], ask_status: AskStatus) -> Finding:
    """Tell what only the agent's user can look at; that it runs is known where it answers."""
    uid = _agents_uid(config)
    agents = user_name(uid) if uid is not None else next(iter(unseen.values())).owner
    try:
        runs = ask_status() is not None
    except AgentError:
        runs = False
    again = config.command("doctor")
    return Finding(
        "not looked at",
        "look" if runs else "bad",
        f"{', '.join(unseen)}: user {user_name(os.geteuid())} may not look there",
        f"run it as the agent's user, as root: {again if agents == 'root' else f'runuser -u {agents} -- {again}'}",
    )


def _policy(config: "Config") -> Iterator[Finding]:
    from agent.app.parts import read_policy_file
    from agent.app.policy_file import read_new_policy
    from agent.files import is_folder

    policy = read_new_policy(read_policy_file(config), file=str(config.policy))
    if not policy.rules:
        yield Finding("policy", "look", "no category has a rule: nothing is taken in", "add [category.recording]")
    else:
        yield Finding("policy", "good", counted(len(policy.rules), "rule"))
    endless = [rule.scope for rule in policy.rules if not any(getattr(rule.keep, name) for name in _LIMITS)]
    for scope in endless:
        yield Finding("policy", "look", f"{scope} has no limit: it is kept for ever", f"add keep.age to [{scope}]")
    if is_folder(config.state):
        yield from _floors(policy, os.statvfs(config.state))
    yield from _readers(policy)
    if config.broker is not None and not policy.regions and any(rule.upload != "never" for rule in policy.rules):
        yield Finding(
            "policy",
            "look",
            "a store in any region may keep what is uploaded",
            'name those that may: regions = ["eu-central"] under [upload]',
        )


def _floors(policy: "Policy", disk: os.statvfs_result) -> Iterator[Finding]:
    """Tell of rules that want more of the disk free than is: what they are for goes as soon as it was taken in."""
    free_bytes, total_bytes = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    for rule in policy.rules:
        floor_bytes = max(rule.keep.disk_free_bytes or 0, int((rule.keep.disk_free_share or 0) * total_bytes))
        if free_bytes < floor_bytes:
            yield Finding(
                "disk",
                "look",
                f"{size(free_bytes)} free, and {rule.scope}.keep.disk_free wants {size(floor_bytes)}: "
                "what is taken in goes again at once, and nothing is exported",
                f"add room, or lower disk_free in [{rule.scope}]",
            )


def _readers(policy: "Policy") -> Iterator[Finding]:
    """Tell of what nobody could read, and so is not taken in, and of what waits for its owner's consent."""
    from agent.policy import Consents, purposes_for

    for rule in policy.rules:
        if not rule.recipients and not any(purpose.recipients for purpose in rule.purposes):
            yield Finding(
                "policy",
                "look",
                f"nobody could read {rule.scope}: nothing of it is taken in",
                f"give a recipient of [{rule.scope}] an age key under [recipients]",
            )
        elif rule.purposes and not purposes_for(rule, Consents()):
            names = ", ".join(purpose.name for purpose in rule.purposes)
            yield Finding("policy", "good", f"{rule.scope} is taken in only with consent to: {names}")


def _camera_rules(config: "Config", ask_status: AskStatus) -> Iterator[Finding]:
    """Tell of rules for a camera that is not known here; a policy that cannot be read is told by its own check."""
    from agent.app.parts import read_policy_file
    from agent.app.policy_file import read_new_policy
    from agent.cli.known import LISTED_BY, UNKNOWN, unknown_cameras

    try:
        policy = read_new_policy(read_policy_file(config), file=str(config.policy))
    except AgentError:
        return
    if policy.cameras():
        ask_status()  # one that says nothing is not waited for again
    for camera in unknown_cameras(config, policy):
        yield Finding("policy", "look", f"[camera.{camera}.…]: {UNKNOWN}", LISTED_BY)


_LIMITS: Final = ("age_ms", "size_bytes", "count", "disk_free_bytes", "disk_free_share")


def _keys(config: "Config") -> Iterator[Finding]:
    from agent.app.naming import require_name_given
    from agent.app.parts import require_no_orphan
    from agent.keystore import Keystore
    from agent.process import keep_memory

    keep_memory()
    require_no_orphan(config)
    require_name_given(config)
    with contextlib.closing(Keystore.open(config.keystore, tpm=config.tpm, mend=False)) as keystore:
        yield from _keystore(config, keystore)
    yield from _swap(Path("/proc/swaps"))


def _keystore(config: "Config", keystore: "Keystore") -> Iterator[Finding]:
    told = f"{keystore.engine} keystore, {keystore.alg}"
    if keystore.engine == "tpm":
        told = f"{told}; its counter may be raised {keystore.wear.left} times at once, then hourly"
    if keystore.sound:
        yield Finding("keys", "good", told)
    else:
        yield Finding(
            "keys",
            "look",
            f"{told}; one of its two copies is damaged or older",
            f"look at the disk, and start the agent, which mends the copy: {config.command('run')}",
        )


def _swap(swaps: Path) -> Iterator[Finding]:
    """Tell whether memory, with what keys are in it, may be written to a disk; the unit keeps the agent's from it."""
    try:
        areas = swaps.read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    except OSError:  # this kernel has no swap at all
        areas = []
    named = [area.split()[0] for area in areas if area.split() and not area.startswith("/dev/zram")]
    if named:
        yield Finding(
            "swap",
            "look",
            f"memory may be written to {', '.join(named[:_NAMED])}",
            "run the agent by its unit, which forbids it (MemorySwapMax=0), or: swapoff -a",
        )
    else:
        yield Finding("swap", "good", "memory is written to no disk")


def _folder(config: "Config") -> Iterator[Finding]:
    from agent.files import is_folder

    if not is_folder(config.state):
        told = f"{config.state} is not there: this device was not set up"
        following = f"correct state in {config.file}, or: {config.command('init --owner owner.pub --device NAME')}"
        yield Finding("state folder", "bad", told, following)
        return
    mode = stat.S_IMODE(config.state.stat().st_mode)
    if mode & 0o077:
        yield Finding("state folder", "bad", f"{config.state}: others may read it", f"chmod 700 {config.state}")
    else:
        yield Finding("state folder", "good", str(config.state))
    status = os.statvfs(config.state)
    free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    verdict: Literal["good", "look"] = "look" if free < _LOW_SHARE * total else "good"
    told = f"{config.state}: {size(free)} of {size(total)} free"
    yield Finding("disk", verdict, told, "" if verdict == "good" else "lower keep limits, or add room")


def _socket(config: "Config", ask_status: AskStatus) -> Iterator[Finding]:
    """Look whether the agent may put its socket there, and whether it is this agent that answers."""
    from agent.control import require_safe_place
    from agent.files import is_folder, is_there

    if not is_there(config.socket.parent) and is_folder(config.socket.parent.parent):
        yield Finding("socket", "good", f"{config.socket}: its folder is made at the start")
        return
    is_there(config.socket)  # raises where this user may not look
    require_safe_place(config.socket, agents=_agents_uid(config))
    answer = ask_status()
    if answer is not None and answer["device"] != config.device:
        yield Finding(
            "socket",
            "bad",
            f"{config.socket}: the agent of {answer['device']} answers there",
            f'give each agent a socket of its own: socket = "…" in {config.file}',
        )
        return
    yield Finding("socket", "good", str(config.socket))


def _vault_folder(folder: Path, *, holds_folders: bool) -> Iterator[Finding]:
    """Look for what would keep a file from being removed, and for what is none of ours."""
    from agent.bundle import is_ours
    from agent.files import is_folder
    from agent.shell.layout import printable

    name = folder.name
    if not is_folder(folder):
        return  # no agent has ever run here
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise DeniedError(f"{folder}: nothing can be removed", hint="mount it for writing, or mend its rights")
    with os.scandir(folder) as entries:
        strange = sorted(
            printable(entry.name)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) != holds_folders or (holds_folders and not is_ours(entry.name))
        )
    if strange:
        told = (
            f"{len(strange)} in it are none of the agent's, and no delete reaches them: {', '.join(strange[:_NAMED])}"
        )
        yield Finding(name, "look", told, f"move them out of {folder}")
    else:
        yield Finding(name, "good", str(folder))


def _vault(config: "Config", ask_status: AskStatus) -> Iterator[Finding]:
    from agent.app.alarm import MEANING
    from agent.app.standing import seen
    from agent.cli.leaving import leaving_words
    from agent.clock import system_clock
    from agent.shell.times import when_text

    answer = ask_status()
    if answer is not None:
        yield Finding("agent", "good", "runs")
    else:
        yield Finding("agent", "look", "does not run", f"start it: {config.command('run')}")
        answer = asyncio.run(seen(config, read_clock=system_clock(source=config.clock)))
    owner = answer["owner"]
    if owner is None:
        yield Finding("owner", "bad", "none: nothing is collected", config.command("init --owner owner.pub"))
    elif answer["leaving"] is not None:
        yield Finding(
            "owner", "look", f"is left: {leaving_words(answer['leaving'])}", "its last word: privacy-owner listen"
        )
    else:
        yield Finding("owner", "good", f"{owner['name']}, key set version {answer['key_set']}")
    clock = answer["clock"]
    if clock["trusted"]:
        yield Finding("clock", "good", "trusted")
    else:
        yield Finding(
            "clock",
            "look",
            "unsure: ages advance by the boot clock",
            'give it network time; where the clock is set otherwise, write source = "system" in [clock]',
        )
    yield from _damage(answer["scrub"])
    for name in answer["not_removed"]:
        path = config.vault / name
        following = (
            f"look at its attributes and rights: lsattr -R {path}; chattr -R -i {path}; it is tried again by itself"
        )
        yield Finding("removal", "bad", f"{path} was deleted and cannot be removed", following)
    for alert in answer["alerts"]:
        effect, following = MEANING[alert["code"]]
        following = following.replace(_ITSELF, "")  # whoever reads this has typed it, and its other findings say more
        verdict: Literal["look", "bad"] = "bad" if alert["code"] == "disk_full" else "look"
        yield Finding("alert", verdict, f"{alert['code']} since {when_text(alert['since'])}: {effect}", following)
    for name in answer["unnamed"]:
        told = f"cameras of {name!r} are known, and no source has that name any more"
        yield Finding(
            "sources", "look", told, f'if it is there still, at another place: name = "{name}" in its [[source]]'
        )
    for source in answer.get("sources", ()):
        yield from _offered(config, source)


def _offered(config: "Config", source: dict[str, Any]) -> Iterator[Finding]:
    """Tell why a source is not taken from, and what it offered in vain since the agent started.

    What was deleted before is as it should be.
    """
    from agent.cli.not_taken import steps

    name = f"source {source['name']}"
    if "failed" in source:
        yield Finding(name, "look", f"not taken from: {source['failed']}")
    counts = [one for one in source["not_taken"] if one["kind"] != "deleted_before"]
    if counts:
        told = ", ".join(f"{one['reason'].replace('_', ' ')} ({one['count']})" for one in counts)
        yield Finding(name, "look", f"not taken in: {told}", "; ".join(steps(config, source["name"], counts)))


def _damage(told: dict[str, int]) -> Iterator[Finding]:
    if told["damaged"]:
        yield Finding(
            "damage",
            "bad",
            f"not what was sealed, and neither exported nor uploaded: {counted(told['damaged'])}",
            "check the disk: smartctl -a; which they are: privacy-agent status --json",
        )
    if told["in_doubt"]:
        yield Finding(
            "damage",
            "look",
            f"not readable when that was tried last: {counted(told['in_doubt'])}",
            "look at the disk: dmesg; findmnt; read them again: privacy-agent scrub",
        )


def _ask_running(config: "Config", verb: str, args: dict[str, Any], *, within_s: float | None = None) -> Any:  # noqa: ANN401 - JSON
    """Ask the running agent; ``None`` when there is none."""
    from agent.control import AwayError, ask

    try:
        return asyncio.run(ask(config.socket, verb, args, progress=lambda _step: None, within_s=within_s))
    except AwayError as error:
        if isinstance(error.__cause__, PermissionError):  # one may run there
            raise denied(config.socket) from error
        return None


def _audit_log(config: "Config", ask_status: AskStatus) -> Iterator[Finding]:
    from agent.app.alarm import MEANING
    from agent.app.standing import judged

    ask_status()  # one that says nothing is not waited for: all of a long log may take its time
    try:
        answer = _ask_running(config, "audit", {"verify": True})
        sentence = answer["sentence"] if answer is not None else asyncio.run(judged(config)).sentence()
        yield Finding("audit log", "good", sentence)
    except CorruptError as error:
        yield Finding("audit log", "bad", error.message, error.hint or MEANING["audit_broken"][1])


def _sources(config: "Config") -> Iterator[Finding]:
    if not config.sources and not config.streams:
        yield Finding("sources", "look", "none: nothing is taken in", f"add [[source]] to {config.file}")


def _source(settings: "SourceSettings") -> Iterator[Finding]:
    from agent.files import is_folder
    from agent.sources import check_medium

    name = f"source {settings.name}"
    if not is_folder(settings.path):
        yield Finding(
            name, "bad", f"{settings.path}: no such folder", f"mkdir -p {settings.path}; or correct path in agent.toml"
        )
        return
    wanted = os.R_OK | os.X_OK | (os.W_OK if settings.takes else 0)
    if not os.access(settings.path, wanted, effective_ids=True):
        raise DeniedError(f"{settings.path}: no access", hint="give the agent's user rights to it")
    warning = check_medium(settings)
    if warning:
        yield Finding(
            name,
            "look",
            "clear blocks may remain on its disk",
            'let its camera write to a tmpfs, or encrypt the disk; then say so: medium = "tmpfs" or "encrypted"',
        )
    else:
        left = "" if settings.takes or settings.medium != "disk" else "; its own files stay there, in clear"
        yield Finding(name, "good", f"{settings.kind}, {settings.medium}{left}")


def _inotify() -> Iterator[Finding]:
    watches = int(_INOTIFY_LIMIT.read_text(encoding="ascii")) if _INOTIFY_LIMIT.exists() else 0
    if watches < _WATCHES_FEW:
        yield Finding(
            "inotify", "look", f"{watches} watches: folders are polled", "sysctl fs.inotify.max_user_watches=65536"
        )


def _stream(settings: "StreamSettings") -> Iterator[Finding]:
    """Say what of a camera that streams can be seen without calling it."""
    from agent.rtsp import require_extra
    from agent.rtsp.onvif.client import require_extra as require_onvif
    from agent.rtsp.settings import open_credentials, read_address

    name = f"source {settings.name}"
    require_extra()
    if settings.onvif:
        require_onvif()
    if settings.credentials is not None:
        os.close(open_credentials(settings.credentials))
    if settings.onvif:
        yield Finding(name, "good", "its ONVIF service says where it streams")
    elif read_address(settings.url).secure:
        yield Finding(name, "good", "rtsps, its certificate pinned")
    else:
        yield Finding(
            name,
            "look",
            "rtsp: what it streams crosses the network in clear, and who answers at its address is believed",
            "write rtsps:// with certificate_sha256, if the camera has TLS; or give it a network of its own",
        )


def _discovery(config: "Config", ask_status: AskStatus) -> Iterator[Finding]:
    """Tell why cameras may not be heard: no multicast, a container's network, no adapter, no bluetoothd."""
    settings = config.discovery
    if settings is None:
        yield Finding("discovery", "good", "off, no [discovery] in the config: nothing is listened for")
        return
    answer = ask_status()
    if answer is not None:
        troubles = [(one["way"], one["reason"], one["next"]) for one in answer["discovery"]["troubles"]]
    else:
        troubles = _troubles(config)
    for reason, following in dict.fromkeys(one[1:] for one in troubles):  # what several ways have is said once
        ways = ", ".join(one[0] for one in troubles if one[1:] == (reason, following))
        yield Finding(f"discovery {ways}", "look", reason.replace("_", " "), following)
    if quiet := [way for way in settings.ways if way not in {one[0] for one in troubles}]:
        yield Finding("discovery", "good", f"nothing speaks against {', '.join(quiet)}")


def _troubles(config: "Config") -> list[tuple[str, str, str]]:
    """Return (way, reason, next step) as this process sees the machine, where no agent runs."""
    from agent.discovery.interface import in_container, read_interfaces, why_nothing_is_heard

    assert config.discovery is not None  # noqa: S101 - the caller looked
    settings = config.discovery
    found: list[tuple[str, str, str]] = []
    by_network = [way for way in settings.ways if way != "ble"]
    if by_network:
        container = in_container()
        reason, hint = why_nothing_is_heard(read_interfaces(), chosen=settings.interfaces, container=container)
        found += [(way, reason, hint) for way in by_network if reason]
    if "ble" in settings.ways:
        from agent.discovery.ble.trouble import trouble_of

        reason, hint = asyncio.run(trouble_of(settings.adapter, deadline_s=CONNECT_S))
        found += [("ble", reason, hint)] if reason else []
    return found


def _enrolled_cameras(config: "Config", ask_status: AskStatus) -> Iterator[Finding]:
    """Tell of each enrolled camera how far it is proved, and whether the running agent reaches it."""
    answer = ask_status()
    for one in () if answer is None else answer["cameras"]:
        if one["source"]:
            continue  # of a folder or a stream, whose own check tells
        name, how, radio = f"camera {one['camera']}", one["how"], one.get("bluetooth", {})
        by_hand = one.get("collection", {}).get("by") == "hand"
        level = one["level"] + ("; switched off by hand" if by_hand else "")
        is_said = by_hand and how["state"] == "switched_off"
        told = level if is_said else f"{level}; {how['state'].replace('_', ' ')}"
        told += f": {how['reason']}" if "reason" in how else ""
        if how["state"] in {"not_heard", "not_looked_for"} and "privacy_state" in radio:
            yield Finding(name, "good", f"{level}; answers over Bluetooth")
        elif radio.get("wants") == "passkey":
            wants = f"{level}; its Bluetooth wants a passkey"
            yield Finding(name, "look", wants, config.command(f"passkey {one['camera']}"))
        else:
            yield Finding(name, "look" if "next" in how else "good", told, how.get("next", ""))


def _identity(config: "Config") -> Iterator[Finding]:
    from agent.broker import load_identity
    from agent.clock import system_clock

    assert config.broker is not None  # noqa: S101 - the caller asked for a broker's identity
    identity = load_identity(config.broker.identity)
    if identity.name != config.device:
        yield Finding(
            "TLS identity",
            "bad",
            f"the certificate names {identity.name!r}, the config {config.device!r}",
            _mend_name(config, named=identity.name),
        )
        return
    days = (identity.expires_ms - system_clock()().wall_ms) // _DAY_MS
    if days < 0:
        yield Finding("TLS identity", "bad", "the certificate has expired", "python -m certs renew DIR NAME")
    elif days < _EXPIRY_DAYS:
        yield Finding("TLS identity", "look", f"expires in {days} days", "python -m certs renew DIR NAME")
    else:
        yield Finding("TLS identity", "good", f"{identity.name}, {days} days left")


def _mend_name(config: "Config", *, named: str) -> str:
    """Return what to write where the certificate names another: a device that was set up keeps its name."""
    from agent.app.naming import name_given
    from agent.files import is_there

    given = name_given(config)
    rename = f'write device = "{named}" in {config.file}'
    if given == named:
        return rename
    own = given or config.device
    other_folder = f"name the folder of {own}'s certificate in [broker] identity of {config.file}"
    return other_folder if is_there(config.keystore) else f"{other_folder}; or, only before init: {rename}"


def _broker(config: "Config", ask_status: AskStatus) -> Iterator[Finding]:
    assert config.broker is not None  # noqa: S101 - the caller asked for a broker
    answer = ask_status()
    if answer is None:
        yield asyncio.run(_try_broker(config))
    elif answer["broker"]["online"]:
        yield Finding("broker", "good", f"{config.broker.url}, the running agent is online")
    elif "trouble" in answer["broker"]:
        yield Finding("broker", "bad", answer["broker"]["trouble"], answer["broker"]["next"])
    else:
        yield Finding("broker", "look", "the running agent is not online yet", f"ask again: {config.command('status')}")


async def _try_broker(config: "Config") -> Finding:
    from agent.broker import Broker

    assert config.broker is not None  # noqa: S101 - the caller asked for a broker
    broken: list[str] = []
    settings = config.broker
    broker = Broker(
        settings.url,
        tenant=settings.tenant,
        identity=settings.identity,
        alert=lambda code, what: broken.append(f"{code}: {what}"),
    )
    async with asyncio.TaskGroup() as tasks:
        line = tasks.create_task(broker.run(), name="broker")
        try:
            await broker.first_session(within_s=CONNECT_S)
            await broker.require_echo(within_s=CONNECT_S)
            finding = Finding("broker", "good", f"{settings.url}, MQTT {_MQTT[broker.protocol]}")
        except AgentError as error:  # caught here: out of the task group it would come as a group
            finding = Finding("broker", "bad", error.message, error.hint)
        await broker.aclose()
        await line
    if broken:
        return Finding("broker", "bad", broken[0], "correct the broker's access rules: docs/protocol.md section 1")
    return finding
