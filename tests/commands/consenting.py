"""An office whose policy asks for consent: who reads what, and what lies there before a word is said."""

from pathlib import Path
from typing import Any

from agent import age
from agent.model import Object
from agent.retention import Retention
from tests.commands.office import Office

VENDOR = age.generate_identity(post_quantum=False)
VENDOR_KEY = VENDOR.recipient().to_text()

POLICY = """\
version = 1
[recipients]
owner = ["{owner}"]
vendor = ["{vendor}"]
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
seal_to = ["vendor"]
[purpose.improvement]
description = "To find out what fails."
basis = "legitimate-interest"
seal_to = ["vendor"]
[purpose.records]
description = "To keep what the law calls for."
basis = "legal-obligation"
[category.recording]
purposes = ["security", "analytics"]
seal_to = ["owner"]
upload = "allowed"
keep.age = "14d"
[category.photo]
purposes = ["analytics", "records"]
seal_to = ["owner"]
upload = "allowed"
[category.usage-log]
purposes = ["analytics", "improvement"]
upload = "allowed"
"""


class Consulate(Office):
    """An office under ``POLICY``; its vendor's key is the same in every process of a test."""

    vendor_key = VENDOR_KEY

    def policy_document(self) -> str:
        return POLICY.format(owner=self.owner_recipient, vendor=self.vendor_key)

    def retention(self) -> Retention:
        """Return retention as the agent has it."""
        return Retention(
            index=self.index,
            vault=self.vault,
            erasure=self.erasure,
            snapshot=self.snapshot,
            policy=self.world.policy(),
            document=self.policy_document().encode(),
        )

    async def give(self, purpose: str = "analytics", **more: object) -> dict[str, Any]:
        return await self.submit(self.client, "consent", purpose=purpose, decision="given", **more)

    async def withdraw(self, purpose: str = "analytics", **more: object) -> dict[str, Any]:
        return await self.submit(self.client, "withdraw", purpose=purpose, **more)

    async def keep_for(self, *purposes: str, owner: bool = True, vendor: bool = True, **more: Any) -> Object:  # noqa: ANN401 - as Office.keep
        """Take something in that was sealed for these purposes, to these readers."""
        readers = (*((self.owner_recipient,) if owner else ()), *((self.vendor_key,) if vendor else ()))
        item = await self.keep(purposes=purposes, recipients=readers, **more)
        self.index.write_now(lambda tx: self.vault.mark_source_gone(tx, item.id))
        return item

    def begin_upload(self, object_id: str) -> str:
        """Pretend that an upload is under way: the store may have half of it."""

        def note(tx: Any) -> str:  # noqa: ANN401 - a transaction
            upload, _iat_s = self.vault.begin_upload(tx, object_id, moment=self.moment)
            self.vault.set_manifest(tx, upload, "b" * 64, store=self.store.kid, moment=self.moment)
            return upload

        return self.index.write_now(note)


def consulate(folder: Path) -> Consulate:
    return Consulate(folder / "state")
