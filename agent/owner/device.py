"""What we keep of one device: its descriptor, the last sequence number, sent commands, receipts, the highest head.

    descriptor.jws          as the device signed it
    seq                     the last number that was given out; durable before it is used
    head.json               the highest audit head that a receipt stated
    commands/SEQ-JTI.jws    the signed command; .msg are the bytes that are sent, the same at every repeat, until the
                            command is forgotten
    receipts/CMD.JTI.jws    the receipt as the device signed it, to be verified again at any time
    alerts/CODE.SINCE[.ABOUT].jws   the alert as the device signed it last, one for each time since which it stood

A device is added with the Unix time as its first number: an owner who lost this folder and adds the device again starts
above every number that was used before.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

from agent import files
from agent.chain import Head
from agent.envelope import Descriptor
from agent.errors import ConfigError, CorruptError
from agent.model import is_id
from agent.owner.command import Signed, claims_of
from agent.owner.home import Home, read_descriptor, read_file
from agent.owner.receipt import Alert, Receipt, read_alert, read_receipt

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_COMMAND: Final = re.compile(r"([0-9]{1,16})-([a-z2-7]{26})\.jws")
_SEQ: Final = re.compile(rb"\s*([0-9]{1,16})\s*")


class Device:
    """One device's folder; holds no state, all of it is files."""

    def __init__(self, folder: Path, descriptor: Descriptor) -> None:
        self.folder = folder
        self.descriptor = descriptor

    @property
    def name(self) -> str:
        """The device id."""
        return self.descriptor.name

    # --- sequence numbers; the caller holds the home's lock

    def take_seq(self) -> int:
        """Return the next number; it is durable that it was given out."""
        path = self.folder / "seq"
        seq = _number(path) + 1
        files.write_durably(path, b"%d\n" % seq)
        return seq

    def raise_seq(self, next_seq: int) -> None:
        """Give out nothing below ``next_seq`` from now on: the device said so in a ``stale_seq`` receipt."""
        path = self.folder / "seq"
        if _number(path) < next_seq - 1:
            files.write_durably(path, b"%d\n" % (next_seq - 1))

    # --- commands

    def keep_command(self, signed: Signed) -> None:
        """Keep a command before it is sent."""
        stem = f"{signed.seq}-{signed.jti}"
        files.write_durably(self.folder / "commands" / f"{stem}.msg", signed.payload)
        files.write_durably(self.folder / "commands" / f"{stem}.jws", signed.jws)

    def forget(self, signed: Signed) -> None:
        """Never send a kept command again. Its record stays, so that an answer to it is still believed."""
        files.remove(self.folder / "commands" / f"{signed.seq}-{signed.jti}.msg")

    def commands(self) -> tuple[Signed, ...]:
        """Return every kept command, in order of its number."""
        return self._commands("*")

    def command(self, jti: str) -> Signed | None:
        """Return a kept command."""
        return next(iter(self._commands(jti)), None) if is_id(jti) else None

    def _commands(self, jti: str) -> tuple[Signed, ...]:
        found = []
        for path in (self.folder / "commands").glob(f"*-{jti}.jws"):
            match = _COMMAND.fullmatch(path.name)
            if match is None:
                continue
            jws = read_file(path)
            message = path.with_suffix(".msg")
            payload = read_file(message) if message.exists() else b""
            verb = str(claims_of(jws).get("verb", ""))
            found.append(Signed(jti=match[2], seq=int(match[1]), verb=verb, jws=jws, payload=payload))
        return tuple(sorted(found, key=lambda signed: signed.seq))

    def pending(self) -> tuple[Signed, ...]:
        """Return what has no final receipt and can be sent again; an ``erase-all`` has none before its last word."""
        ended = {receipt.cmd for receipt in self.receipts() if receipt.last}
        return tuple(signed for signed in self.commands() if signed.payload and signed.jti not in ended)

    def leaving(self) -> tuple[Signed, Receipt | None] | None:
        """Return the newest ``erase-all`` and its newest receipt, until its last word is here; ``None`` without one.

        Of one that was refused nothing is still to come.
        """
        for signed in reversed(self.commands()):
            if signed.verb == "erase-all":
                newest = next(reversed(self.receipts(signed.jti)), None)
                if newest is None or not newest.last:
                    return signed, newest
        return None

    # --- receipts

    def keep_receipt(self, jws: bytes, receipt: Receipt) -> bool:
        """Keep a verified receipt and the audit head that it states; return whether it was new.

        Raises ``CorruptError`` when its head contradicts one that we hold: the device's log was rewritten.
        """
        path = self.folder / "receipts" / f"{receipt.cmd}.{receipt.jti}.jws"
        new = not path.exists()
        if new:
            files.write_durably(path, jws + b"\n")
        held = self.head()
        if held is None or receipt.head.seq > held.seq:
            files.write_durably(self.folder / "head.json", msgspec.json.encode(receipt.head))
        elif receipt.head.seq == held.seq and receipt.head.hash != held.hash:
            raise CorruptError(
                f"{self.name}: entry {held.seq} of its audit log has another hash than before",
                hint="its log was rewritten; keep both receipts and ask who had access to the device",
            )
        return new

    def receipts(self, cmd: str = "") -> tuple[Receipt, ...]:
        """Return the kept receipts, oldest first; each is verified again.

        Two that came within a tick of the file system's clock are told apart by the audit head that they state.
        """
        paths = (self.folder / "receipts").glob(f"{cmd or '*'}.*.jws")
        found = [(path.stat().st_mtime_ns, path.name, self._receipt(path)) for path in paths]
        found.sort(key=lambda row: (row[2].audit_head.seq, row[2].terminal, *row[:2]))
        return tuple(receipt for _when, _name, receipt in found)

    # --- alerts

    def keep_alert(self, jws: bytes, alert: Alert) -> None:
        """Keep a verified alert in place of what it said before of the same."""
        files.make_folder(self.folder / "alerts")
        about = f".{alert.about}" if alert.about else ""
        files.write_durably(self.folder / "alerts" / f"{alert.code}.{alert.since}{about}.jws", jws + b"\n")

    def alerts(self) -> tuple[Alert, ...]:
        """Return the kept alerts, each verified again, in the order in which they began."""
        found = []
        for path in (self.folder / "alerts").glob("*.jws"):
            try:
                found.append(read_alert(read_file(path).strip(), device=self.descriptor, kid=""))
            except CorruptError as error:
                raise CorruptError(
                    f"{path}: {error.message}", hint="remove it; the device tells what stands"
                ) from error
        return tuple(sorted(found, key=lambda alert: (alert.since, alert.code, alert.about)))

    # --- what they tell

    def terminal(self, cmd: str) -> Receipt | None:
        """Return the first terminal receipt of a command."""
        return next((receipt for receipt in self.receipts(cmd) if receipt.terminal), None)

    def head(self) -> Head | None:
        """Return the highest audit head that the device stated."""
        path = self.folder / "head.json"
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(read_file(path), type=Head)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ConfigError(f"{path}: {error}", hint="remove it; the next receipt writes it again") from error

    def _receipt(self, path: Path) -> Receipt:
        try:
            return read_receipt(read_file(path).strip(), device=self.descriptor, kid="")
        except CorruptError as error:
            raise CorruptError(f"{path}: {error.message}", hint="remove it; the device repeats it") from error


