"""Steps 5 to 8: an upload is cut and goes on, the store confirms, and only the owner can read what the store holds."""

import hashlib
import importlib
import math
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from device_sim.cloud.observer import read_record
from device_sim.cloud.wire import BYTE
from device_sim.demo import picture
from device_sim.demo.found import Found, Told
from device_sim.demo.opening import look, payload_of
from device_sim.demo.screen import Live, bar, size
from device_sim.demo.stage import DEVICE, TENANT, Child, Stage

pyrage: Any = importlib.import_module("pyrage")  # it ships no type information

KILL_AT: Final = 0.6
FRAME_AT_S: Final = 2.0
_LOOK_S: Final = 0.005
_QUIET_S: Final = 0.25
_CHUNK_HEAD: Final = struct.Struct(">BQ")


def start_cloud(stage: Stage, found: Found) -> Child:
    """Start the vendor's side: store and backend; and somebody who reads everything on the broker."""
    backend = stage.folder / "tls" / "backend"
    watcher = stage.start(
        "observer", "device-sim", "cloud", "observe", "--broker", found.broker_url, "--identity", backend,
        "--out", seen_by_all(stage),
    )  # fmt: skip
    cloud = stage.start(
        "cloud", "device-sim", "cloud", "--dir", stage.folder / "cloud", "--broker", found.broker_url, "--identity",
        backend, "--tenant", TENANT, "--device-descriptor", stage.state / "device.jws", "--json",
    )  # fmt: skip
    cloud.wait("online")
    stage.until(lambda: b"recording" in watcher.log.read_bytes(), "somebody to watch the broker")
    return cloud


def upload(stage: Stage, found: Found, cloud: Child, *, live: Live) -> tuple[Told, Child]:
    """Step 5: SIGKILL once 60 % have arrived; the next start goes on from what the store has durably."""
    total = found.payload_bytes
    live("sending")
    agent = stage.run_agent()
    begun = cloud.wait("begin", bytes=total)
    part = stage.folder / "cloud" / "part" / DEVICE / str(begun["upload"])
    reached = _watch(stage, part, total, live)
    agent.kill()
    live(f"killed at  {bar(reached, total)}")
    cloud.wait("ack", upload=begun["upload"])  # on a slow disk later than what the file has by now
    cloud.quiet(_QUIET_S)
    acks = [int(one["offset"]) for one in cloud.events("ack", upload=begun["upload"])]
    found.killed_at_bytes, found.durable_bytes = reached, max(acks)
    stored_before = bool(cloud.events("stored", upload=begun["upload"]))
    before = cloud.told()
    agent = stage.run_agent()
    found.resumed_at_bytes = int(cloud.wait("go", after=before, upload=begun["upload"])["offset"])
    live(f"goes on at {bar(found.resumed_at_bytes, total)}")
    cloud.wait("stored", upload=begun["upload"])
    chunks = _record(stage, str(begun["upload"]), total)
    found.resent_bytes = sum(length for _offset, length in chunks) - total
    durable_again = _again_below(chunks, found.resumed_at_bytes)
    return Told(
        seen=f"kill -9 with {100 * reached / total:.0f} % at the store; after the restart it went on at byte"
        f" {found.resumed_at_bytes:,} of {total:,}; sent twice: {size(found.resent_bytes)},"
        f" of what was durable: {size(durable_again)}",
        proves="a lost agent loses no work: what the store has durably is never sent again",
        figure=f"cut at {100 * reached / total:.0f} %, on at {100 * found.resumed_at_bytes / total:.0f} %",
        claims={
            "the agent died before the upload was complete": not stored_before,
            "it went on where the store was": found.resumed_at_bytes >= found.durable_bytes,
            "what was durable was not sent again": durable_again == 0,
        },
    ), agent


