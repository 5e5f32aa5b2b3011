"""``privacy-owner listen`` and a whole agent at a real broker: what stands is heard at once, not at the next repeat."""

from pathlib import Path

from device_sim.broker import Broker
from tests.cli.conftest import Device
from tests.waiting import until


def test_alert_that_was_sent_to_nobody_is_heard_by_whoever_listens_later(
    device: Device, tls: Path, tmp_path: Path
) -> None:
    # The agent repeats it every 15 minutes, or in front of an answer to its owner.
    with Broker(tmp_path / "broker", tls, engine="mosquitto") as broker:
        with device.config.open("a") as config:
            config.write(f'\n[broker]\nurl = "{broker.url}"\ntenant = "acme"\nidentity = "{tls / "cam-01"}"\n')
        device.raise_alert("store_rolled_back")
        with device.running():
            until(lambda: device.ok("status", "--json").json["broker"]["online"], what="online")
            words = ("--broker", broker.url, "--tenant", "acme", "--tls", tls / "owner", "--timeout", "8")
            heard = device.owner("listen", "--json", *words).json
            again = device.owner("listen", *words).out
    assert [one["code"] for one in heard["alerts"]] == ["store_rolled_back"]
    assert heard["receipts"] == []
    assert "nothing new: no alert waits for us" in again
