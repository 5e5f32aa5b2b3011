"""``device-sim camera``: files into a folder as a camera system would leave them, or hardware, until told to stop.

Rules: the wall clock is read here and nowhere else of the camera; a signal ends the work between two files; what was
begun is then finished or removed, so no final name holds a partial file (unless ``--fault`` asks for one).
"""

import argparse
import io
import json
import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import IO, TYPE_CHECKING, Final

from device_sim.camera.breakage import BREAKAGES, BREAKAGES_HELP
from device_sim.camera.fault import FAULTS, Fault, plant
from device_sim.camera.identity import DEFAULT_NAME
from device_sim.camera.layout import LAYOUTS, Kind, Layout, finished, place
from device_sim.camera.media import DEFAULT_BITS_PER_S, DEFAULT_FPS, DEFAULT_SIZE, write_clip, write_photo
from device_sim.camera.usage_log import stamp, usage_log_lines
from device_sim.signals import ended
from device_sim.told import words_of

if TYPE_CHECKING:
    from device_sim.camera.face import FaceName
    from device_sim.camera.scenario import Scenario

DEFAULT_RATE_PER_MINUTE: Final = 6.0
DEFAULT_SECONDS: Final = 10.0
LOG_LINES: Final = 20  # per file

_DESCRIPTION: Final = """\
Write real clips (H.264, AAC), photos and usage logs into a folder (--spool), or
be cameras as hardware (--state): with keys, cards and labels, paired with and
asked over the network, and broken on command."""

_FOLDER: Final = "As a camera system writes them. Same seed, same --start, same options: the same bytes."
_HARDWARE: Final = "They record once an agent is paired and has switched collection on."
_EPILOG: Final = f"""\
what breaks (--break, `device-sim tell`, or a line on stdin):
{BREAKAGES_HELP}

orders on stdin, one a line, answered by one line of JSON:
  break NAME WHAT          mend NAME WHAT
  setup NAME [SECONDS]     collect NAME on|off     consent NAME on|off
  show                     stop

example:
  device-sim camera --spool /run/camera --count 3 --photos --logs
  device-sim camera --state cameras --link --setup --name "Front door"
"""

_EXIT_DONE: Final = 0
_EXIT_FAILED: Final = 1
_EXIT_MISUSED: Final = 2