def receipt(stage: Stage, found: Found, cloud: Child, *, live: Live) -> Told:
    """Step 6: only the store's signed word makes an object count as uploaded."""
    live("the store's signed receipts")
    wanted = {found.objects["kept"], found.objects["deleted"]}
    for one in wanted:
        cloud.wait("stored", object=one)
    stage.until(lambda: wanted <= set(_uploaded(stage)), "both clips to be confirmed by the store")
    copies = stage.agent("explain", found.objects["kept"], "--json").json()["copies"]
    at_store = [copy for copy in copies if copy["state"] == "stored"]
    stored = stored_files(stage, "kept", found)
    same = stored[1].read_bytes() == payload_of(stage, "kept", found).read_bytes()
    return Told(
        seen=f"signed storage receipts for {len(wanted)} clips; the kept one lies at: {at_store[0]['where']}",
        proves="“uploaded” means the store signed that it has it durably, not that bytes left the house",
        figure=f"{len(wanted)} of {len(wanted)} confirmed",
        claims={
            "the agent holds the store's receipt": len(at_store) == 1,
            "the store's payload is the agent's, byte for byte": same,
        },
    )


def unreadable(stage: Stage, found: Found, *, live: Live) -> Told:
    """Step 7: the same frame as the owner opens it and as the cloud holds it."""
    live("a signed command, carried as a file: an export whose header is sealed anew, the payload as it is")
    exported = stage.state / "vault" / "exports" / _export(stage, found.objects["kept"])
    out = stage.folder / "opened"
    opened = stage.owner("open", exported, "-o", out, "--json").json()
    found.opened_clip = out / opened["files"][0]
    live("the same frame twice")
    found.owner_frame, found.frame_size = picture.frame_png(found.opened_clip, at_s=FRAME_AT_S)
    payload = stored_files(stage, "kept", found)[1]
    sealed = payload.read_bytes()
    found.cloud_frame = picture.noise_png(sealed, found.frame_size)
    live("looking at every byte that cloud and broker wrote, and that anybody on the broker saw")
    clear = look(found, stage.folder / "cloud", stage.folder / "broker", seen_by_all(stage))
    found.searched.append(("cloud, broker and all messages", clear.files, clear.bytes, len(clear.hits)))
    bits = entropy(sealed)
    return Told(
        seen=f"the owner sees the picture, the cloud {bits:.4f} bits of noise in 8; {size(clear.bytes)} of cloud,"
        f" broker and all messages searched: {len(clear.hits)} clear samples",
        proves="the store keeps and serves what it cannot look at",
        figure=f"{len(clear.hits)} clear samples in {size(clear.bytes)}",
        claims={
            "the opened clip is the camera's, byte for byte": _sha256(found.opened_clip)
            == found.sources["kept"].sha256,
            "a player finds no picture in what the cloud holds": not _plays(payload),
            "no clear sample or name at cloud and broker": not clear.hits,
        },
        hits=clear.hits,
    )


def stock_tools(stage: Stage, found: Found, *, live: Live) -> Told:
    """Step 8: header and payload put together are an ordinary age file."""
    header, payload = stored_files(stage, "kept", found)
    whole = stage.folder / "kept.age"
    with whole.open("wb") as file:
        file.write(header.read_bytes() + payload.read_bytes())
    identity = stage.home / "identity.txt"
    wanted = found.sources["kept"].sha256
    live("cat header payload | age -d")
    results = {"pyrage (Rust)": _with_pyrage(whole, identity) == wanted}
    if age := shutil.which("age"):
        results[f"age {_version(age)}"] = _with_age(age, whole, identity) == wanted
    found.readers = [name for name, opened in results.items() if opened]
    missing = "" if age else " (age itself is not installed here)"
    return Told(
        seen=f"cat header payload is an age file: opened with the owner's key by {', '.join(found.readers)}{missing}",
        proves="your recordings never depend on this program: any age tool opens them",
        figure=" and ".join(found.readers),
        claims={f"{name} opens it to the camera's bytes": opened for name, opened in results.items()},
    )


