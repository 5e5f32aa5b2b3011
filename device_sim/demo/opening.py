"""Steps 1, 3 and 4: everybody gets keys, the camera writes, and what it wrote is sealed before it is stored."""

import hashlib
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from device_sim.cloud import clock
from device_sim.demo import asking
from device_sim.demo.found import Found, Source, Told
from device_sim.demo.residue import Needles, Search, sample, search
from device_sim.demo.screen import Live, size
from device_sim.demo.stage import DEVICE, OWNER, TENANT, Child, DemoError, Stage

CAMERA: Final = "Front door"
CAMERA_FOLDER: Final = "front_door"
PHOTO_AGE: Final = "8s"
CUT_AFTER_S: Final = 3.5
"""The upload's rate is the payload over this; a second of it may go at once, so a kill at 60 % is never too late."""

_LEAST_RATE: Final = 200_000
_HEAD_BYTES: Final = 16
_PLANT_BYTES: Final = 262_144
_PLANT_AFTER_BYTES: Final = 100_003


def start_camera(stage: Stage, clip: Path | None) -> list[Child]:
    """Let the camera write: a short clip with a photo, then a long one; it needs a moment, so it starts first."""
    common = ("--spool", stage.spool, "--name", CAMERA, "--count", "1", "--rate", "0", "--fps", "15", "--json")
    noon = _last_noon(clock.now_s())
    short = stage.start(
        "camera", "device-sim", "camera", *common, "--photos", "--seconds", "2", "--bits-per-s", "3000000",
        "--start", f"{noon - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}",
    )  # fmt: skip
    drawn = ("--seconds", "8", "--bits-per-s", "10000000", "--seed", "7", "--start", f"{noon:%Y-%m-%dT%H:%M:%SZ}")
    own = ("--clip", clip) if clip else drawn
    return [short, stage.start("camera-long", "device-sim", "camera", *common, *own)]


def _last_noon(now_s: int) -> datetime:
    """Return when it last was noon: the drawn camera's nights are as dark as real ones, and this is to be looked at."""
    now = datetime.fromtimestamp(now_s, UTC)
    noon = now.replace(hour=12, minute=0, second=0)
    return noon if noon + timedelta(minutes=1) < now else noon - timedelta(days=1)


def set_up(stage: Stage, found: Found, *, engine: str, live: Live) -> Told:
    """Step 1: certificates, the cloud's keys, the owner's root, the device's keys; fingerprints compared."""
    tls = stage.folder / "tls"
    live("certificates: a CA, the broker, the backend, the owner, the device")
    stage.ask("certs", "init", tls, "--device", DEVICE, "--json")
    live("the cloud's keys")
    stage.ask("device-sim", "cloud", "init", stage.folder / "cloud", "--json")
    live("a broker")
    broker = stage.start(
        "broker", "device-sim", "broker", "--dir", stage.folder / "broker", "--certs", tls, "--engine", engine, "--json"
    )
    facts = broker.wait()
    found.engine, found.broker_url = facts["engine"], facts["url"]
    line = ("--broker", found.broker_url, "--tenant", TENANT)
    live("the owner: root key, first key set, recovery sheet")
    cloud = stage.folder / "cloud"
    me = stage.owner(
        "init", "--name", OWNER, "--classic", "--backend", cloud / "backend.json", "--store",
        cloud / "store.json", *line, "--tls", tls / "owner", "--json",
    ).json()  # fmt: skip
    live("the device: its keys, its owner")
    device = stage.agent(
        "init", "--owner", me["owner_file"], "--device", DEVICE, "--state", stage.state, "--clock", "system",
        "--source", f"spool:{stage.spool}", "--medium", stage.spool_medium, *line, "--identity", tls / DEVICE, "--json",
    ).json()  # fmt: skip
    shown = device["fingerprint"]
    known = stage.owner("device", "add", stage.state / "device.jws", "--accept", shown, "--json").json()
    found.fingerprint = shown
    proof = (
        "client certificates enforced" if found.engine == "mosquitto" else "no client certificates: install mosquitto"
    )
    return Told(
        seen=f"{found.engine} broker over TLS ({proof}); owner and device hold each other's fingerprint {shown[:19]}…",
        proves="who may command is fixed by keys from the first minute; the recovery sheet can rebuild the owner",
        figure=f"{len(list(tls.glob('*/tls.crt')))} certificates, 1 owner, 1 device",
        claims={
            "device and owner computed the same device fingerprint": known["fingerprint"] == shown,
            "the device was told the owner's own fingerprint": device["owner_fingerprint"] == me["fingerprint"],
            "a recovery sheet was written": Path(me["sheet"]).is_file(),
        },
    )