def add(home: Home, raw: bytes, descriptor: Descriptor, *, first_seq: int) -> Device:
    """Keep a device whose fingerprint was compared; the same one again is no change, another key ``ConfigError``."""
    if _NAME.fullmatch(descriptor.name) is None:
        raise ConfigError(f"{descriptor.name!r} is no device id", hint="1 to 64 characters of A-Z a-z 0-9 _ -")
    folder = home.path / "devices" / descriptor.name
    if (folder / "seq").exists():
        known = read_descriptor(folder / "descriptor.jws")
        if (known.kid, known.recipient) != (descriptor.kid, descriptor.recipient):
            raise ConfigError(
                f"a device {descriptor.name} with other keys is known ({known.fingerprint})",
                hint=f"if it was set up anew, move {folder} away and add it again",
            )
        return Device(folder, known)
    for name in (folder, folder / "commands", folder / "receipts"):
        files.make_folder(name)
    files.write_durably(folder / "descriptor.jws", raw)
    files.write_durably(folder / "seq", b"%d\n" % first_seq)
    return Device(folder, descriptor)


def _number(path: Path) -> int:
    """Read a sequence number; raises ``ConfigError``."""
    match = _SEQ.fullmatch(read_file(path))
    if match is None:
        raise ConfigError(f"{path}: not a number", hint="write the highest seq that the device knows into it")
    return int(match[1])


def devices(home: Home) -> tuple[Device, ...]:
    """Return every known device, by name; raises ``ConfigError`` for a damaged descriptor."""
    home.require()
    folders = sorted(path for path in (home.path / "devices").iterdir() if (path / "seq").exists())
    return tuple(Device(folder, read_descriptor(folder / "descriptor.jws")) for folder in folders)


def pick(home: Home, name: str) -> Device:
    """Return the device of that name; without a name the default one, or the only one. Raises ``ConfigError``."""
    known = devices(home)
    wanted = name or home.settings().device
    if not known:
        raise ConfigError("no device is known yet", hint=home.command("device add DEVICE.jws"))
    if not wanted and len(known) == 1:
        return known[0]
    found = next((device for device in known if device.name == wanted), None)
    if found is None:
        names = ", ".join(device.name for device in known)
        what = f"device {wanted!r} is not known" if wanted else "several devices are known"
        raise ConfigError(what, hint=f"name one with --device: {names}")
    return found


def signer(home: Home, name: str, *, unverified_kid: str, what: str) -> Device:
    """Return the device that what it signed is judged by: the one of that name, without a name the one whose key it is.

    The key id is believed for nothing else: the signature is checked with the key that we keep of that device. A name
    beside the key of another known device raises ``ConfigError`` that names the file, ``what``: nothing may be wrong
    with it. A key of no known device is left to the device that is meant, which did not sign it.
    """
    found = next((device for device in devices(home) if device.descriptor.kid == unverified_kid), None)
    if found is None:
        return pick(home, name)
    if name and pick(home, name).name != found.name:
        raise ConfigError(
            f"{what}: the key that it names is that of {found.name}, not of {name}", hint=f"add --device {found.name}"
        )
    return found