def stored_files(stage: Stage, role: str, found: Found) -> tuple[Path, Path]:
    """Return where the cloud keeps header and payload."""
    place = stage.folder / "cloud" / "store" / DEVICE / found.objects[role]
    return place / "header", place / "payload"


def seen_by_all(stage: Stage) -> Path:
    """Return the record of every message that went over the broker."""
    return stage.folder / "all-messages.bin"


def entropy(data: bytes) -> float:
    """Return Shannon's entropy of the bytes, in bits for each byte."""
    return -sum(count / len(data) * math.log2(count / len(data)) for count in Counter(data).values())


def _export(stage: Stage, object_id: str) -> str:
    """Have an export built by a command that needs no broker; return the export's id out of the signed receipt."""
    command, answer = stage.folder / "export-command.bin", stage.folder / "export-answer.bin"
    stage.owner("export", object_id, "--out", command, "--json")
    stage.agent("submit", command, "-o", answer, "--json")
    told = stage.owner("receipt", answer, "--json").json()
    last = told[-1] if isinstance(told, list) else told
    return str(last["export"]["object"])


def _watch(stage: Stage, part: Path, total: int, live: Live) -> int:
    """Return, at once, how much has arrived when it is enough; what arrives is watched in the store's own file."""
    reached = 0

    def enough() -> bool:
        nonlocal reached
        reached = part.stat().st_size if part.exists() else reached
        live(f"sending {bar(reached, total)}")
        return reached >= KILL_AT * total

    stage.until(enough, "the upload to come to 60 %", look_every_s=_LOOK_S)
    return reached


def _record(stage: Stage, upload_id: str, total: int) -> list[tuple[int, int]]:
    """Return offset and length of every chunk that travelled, as somebody on the broker saw them."""

    def arrived() -> list[tuple[int, int]]:
        return sorted(_chunks(stage, upload_id))

    stage.until(lambda: _covers(arrived(), total), "the record of all messages")
    return arrived()


def _again_below(chunks: list[tuple[int, int]], durable: int) -> int:
    """Count the bytes below ``durable`` that travelled more than once."""
    return sum(min(offset + length, durable) - offset for offset, length in chunks if offset < durable) - durable


def _chunks(stage: Stage, upload_id: str) -> Iterator[tuple[int, int]]:
    try:
        for topic, message in read_record(seen_by_all(stage)):
            if topic.endswith(f"/up/{upload_id}") and message[:1] == bytes((BYTE["chunk"],)):
                yield _CHUNK_HEAD.unpack_from(message)[1], len(message) - _CHUNK_HEAD.size
    except struct.error:
        return  # the last message is being written


def _covers(chunks: list[tuple[int, int]], total: int) -> bool:
    reached = 0
    for offset, length in chunks:
        if offset > reached:
            return False
        reached = max(reached, offset + length)
    return reached >= total


def _uploaded(stage: Stage) -> list[str]:
    objects = stage.agent("inventory", "--json").json()["objects"]
    return [str(one["id"]) for one in objects if one["state"] == "uploaded"]


def _plays(path: Path) -> bool:
    try:
        picture.frame_png(path, at_s=0.0)
    except ValueError:
        return False
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_pyrage(whole: Path, identity: Path) -> str:
    keys = [line for line in identity.read_text(encoding="utf-8").splitlines() if line.startswith("AGE-SECRET-KEY-")]
    plain = pyrage.decrypt(whole.read_bytes(), [pyrage.x25519.Identity.from_str(key) for key in keys])
    return hashlib.sha256(plain).hexdigest()


def _with_age(age: str, whole: Path, identity: Path) -> str:
    done = subprocess.run([age, "-d", "-i", str(identity), str(whole)], capture_output=True, check=False)
    return hashlib.sha256(done.stdout).hexdigest() if done.returncode == 0 else ""


def _version(age: str) -> str:
    done = subprocess.run([age, "--version"], capture_output=True, check=False, text=True)
    return done.stdout.strip()