Fill = Callable[[IO[bytes]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to write, where and how fast; ``count`` and ``start`` are ``None`` for endless and for now."""

    spool: Path
    layout: Layout = "spool"
    name: str = DEFAULT_NAME
    seed: int = 1
    rate_per_minute: float = DEFAULT_RATE_PER_MINUTE
    count: int | None = None
    seconds: float = DEFAULT_SECONDS
    size: tuple[int, int] = DEFAULT_SIZE
    fps: int = DEFAULT_FPS
    bits_per_s: int = DEFAULT_BITS_PER_S
    start: datetime | None = None
    clip: Path | None = None
    clips: bool = True
    photos: bool = False
    logs: bool = False
    faults: tuple[Fault, ...] = ()

    @property
    def paced(self) -> bool:
        """Whether rounds come at the rate by the clock on the wall."""
        return self.start is None and self.rate_per_minute > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One file that now stands in the folder."""

    path: Path
    kind: Kind
    start: datetime
    size_bytes: int
    fault: Fault | None = None


def record(options: Options, *, stop: Event, now: Callable[[], datetime]) -> Iterator[Written]:
    """Write round after round (a clip, a photo, a log file, as asked) and yield each file when it stands.

    A round's capture begins one interval after the one before; the first ended just now, and each later round waits
    until its capture has ended. With ``start`` or without a rate (then ``count`` must be given, and the last capture
    ends now) nothing waits.
    """
    interval = timedelta(seconds=60 / options.rate_per_minute if options.rate_per_minute else options.seconds)
    length = timedelta(seconds=options.seconds)
    first = options.start or now() - length * (1 if options.paced else options.count or 1)
    numbers: Counter[tuple[Kind, str]] = Counter()
    index = 0
    while options.count is None or index < options.count:
        begin = first + index * interval
        if options.paced:
            stop.wait(max((begin + length - now()).total_seconds(), 0))
        if stop.is_set():
            return
        fault = options.faults[index % len(options.faults)] if options.faults else None
        for kind, ending, fill in _round(options, begin):
            day = f"{begin.astimezone(UTC):%Y-%m-%d}"
            numbers[kind, day] = _next_number(options, kind, begin, after=numbers[kind, day], ending=ending)
            path = _path(options, kind, begin, number=numbers[kind, day], ending=ending)
            yield _write(options, kind, path, begin=begin, fill=fill, fault=fault, stop=stop)
            if stop.is_set():
                return
        index += 1


def _path(options: Options, kind: Kind, begin: datetime, *, number: int, ending: str) -> Path:
    where = place(
        options.layout,
        kind,
        camera=options.name,
        start=begin,
        seconds=options.seconds,
        number=number,
        ending=ending,
    )
    return options.spool / where


def _next_number(options: Options, kind: Kind, begin: datetime, *, after: int, ending: str) -> int:
    """A camera that numbers its files goes on after those of an earlier run."""
    number = after + 1
    while options.layout == "timelapse" and os.path.lexists(_path(options, kind, begin, number=number, ending=ending)):
        if kind == "usage-log":
            break
        number += 1
    return number


def _round(options: Options, begin: datetime) -> Iterator[tuple[Kind, str, Fill]]:
    def clip(file: IO[bytes]) -> None:
        if options.clip is not None:
            with options.clip.open("rb") as own:
                shutil.copyfileobj(own, file)
            return
        write_clip(
            file,
            seed=options.seed,
            start=begin,
            seconds=options.seconds,
            size=options.size,
            fps=options.fps,
            label=options.name,
            bits_per_s=options.bits_per_s,
        )

    def photo(file: IO[bytes]) -> None:
        write_photo(file, seed=options.seed, start=begin, size=options.size, label=options.name)

    def log(file: IO[bytes]) -> None:
        lines = usage_log_lines(options.seed, begin, LOG_LINES, name=options.name)
        file.write("".join(f"{line}\n" for line in lines).encode())

    if options.clips:
        yield "recording", options.clip.suffix if options.clip else ".mp4", clip
    if options.photos:
        yield "photo", ".jpg", photo
    if options.logs:
        yield "usage-log", ".jsonl", log


def _write(
    options: Options, kind: Kind, path: Path, *, begin: datetime, fill: Fill, fault: Fault | None, stop: Event
) -> Written:
    if fault is None:
        with finished(path) as file:
            fill(file)
            size_bytes = file.seek(0, io.SEEK_END)
    else:
        memory = io.BytesIO()
        fill(memory)
        path = plant(fault, path, memory.getvalue(), top=options.spool, stop=stop)
        size_bytes = path.lstat().st_size if path.is_symlink() or path.exists() else 0
    return Written(path=path, kind=kind, start=begin, size_bytes=size_bytes, fault=fault)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add ``camera`` to ``device-sim``; the chosen command is ``arguments.run(arguments) -> exit code``."""
    parser = subparsers.add_parser(
        "camera",
        allow_abbrev=False,
        help="write clips, photos and logs into a folder, or be cameras as hardware",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_what(parser)
    _add_folder(parser.add_argument_group("into a folder", _FOLDER))
    _add_hardware(parser.add_argument_group("as hardware", _HARDWARE))
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each file, or each event")
    parser.set_defaults(run=run)
    return parser


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help=f"the owner's name for the camera ({DEFAULT_NAME}); as hardware, again for each further camera",
    )
    parser.add_argument("--seed", type=int, help="which camera, and what it sees (1; as hardware 1, 2, …)")
    parser.add_argument(
        "--rate",
        type=_not_negative,
        default=DEFAULT_RATE_PER_MINUTE,
        metavar="CLIPS_PER_MINUTE",
        help=f"how often ({DEFAULT_RATE_PER_MINUTE:g}); 0: without a pause",
    )
    parser.add_argument(
        "--count", type=_whole_positive, metavar="N", help="stop after N rounds (default: when interrupted)"
    )
    parser.add_argument(
        "--seconds", type=_positive, default=DEFAULT_SECONDS, metavar="S", help=f"a clip's length ({DEFAULT_SECONDS:g})"
    )
    parser.add_argument("--size", type=_size, default=DEFAULT_SIZE, metavar="WxH", help="picture size (640x360)")
    parser.add_argument("--fps", type=_whole_positive, default=DEFAULT_FPS, help=f"frames per second ({DEFAULT_FPS})")
    parser.add_argument(
        "--bits-per-s",
        type=_whole_positive,
        default=DEFAULT_BITS_PER_S,
        metavar="N",
        help=f"a clip's rate ({DEFAULT_BITS_PER_S})",
    )
    parser.add_argument("--clip", type=Path, metavar="FILE", help="your own clip instead of a drawn one")
    parser.add_argument("--no-clips", action="store_true", help="only what --photos and --logs ask for")
    parser.add_argument("--photos", action="store_true", help="a photo with every round")
    parser.add_argument("--logs", action="store_true", help=f"a usage log of {LOG_LINES} lines with every round")


def _add_folder(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--spool", type=Path, metavar="DIR", help="the folder to write into")
    group.add_argument("--layout", choices=LAYOUTS, default="spool", help="whose file names (default: spool)")
    group.add_argument("--start", type=_moment, metavar="TIME", help="capture time of the first clip, RFC 3339 (now)")
    group.add_argument("--fault", action="append", choices=FAULTS, default=[], help="do this wrong; several take turns")


def _add_hardware(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--state", type=Path, metavar="DIR", help="keys, cards and settings of these cameras; made anew")
    group.add_argument("--link", action="store_true", help="serve the camera link (docs/camera-link.md)")
    group.add_argument("--mdns", action="store_true", help="announce the link by multicast DNS")
    group.add_argument("--onvif", action="store_true", help="serve ONVIF: WS-Discovery, and where --rtsp streams")
    group.add_argument("--ble", action="store_true", help="be near by Bluetooth LE (docs/ble.md)")
    group.add_argument("--rtsp", action="store_true", help="stream live by RTSP")
    group.add_argument(
        "--hci", default="", metavar="TRANSPORT", help="on this radio, usb:0 (default: a played one, with bluetoothd)"
    )
    group.add_argument("--passkey", type=int, metavar="NUMBER", help="pair by Bluetooth with these six digits only")
    group.add_argument("--interface", action="append", default=[], metavar="NAME", help="announce here alone (all)")
    group.add_argument("--hub", default="", metavar="NAME", help="they are behind a hub, and share its power")
    group.add_argument("--setup", action="store_true", help="their set-up windows are open for five minutes")
    group.add_argument(
        "--break", dest="broken", action="append", choices=BREAKAGES, default=[], metavar="WHAT", help="from the start"
    )
    group.add_argument("--host", default="", metavar="ADDRESS", help="listen there (default: at every address)")
    group.add_argument("--port", type=_port, default=0, metavar="N", help="of the first camera's link (any free one)")
    group.add_argument(
        "--rtsp-port", type=_port, default=0, metavar="N", help="of the first camera's stream (the same)"
    )
    group.add_argument(
        "--onvif-port", type=_port, default=0, metavar="N", help="of the first camera's ONVIF service (the same)"
    )
    group.add_argument(
        "--onvif-credentials",
        type=Path,
        metavar="FILE",
        help="which ONVIF demands: user and password, a line each, in a file of mode 0600 (none)",
    )
    group.add_argument("--scenario", type=Path, metavar="FILE", help="play this instead (docs/simulator.md)")
    group.add_argument("--control", type=Path, metavar="SOCKET", help="for `device-sim tell` (DIR/control)")


def run(arguments: argparse.Namespace) -> int:
    """Run ``device-sim camera``; 0 done or interrupted, 1 folder or clip cannot be used, 2 bad usage."""
    if (arguments.spool is None) == (arguments.state is None):
        return _misused("one of --spool and --state is needed", step="--spool DIR for files, --state DIR for hardware")
    return _record(arguments) if arguments.state is None else _be(arguments)


def _record(arguments: argparse.Namespace) -> int:
    if len(arguments.name) > 1:
        return _misused("a folder is of one camera", step="give --name once, or use --state DIR")
    options = Options(
        spool=arguments.spool,
        layout=arguments.layout,
        name=(arguments.name or [DEFAULT_NAME])[0],
        seed=1 if arguments.seed is None else arguments.seed,
        rate_per_minute=arguments.rate,
        count=arguments.count,
        seconds=arguments.seconds,
        size=arguments.size,
        fps=arguments.fps,
        bits_per_s=arguments.bits_per_s,
        start=arguments.start,
        clip=arguments.clip,
        clips=not arguments.no_clips,
        photos=arguments.photos,
        logs=arguments.logs,
        faults=tuple(arguments.fault),
    )
    if not (options.clips or options.photos or options.logs):
        return _misused("nothing to write", step="add --photos or --logs, or drop --no-clips")
    if not options.paced and options.count is None:
        return _misused("without a pace it would fill the disk", step="add --count N, or drop --start and --rate 0")
    try:
        with ended() as stop:
            for written in record(options, stop=stop, now=_now):
                print(_json_line(written) if arguments.json else _line(written), flush=True)
    except BrokenPipeError:  # the reader of our lines left: nothing more to tell
        sys.stdout = None
        return _EXIT_DONE
    except OSError as error:
        print(f"device-sim camera: {words_of(error)}", file=sys.stderr)
        print("  next: name a folder (and a clip) that you may use and that has room: --spool DIR", file=sys.stderr)
        return _EXIT_FAILED
    return _EXIT_DONE


def _be(arguments: argparse.Namespace) -> int:
    from device_sim.camera import hardware, scenario  # noqa: PLC0415 - slow to load, and a folder needs none of it

    if arguments.start or arguments.fault or arguments.layout != "spool":
        return _misused("--start, --fault and --layout are for a folder", step="see --break, or use --spool DIR")
    try:
        played = scenario.read_scenario(arguments.scenario) if arguments.scenario else _scenario(arguments)
        return hardware.run_hardware(
            hardware.Hardware(
                scenario=played,
                state=arguments.state,
                host=arguments.host,
                port=arguments.port,
                rtsp_port=arguments.rtsp_port,
                onvif_port=arguments.onvif_port,
                onvif_credentials=hardware.read_credentials(arguments.onvif_credentials),
                interfaces=tuple(arguments.interface),
                hci=arguments.hci,
                passkey=arguments.passkey,
                control=arguments.control,
                json=arguments.json,
            )
        )
    except (scenario.ScenarioError, hardware.HardwareError) as error:
        print(f"device-sim camera: {error}", file=sys.stderr)
        return _EXIT_FAILED
    except OSError as error:
        if error.filename is None:
            raise
        print(f"device-sim camera: {words_of(error)}", file=sys.stderr)
        print("  next: name a folder that you may use and that has room: --state DIR", file=sys.stderr)
        return _EXIT_FAILED


def _scenario(arguments: argparse.Namespace) -> "Scenario":
    from device_sim.camera import scenario  # noqa: PLC0415 - as above

    pace = scenario.Pace(
        rate_per_minute=arguments.rate,
        seconds=arguments.seconds,
        count=arguments.count,
        clips=not arguments.no_clips,
        photos=arguments.photos,
        logs=arguments.logs,
        size="x".join(map(str, arguments.size)),
        fps=arguments.fps,
        bits_per_s=arguments.bits_per_s,
        clip=str(arguments.clip or ""),
    )
    shown: dict[FaceName, bool] = {
        "link": arguments.link,
        "mdns": arguments.mdns,
        "onvif": arguments.onvif,
        "ble": arguments.ble,
        "rtsp": arguments.rtsp,
    }
    made = scenario.Scenario(
        name="from options",
        cameras=tuple(
            scenario.CameraPart(
                name=name,
                faces=tuple(face for face, asked in shown.items() if asked),
                hub=arguments.hub,
                seed=None if arguments.seed is None else arguments.seed + index,
                setup=arguments.setup,
                broken=tuple(arguments.broken),
                pace=pace,
            )
            for index, name in enumerate(arguments.name or [DEFAULT_NAME])
        ),
    )
    scenario.check(made)
    return made


def _misused(reason: str, *, step: str) -> int:
    print(f"device-sim camera: {reason}\n  next: {step}", file=sys.stderr)
    return _EXIT_MISUSED


def _line(written: Written) -> str:
    fault = f"  ({written.fault})" if written.fault else ""
    return f"{written.kind:<9}  {written.size_bytes:>11,}  {_printable(written.path)}{fault}"


def _printable(path: Path) -> str:
    """The path as it is, or quoted and escaped when a terminal could take part of it as a command."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _json_line(written: Written) -> str:
    told = {
        "path": str(written.path),
        "kind": written.kind,
        "start": stamp(written.start),
        "size_bytes": written.size_bytes,
        "fault": written.fault,
    }
    return json.dumps(told, ensure_ascii=False)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the simulated camera's one look at the wall clock


def _positive(text: str) -> float:
    value = _not_negative(text)
    if not value:
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no number") from None
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be 0 or more, and finite")
    return value


def _whole_positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 on")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    try:
        size = int(width), int(height)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no size: write it as 640x360") from None
    if min(size) <= 0 or size[0] % 2 or size[1] % 2:
        raise argparse.ArgumentTypeError(f"{text}: both numbers must be even and more than 0")
    return size


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no time: write it as 2026-11-22T10:15:00Z") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no zone: end it with Z")
    return moment


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return int(text)
