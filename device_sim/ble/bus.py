"""A D-Bus daemon of one's own, so that nothing here touches the machine's: Debian's ``dbus-daemon`` as a child.

It dies with whoever started it, however that ends (``setpriv --pdeathsig``, prctl(2) PR_SET_PDEATHSIG). Its address is
a Unix socket's path, which processes in other network namespaces reach too.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

START_LIMIT_S: Final = 60.0

# Like a session bus: the limits of a system bus close the double's connection in a burst of twenty thousand removals.
_CONFIG: Final = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">100000000</limit>
  <limit name="max_match_rules_per_connection">100000</limit>
</busconfig>
"""


class BusError(Exception):
    """No daemon; the text ends in the next step."""


@asynccontextmanager
async def private_bus(folder: Path) -> AsyncIterator[str]:
    """Run a daemon in ``folder`` and yield its address."""
    programs = [shutil.which(name, path=os.environ.get("PATH", os.defpath)) for name in ("setpriv", "dbus-daemon")]
    if None in programs:
        raise BusError("no dbus-daemon here\n  next: sudo apt-get install dbus-daemon util-linux")
    config = folder / "bus.conf"
    config.write_text(_CONFIG.format(socket=folder / "bus"), encoding="utf-8")
    command = [
        str(programs[0]),
        "--pdeathsig",
        "TERM",
        str(programs[1]),
        "--nofork",
        "--nopidfile",
        "--print-address=1",
    ]
    daemon = await asyncio.create_subprocess_exec(
        *command, f"--config-file={config}", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert daemon.stdout is not None  # noqa: S101 - asked for above
        async with asyncio.timeout(START_LIMIT_S):
            address = (await daemon.stdout.readline()).decode("ascii").strip()
        if not address:
            raise BusError(f"dbus-daemon did not start\n  next: dbus-daemon --config-file={config} --nofork")
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            daemon.send_signal(signal.SIGTERM)
        await daemon.wait()