def record(stage: Stage, found: Found, cameras: list[Child], *, live: Live) -> Told:
    """Step 3: real files by the camera, sampled before anybody else sees them."""
    live("writing H.264 video with a burnt-in clock")
    for camera in cameras:
        if camera.finish():
            raise DemoError(f"the camera failed\n  next: read {camera.log}")
    short, long = (camera.events(kind="recording") for camera in cameras)
    photo = cameras[0].events(kind="photo")
    for role, told in (("kept", long), ("deleted", short), ("expired", photo)):
        path = Path(told[0]["path"])
        raw = path.read_bytes()
        found.sources[role] = Source(
            name=path.name,
            category=str(told[0]["kind"]),
            size_bytes=len(raw),
            sha256=hashlib.sha256(raw).hexdigest(),
            head=raw[:_HEAD_BYTES],
            piece=raw[:_PLANT_BYTES],
            needles=sample(raw),
        )
    write_policy(stage, found)
    total = sum(source.size_bytes for source in found.sources.values())
    samples = sum(source.needles.count for source in found.sources.values())
    where = "in memory (tmpfs)" if stage.spool_medium == "tmpfs" else "on disk, as many cameras do"
    whose = "your clip, a short one" if found.own_clip else "a long clip, a short one"
    return Told(
        seen=f"{whose} and a photo of “{CAMERA}” lie in the spool, in clear, {where}",
        proves=f"the rest is about real data: {samples:,} samples of it will be looked for everywhere",
        figure=f"3 files, {size(total)}",
        claims={"three files were written": len(found.sources) == len(_files(stage.spool))},
    )


def write_policy(stage: Stage, found: Found) -> None:
    """Write what the owner wants: recordings are uploaded slowly enough to be cut, a photo lives for seconds."""
    path = stage.config.with_name("policy.toml")
    recipient = re.search(r'^owner = \["(age1[a-z0-9]+)"\]', path.read_text(encoding="utf-8"), re.MULTILINE)
    if recipient is None:
        raise DemoError(f"{path} names no owner\n  next: read {stage.logs}/commands.log")
    rate = max(_LEAST_RATE, round(found.sources["kept"].size_bytes / CUT_AFTER_S))
    path.write_text(
        f"""version = 1

[recipients]
owner = ["{recipient[1]}"]
vendor = ["{asking.vendor(stage)}"]

[upload]
rate = "{rate // 1000}kB"          # slow on purpose, so that an upload can be cut in the middle

[retention]
forget_within = "1s"               # an hour is usual; here nobody should have to wait

[purpose.analytics]
description = "To see which functions are used."
basis = "consent"                  # off until the owner says yes
seal_to = ["vendor"]

[category.recording]
purpose = "security"
seal_to = ["owner"]
upload = "before-expiry"
keep.age = "14d"

[category.photo]
purpose = "security"
seal_to = ["owner"]
upload = "never"
keep.age = "{PHOTO_AGE}"           # short on purpose, so that you see it go

[category.usage-log]
purpose = "analytics"
upload = "never"                   # so that you see what becomes of what waits
keep.age = "14d"
""",
        encoding="utf-8",
    )
    config = stage.config.read_text(encoding="utf-8")
    stage.config.write_text(config.replace("\nmedium =", '\nbatch_age = "1s"\nmedium =', 1), encoding="utf-8")
    stage.agent("policy", "check", "--json")


