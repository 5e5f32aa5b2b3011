"""A household whose policy has a vendor: what it may read depends on what the owner says of purposes."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent import age
from tests.flow.house import DEVICE, House

POLICY = """\
version = 1
[recipients]
owner = ["{owner}"]
vendor = ["{vendor}"]
[upload]
{upload}
[retention]
forget_within = "1s"
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
seal_to = ["vendor"]
[purpose.marketing]
description = "To tell of offers."
basis = "consent"
seal_to = ["vendor"]
[purpose.improvement]
description = "To find out what fails."
basis = "legitimate-interest"
seal_to = ["vendor"]
[category.recording]
purposes = ["security", "analytics"]
seal_to = ["owner"]
upload = "allowed"
keep.age = "14d"
[category.photo]
purpose = "analytics"
seal_to = ["owner"]
upload = "never"
[category.usage-log]
purposes = ["improvement", "marketing"]
upload = "never"
"""


class Household(House):
    """A house in which ``vendor`` is the identity that reads for the vendor's purposes."""

    vendor = age.generate_identity(post_quantum=True)
    recorded = datetime(2030, 1, 1, tzinfo=UTC)  # behind every yes of a test

    def choose(self, *, upload: str = "") -> None:
        """Put the policy of this file in the place of the usual one; the agent does not run yet. Logs wait a second."""
        config = self.config.read_text()
        self.config.write_text(config.replace("\nmedium =", '\nbatch_age = "1s"\nmedium =', 1))
        path = self.folder / "policy.toml"
        (owner,) = re.findall(r'^owner = \["(\w+)"\]$', path.read_text(), re.MULTILINE)
        path.write_text(POLICY.format(owner=owner, vendor=self.vendor.recipient().to_text(), upload=upload))

    @property
    def vendor_key(self) -> str:
        return self.vendor.recipient().to_text()

    def readers(self, object_id: str) -> set[str]:
        """Return who can read an object, by name."""
        (found,) = [one for one in self.held() if one["id"] == object_id]
        return {"vendor" if one == self.vendor_key else "owner" for one in found["recipients"]}

    def stored_opens_for_vendor(self, object_id: str) -> bool:
        """Tell whether the vendor's identity opens what the store has of an object."""
        folder = self.folder / "cloud" / "store" / DEVICE / object_id
        try:
            age.unwrap_header((folder / "header").read_bytes(), [self.vendor])
        except age.NoMatchError:
            return False
        return True

    def standing(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return what the device says of each purpose and category."""
        return {(one["purpose"], one["category"]): one for one in self.agent_json("consents")["standing"]}

    def log_lines(self) -> str:
        return (self.folder / "agent.log").read_text()

    def photograph(self) -> None:
        """Have a camera take one photo."""
        self.run(
            "device-sim", "camera", "--spool", self.spool, "--count", "1", "--rate", "0", "--no-clips", "--photos",
            "--size", "160x120", "--start", self.recorded.isoformat(),
        )  # fmt: skip


def household(folder: Path) -> Household:
    return Household(folder)
