"""``device-sim ble``: a machine's Bluetooth without a radio, with cameras near it, that breaks on command.

Commands come one a line on standard input, and each is answered with one line; ``help`` lists them.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from device_sim.ble.bluez import TEMPORARY_S
from device_sim.ble.bus import BusError
from device_sim.ble.camera import BareCamera, b64, kid_bytes
from device_sim.ble.fault import ONCE, SWITCHES
from device_sim.ble.impostor import HARMS, KINDS, Relay, impostor
from device_sim.ble.peripheral import Peripheral
from device_sim.ble.room import Room, room
from device_sim.signals import ENDING

_EXIT_FAILED: Final = 1
CAMERAS_MAX: Final = 16

Answer = dict[str, Any]


def monotonic_s() -> float:
    """Seconds that never run backwards."""
    return time.monotonic()  # noqa: TID251 - the simulator's own clock


def _now_s() -> float:
    return time.time()  # noqa: TID251 - the same


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``ble``."""
    parser = subparsers.add_parser(
        "ble",
        help="Bluetooth LE without a radio: bluetoothd's double, and cameras near it",
        description=(
            "Stands in for bluetoothd on a private D-Bus: whatever uses BlueZ finds, connects to and pairs with the"
            " cameras here as with real ones (docs/ble.md), through real ATT and SMP. It breaks on command: type help."
        ),
        epilog="example:  device-sim ble --cameras 2 --passkey 123456",
        allow_abbrev=False,
    )
    parser.add_argument("--cameras", type=int, default=1, metavar="N", help="how many cameras are near (default 1)")
    parser.add_argument("--agent", default="", metavar="KID", help="the agent that they obey; without it they refuse")
    parser.add_argument("--passkey", type=int, metavar="NUMBER", help="they want to be paired with these six digits")
    parser.add_argument(
        "--mtu", type=int, default=517, metavar="BYTES", help="the largest ATT MTU they take; 23 or more"
    )
    parser.add_argument(
        "--temporary",
        type=float,
        default=TEMPORARY_S,
        metavar="SECONDS",
        help=f"a device not heard for so long is removed (default {TEMPORARY_S:g}, as BlueZ does)",
    )
    parser.add_argument("--json", action="store_true", help="say everything as JSON, one object a line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    try:
        asyncio.run(_serve(args))
    except BusError as error:
        print(f"device-sim ble: {error}", file=sys.stderr)
        return _EXIT_FAILED
    return 0


async def _serve(args: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in ENDING:
        asyncio.get_running_loop().add_signal_handler(signal.Signals(number), stop.set)
    async with room(monotonic_s=monotonic_s, temporary_s=args.temporary) as here:
        bench = Bench(here, agent=args.agent, passkey=args.passkey, mtu=args.mtu)
        for _ in range(min(args.cameras, CAMERAS_MAX)):
            await bench.add()
        _say(bench.told(), as_json=args.json)
        reading = here.group.create_task(_read(bench, as_json=args.json), name="commands")
        here.running.append(reading)
        await stop.wait()


async def _read(bench: "Bench", *, as_json: bool) -> None:
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty()):
        return  # /dev/null or a file: nobody commands
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        words = line.decode("utf-8", errors="replace").split()
        if words:
            _say(await bench.do(words), as_json=as_json)


def _say(answer: Answer, *, as_json: bool) -> None:
    with contextlib.suppress(BrokenPipeError):
        if as_json:
            print(json.dumps(answer), flush=True)
        else:
            print("\n".join(f"{name}={value}" for name, value in answer.items()), flush=True)


class Bench:
    """The room and who is in it, as commands name them."""

    def __init__(self, here: Room, *, agent: str, passkey: int | None, mtu: int) -> None:
        self._room = here
        self._agent, self._passkey, self._mtu = agent, passkey, mtu
        self._cameras: list[tuple[BareCamera, Peripheral]] = []
        self._relays: list[Relay] = []

    async def add(self) -> Answer:
        """Let one more camera advertise."""
        camera = BareCamera(agent=self._agent, now_s=_now_s)
        peripheral = Peripheral(
            camera, hci=self._room.air, monotonic_s=monotonic_s, passkey=self._passkey, mtu=self._mtu
        )
        await self._room.enter(peripheral)
        self._cameras.append((camera, peripheral))
        return {"address": peripheral.address}

    def told(self) -> Answer:
        """What others need to know."""
        return {
            "DBUS_SYSTEM_BUS_ADDRESS": self._room.bus,
            "hci": self._room.air,
            "devices": self._room.double.devices,
            "cameras": [
                {
                    "address": peripheral.address,
                    "kid": b64(kid_bytes(camera.key.public_key())),
                    "advert_key": b64(camera.advert_key),
                    "collecting": camera.collecting,
                    "state": camera.state,
                }
                for camera, peripheral in self._cameras
            ],
        }

    async def do(self, words: list[str]) -> Answer:
        """Obey one line."""
        try:
            return await self._do(words[0], words[1:])
        except (ValueError, IndexError, KeyError) as error:
            return {"error": f"{' '.join(words)}: {error or 'not like this'}; type help"}

    async def _do(self, word: str, rest: list[str]) -> Answer:
        if word in {"help", "told"}:
            return self.told() if word == "told" else {"on|off SWITCH": SWITCHES, "once": ONCE, **_HELP}
        if word in {"on", "off"}:
            return self._switch(rest[0], on=word == "on")
        if word == "camera":
            camera, _ = self._cameras[int(rest[0])]
            camera.note(_named(rest[1], camera.state), on={"on": True, "off": False}[rest[2]])
            return {"done": True}
        if word in {"add", "impostor"} and len(self._cameras) < CAMERAS_MAX:
            return await (self.add() if word == "add" else self._impostor(rest[0], int(rest[1])))
        if word == "harm":
            self._relays[-1].harm = next(harm for harm in HARMS if harm == _named(rest[0], HARMS))
            return {"done": True, "switches": len(self._relays[-1].switches)}
        await self._once(word, rest)
        return {"done": True}

    def _switch(self, name: str, *, on: bool) -> Answer:
        faults = self._room.double.faults
        (faults.add if on else faults.discard)(_named(name, SWITCHES))
        return {"done": True, "faults": sorted(faults)}

    async def _once(self, word: str, rest: list[str]) -> None:
        double = self._room.double
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "die": double.die,
            "start": double.start,
            "pull": double.pull,
            "plug": double.plug,
            "power-off": lambda: double.power(on=False),
            "power-on": lambda: double.power(on=True),
            "cut": double.cut,
            "forget": double.forget,
            "flood": lambda: double.flood(int(rest[0]), cameras=rest[1:] == ["cameras"]),
        }
        await acts[word]()

    async def _impostor(self, kind: str, number: int) -> Answer:
        camera, peripheral = self._cameras[number]
        chosen = next(one for one in KINDS if one == _named(kind, KINDS))
        made = impostor(chosen, peripheral, camera, hci=self._room.air, monotonic_s=monotonic_s)
        if isinstance(made, Relay):
            self._relays.append(made)
            self._room.running.append(self._room.group.create_task(made.run(), name="relay"))
            await made.peripheral.ready.wait()
            return {"address": made.peripheral.address}
        await self._room.enter(made)
        return {"address": made.address}


def _named(name: str, known: Any) -> str:  # noqa: ANN401 - anything that has names
    if name not in known:
        raise ValueError(f"one of {', '.join(known)}")
    return name


_HELP: Final = {
    "camera N NAME on|off": "somebody at camera N did that: recording, microphone, stream, indicator, consent",
    "add": "one more camera comes near",
    "impostor KIND N": f"somebody answers in its place: {', '.join(KINDS)}",
    "harm HARM": f"what the last relay does: {', '.join(HARMS)}",
    "told": "the addresses again, and what the cameras are doing",
}
