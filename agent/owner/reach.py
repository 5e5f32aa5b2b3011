"""How a command reaches a device: ``--broker --tenant --tls``, else what ``owner.toml`` says."""

import argparse
from pathlib import Path

from agent.owner.home import Home, Settings


def add_broker_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the three, which win over ``owner.toml``."""
    parser.add_argument(
        "--broker", default="", metavar="URL", help="mqtts://HOST:8883 (default: owner.toml's, as the next two)"
    )
    parser.add_argument("--tenant", default="", metavar="NAME", help="second part of the topics")
    parser.add_argument("--tls", default="", metavar="FOLDER", help="this owner's tls.crt, tls.key and ca.crt")


def settings_from(arguments: argparse.Namespace, home: Home, *, device: str = "") -> Settings:
    """Return the settings in force; ``device`` becomes the default device where there is none yet."""
    kept = home.settings()
    tls = str(Path(arguments.tls).expanduser().absolute()) if arguments.tls else ""
    return Settings(
        device=kept.device or device,
        url=arguments.broker or kept.url,
        tenant=arguments.tenant or kept.tenant,
        identity=tls or kept.identity,
    )
