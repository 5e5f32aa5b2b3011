"""What ``status`` tells of the line, of a whole agent at a real broker."""

from pathlib import Path

from device_sim.broker import Broker
from tests.cli.conftest import Device
from tests.waiting import until


class Strict(Broker):
    """mosquitto whose access rules forbid the device its ``state``."""

    def _mosquitto(self, port: int) -> list[str]:
        command = super()._mosquitto(port)
        with (self.folder / "acl").open("a") as rules:
            rules.write("\nuser cam-01\ntopic deny pv1/acme/cam-01/state\n")
        return command


def test_status_tells_how_often_the_line_was_there_and_how_many_messages_the_broker_refused(
    device: Device, tls: Path, tmp_path: Path
) -> None:
    def told() -> tuple[int, int]:
        line = device.ok("status", "--json").json["broker"]
        return line["connections"], line["refused"]

    with Strict(tmp_path / "broker", tls, engine="mosquitto") as broker:
        with device.config.open("a") as config:
            config.write(f'\n[broker]\nurl = "{broker.url}"\ntenant = "acme"\nidentity = "{tls / "cam-01"}"\n')
        with device.running():
            until(lambda: told() == (1, 1), what="the state refused, which then waits a minute")
            broker.restart()
            until(lambda: told() == (2, 2), what="and refused again on the next connection")
