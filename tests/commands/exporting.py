"""A person at the machine exports everything; run by ``test_bundle.py`` where the medium fails."""

import asyncio
import sys
from pathlib import Path

from agent.errors import AgentError
from agent.model import Selection
from tests.commands.office import Office


def main(folder: str, owner_recipient: str, export_id: str) -> None:
    office = Office.device_only(Path(folder), owner_recipient=owner_recipient, step=lambda _step: None)
    work = office.commands.export_here(export_id, Selection(all=True), form="objects", moment=office.moment)
    try:
        asyncio.run(work)
    except AgentError as error:
        print(f"{type(error).__name__}: {error.message}")
    office.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
