"""First start: an unowned device gets its keys, its owner, and commented config and policy to edit.

The order, and what is true if power fails after each: keystore made (a device without an owner, which collects
nothing) → index made and the owner installed with the first key set, in one transaction → descriptor, policy and config
written, each whole or not at all. Running it again with the same owner goes on where it stopped; another owner is
refused before anything changes, and so are another name and one while an agent has the state folder, also one that is
just leaving its owner. A device that had an owner before keeps that one's cut-offs (``agent/former.py``) and
nothing else: not even its policy.
"""

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from agent import files, former
from agent.app import unowned
from agent.app.lock import opened_lock, take
from agent.app.naming import descriptor_of, require_name_given
from agent.app.parts import require_no_orphan
from agent.clock import ReadClock
from agent.config import Config
from agent.envelope import Descriptor, KeySet, parse_descriptor, sign
from agent.envelope.kinds import TYP_DESCRIPTOR
from agent.errors import ConfigError, CorruptError
from agent.files import read_whole
from agent.index import Index, Tx
from agent.keystore import Keystore
from agent.model import Moment
from agent.timeline import Timeline
from agent.trust import Trust

OWNER_FILE_BYTES: Final = 256 << 10


class OwnerFile(msgspec.Struct, frozen=True):
    """``owner.pub`` as ``privacy-owner init`` writes it: the owner's descriptor, then the first key set."""

    owner: Descriptor
    key_set: bytes


class Initialised(msgspec.Struct, frozen=True, kw_only=True):
    """What a person needs to know after ``init``."""

    device: str
    engine: str
    fingerprint: str
    owner_fingerprint: str
    descriptor: Path
    written: tuple[Path, ...]
    kept: tuple[Path, ...]


def read_owner_file(path: Path) -> OwnerFile:
    """Read ``owner.pub``; raises ``ConfigError`` when it is not one."""
    raw = read_whole(path, max_bytes=OWNER_FILE_BYTES, hint="privacy-owner init writes owner.pub")
    first, _, rest = raw.partition(b"\n")
    try:
        owner = parse_descriptor(first)
    except CorruptError as error:
        raise _no_owner_file(path, error.message) from error
    if owner.role != "owner":
        raise _no_owner_file(path, f"it describes a {owner.role}")
    if not rest.strip():
        raise _no_owner_file(path, "its key set is missing")
    return OwnerFile(owner, rest.strip())


def _no_owner_file(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path}: this is no owner.pub: {why}", hint="give the owner.pub of: privacy-owner init")


def initialise(
    config: Config, owner_file: OwnerFile, *, documents: dict[Path, str], read_clock: ReadClock
) -> Initialised:
    """Make the device's keys and its owner, and write ``documents`` that are not there yet.

    Raises ``ConfigError`` for a second owner or unusable folders, ``LinkError`` while an agent runs, ``RefusedError``
    and ``CorruptError`` for a key set that the owner did not sign. The device then has the owner that it had, or none,
    and no document was written.
    """
    try:
        files.make_folder(config.state)
        with opened_lock(config) as fd:
            take(fd, config)
            return _initialise(config, owner_file, documents=documents, read_clock=read_clock)
    except OSError as error:
        named = Path(error.filename2 or error.filename or config.state)
        where = named.parent if named.suffix == files.PART_SUFFIX else named
        raise ConfigError(
            f"{where}: {error.strerror}",
            hint="run this as root, or name folders that you may write in: --config FILE --state FOLDER",
        ) from error


