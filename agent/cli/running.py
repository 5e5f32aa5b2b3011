"""``run``: the resident agent in the foreground, as a service manager wants it."""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.shell.parser import Subparsers, add

if TYPE_CHECKING:
    from agent.config import Config


def add_parsers(subparsers: Subparsers) -> None:
    """Register the command."""
    run = add(
        subparsers,
        "run",
        summary="run the agent until it is told to stop",
        example="privacy-agent run --config /etc/privacy-agent/agent.toml",
        detail="It takes in, seals, keeps, uploads, deletes and answers until SIGTERM or SIGINT. "
        "SIGHUP reads the policy anew.",
        run=_run,
    )
    run.add_argument("--config", type=Path, default=None, metavar="FILE", help="agent.toml")
    run.add_argument(
        "-v", "--verbose", action="store_true", help="log what is taken in, stored and renewed; never names or content"
    )
    run.add_argument("--json", action="store_true", help="log JSON lines")


def _run(arguments: argparse.Namespace) -> int:
    from agent.process import harden, hold_collector

    hold_collector()
    from agent.cli.asking import config_of

    _set_up_log(verbose=arguments.verbose, as_json=arguments.json)
    harden()
    asyncio.run(_serve(config_of(arguments)))
    return 0


async def _serve(config: "Config") -> None:
    from agent.app.running import run
    from agent.clock import system_clock
    from agent.process import let_collect

    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    log = logging.getLogger("agent")

    def ready() -> None:
        log.warning("ready: %s", config.device)
        _notify("READY=1")
        let_collect()

    await run(
        config,
        read_clock=system_clock(source=config.clock),
        stop=stop,
        reload=reload,
        ready=ready,
        alive=lambda: _notify("WATCHDOG=1"),
    )
    _notify("STOPPING=1")


def _notify(message: str) -> None:
    """Tell the service manager (sd_notify(3)); without one this does nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.send(message.encode())


def _set_up_log(*, verbose: bool, as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonLine() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])


class _JsonLine(logging.Formatter):
    """One record, one line, whatever the text holds."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a JSON object."""
        told = {
            "at": self.formatTime(record),
            "level": record.levelname,
            "from": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=True)
