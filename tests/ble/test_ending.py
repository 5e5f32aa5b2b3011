"""A simulator that is killed leaves nothing behind that answers in its place."""

import socket

import psutil

from tests.ble.radio import Radio
from tests.waiting import until


def test_killed_simulator_takes_its_bus_with_it(radio: Radio) -> None:
    """A program in Python leaves a child alive when it is told to end, and a bus that lives on answers for nobody."""
    (bus,) = (one for one in psutil.Process(radio.process.pid).children(recursive=True) if one.name() == "dbus-daemon")
    radio.process.kill()
    until(lambda: not bus.is_running() or bus.status() == psutil.STATUS_ZOMBIE, what="the end of its bus")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        assert line.connect_ex(radio.bus.removeprefix("unix:path=").partition(",")[0]) != 0