def _initialise(
    config: Config, owner_file: OwnerFile, *, documents: dict[Path, str], read_clock: ReadClock
) -> Initialised:
    require_no_orphan(config)
    if unowned.was_begun(config):
        unowned.finish(config)
    require_name_given(config)
    outlived = unowned.read_former(config)
    with contextlib.closing(_keystore(config)) as keystore:
        with contextlib.closing(Index(config.index, key=keystore.index_key())) as index:
            index.write_now(lambda tx: _install(tx, owner_file, outlived, read_clock=read_clock))
        descriptor = describe(keystore, device=config.device)
        engine = keystore.engine
    fingerprint = parse_descriptor(descriptor).fingerprint
    path = descriptor_of(config)
    written, kept = [path], []
    files.write_durably(path, descriptor + b"\n")
    for target, text in documents.items():
        if target.exists() and (outlived is None or target != config.policy):  # the former owner's governs nothing
            kept.append(target)
            continue
        files.make_folder(target.parent)
        files.write_durably(target, text.encode())
        written.append(target)
    if outlived is not None:
        unowned.owned(config)
    return Initialised(
        device=config.device,
        engine=engine,
        fingerprint=fingerprint,
        owner_fingerprint=owner_file.owner.fingerprint,
        descriptor=path,
        written=tuple(written),
        kept=tuple(kept),
    )


def _keystore(config: Config) -> Keystore:
    if config.keystore.exists():
        return Keystore.open(config.keystore, tpm=config.tpm)
    return Keystore.create(config.keystore, tpm=config.tpm)


def _install(tx: Tx, owner_file: OwnerFile, outlived: former.Former | None, *, read_clock: ReadClock) -> KeySet:
    timeline = Timeline.load(tx)
    moment: Moment = timeline.look(read_clock())
    timeline.keep(tx)
    trust = Trust()
    trust.install_owner(tx, owner_file.owner, moment=moment)
    if outlived is not None:
        former.keep(tx, outlived)
    return trust.key_set(tx) or trust.accept_key_set(tx, owner_file.key_set, moment=moment)


def describe(keystore: Keystore, *, device: str) -> bytes:
    """Return the device's self-signed descriptor (``docs/protocol.md`` §3)."""
    claims = {
        "v": 1,
        "role": "device",
        "name": device,
        "jwk": keystore.public_jwk(),
        "alg": keystore.alg,
        "recipient": keystore.recipient(),
    }
    return sign(claims, typ=TYP_DESCRIPTOR, kid=keystore.kid, alg=keystore.alg, sign=keystore.sign)


CONFIG_TEMPLATE: Final = """\
# Where things are. What may happen to data is in the policy.
device = "{device}"             # the name that commands are addressed to; equals the TLS certificate's
policy = "{policy}"
state = "{state}"

{keystore}
[clock]
source = "{clock}"               # ntp: the kernel's word; system: this clock is set by something trustworthy

{broker}
# [discovery]                   # without it no camera is listened for, and none that is enrolled is found by itself
# ways = ["mdns", "onvif", "ble"]
# interfaces = ["eth0"]         # left out: all that can multicast
# adapter = "hci0"              # left out: the first Bluetooth adapter

{sources}
"""

KEYSTORE_TEMPLATE: Final = """\
[keystore]
engine = "tpm"                  # signs in the TPM; what is deleted stays deleted when disk and keystore are put back
# tcti = "device:/dev/tpmrm0"   # where the TPM is, as tpm2-tss names it
# counter = 0x01810730          # the NV index of this agent alone; another agent beside it needs another
"""

KEYSTORE_EXAMPLE: Final = """\
# [keystore]
# engine = "tpm"                # only before init: then keys are made in a TPM 2.0 and never leave it
"""

BROKER_TEMPLATE: Final = """\
[broker]
url = "{url}"
tenant = "{tenant}"
identity = "{identity}"         # folder with tls.crt, tls.key, ca.crt
"""

BROKER_EXAMPLE: Final = """\
# [broker]                      # without a broker nothing is uploaded; commands come as files (privacy-agent submit)
# url = "mqtts://mqtt.example:8883"
# tenant = "acme"
# identity = "/etc/privacy-agent/tls"   # folder with tls.crt, tls.key, ca.crt
"""

SOURCE_TEMPLATE: Final = """\
[[source]]
kind = "{kind}"                 # spool | frigate | motioneye | timelapse
path = "{path}"
medium = "{medium}"             # tmpfs | encrypted | disk
"""

SOURCE_EXAMPLE: Final = """\
# [[source]]
# kind = "frigate"              # spool | frigate | motioneye | timelapse
# path = "/media/frigate/recordings"
# after = "leave"               # or "take": give up the source's copy once ours is durable
# medium = "disk"               # tmpfs | encrypted | disk
"""