def seal(stage: Stage, found: Found, *, live: Live) -> Told:
    """Step 4: the agent takes the files, without any line to the outside; then every byte it wrote is looked at."""
    live("the agent takes the files in")
    agent = stage.run_agent(without_broker(stage))
    stage.until(lambda: not _files(stage.spool), "the spool to be empty")
    held = _inventory(stage)
    for one in held:
        role = next(role for role, source in found.sources.items() if _same(source, one))
        found.objects[role] = str(one["id"])
    found.explained = stage.agent("explain", found.objects["expired"], "--json").json()
    agent.stop()
    payload = payload_of(stage, "kept", found)
    with payload.open("rb") as file:
        found.sealed_head = file.read(_HEAD_BYTES)
    found.payload_bytes = payload.stat().st_size
    live("looking at every byte that was written, for samples of the clear files")
    clear = look(found, stage.folder / "agent", stage.folder / "broker")
    found.searched.append(("agent and broker", clear.files, clear.bytes, len(clear.hits)))
    control = found.planted_found = _plant(stage, found, payload)
    _copy_disk(stage)
    return Told(
        seen=f"the spool is empty; {clear.files} files of agent and broker searched, {len(clear.hits)} clear samples,"
        f" no name; {control} of a planted clear piece found",
        proves="what the camera saw exists only sealed; the search would have found it",
        figure=f"{len(clear.hits)} of {_samples(found):,} samples in {size(clear.bytes)}",
        claims={
            "the spool is empty and the agent holds three objects": not _files(stage.spool)
            and len(held) == len(found.sources),
            "no clear sample or name anywhere": not clear.hits,
            "the control finds a planted clear file": control > 0,
            "the sealed file does not begin as the clear one": found.sealed_head != found.sources["kept"].head,
        },
        hits=clear.hits,
    )


def look(found: Found, *places: Path) -> Search:
    """Search places for samples and names of all clear files."""
    needles: list[Needles] = [source.needles for source in found.sources.values()]
    stems = [source.name.rpartition(".")[0] for source in found.sources.values()]
    return search(places, needles, texts=[CAMERA, CAMERA_FOLDER, *stems])


def payload_of(stage: Stage, role: str, found: Found) -> Path:
    """Return where the agent keeps a sealed payload."""
    return stage.state / "vault" / "objects" / found.objects[role]


def without_broker(stage: Stage) -> Path:
    """Write the same config without its [broker]: an agent that speaks to nobody."""
    path = stage.config.with_name("offline.toml")
    text = stage.config.read_text(encoding="utf-8")
    path.write_text(re.sub(r"^\[broker\]\n(?:(?!\[).*\n)*", "", text, flags=re.MULTILINE), encoding="utf-8")
    return path


def _plant(stage: Stage, found: Found, payload: Path) -> int:
    """Hide a piece of the clear clip between sealed bytes, at an odd place; search, and take it away again."""
    planted = stage.state / "vault" / "planted"
    with payload.open("rb") as file:
        sealed = file.read(_PLANT_AFTER_BYTES)
    planted.write_bytes(sealed + found.sources["kept"].piece + sealed)
    try:
        return len(look(found, planted).hits)
    finally:
        planted.unlink()


def _copy_disk(stage: Stage) -> None:
    """Let a thief copy the disk now: vault and index; the keystore apart, for a control that nobody really has."""
    thief = stage.folder / "thief"
    shutil.copytree(
        stage.state, thief / "copied-disk", ignore=shutil.ignore_patterns("keystore", "control.sock", "lock")
    )
    (thief / "control").mkdir(mode=0o700)
    shutil.copy(stage.state / "keystore", thief / "control" / "keystore")


def _samples(found: Found) -> int:
    return sum(source.needles.count for source in found.sources.values())


def _inventory(stage: Stage) -> list[dict[str, object]]:
    answer = json.loads(stage.agent("inventory", "--json").out)
    return [dict(one) for one in answer["objects"]]


def _same(source: Source, one: dict[str, object]) -> bool:
    return (source.category, source.size_bytes) == (one["category"], one["bytes"])


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
