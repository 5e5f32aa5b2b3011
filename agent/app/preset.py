"""The policies that ``privacy-agent init`` writes: a decent one, and what two vendors promise, ready to be obeyed.

Each lies in ``agent/policy/presets`` as a whole and good policy in which nobody can read anything yet: who the owner
is, where the store is and whether there is one are filled in line by line, so that the comments stay.
"""

import re
from importlib.resources import files
from typing import Final

from agent.app.policy_file import read_new_policy
from agent.errors import ConfigError
from agent.policy import is_region

_COMMENT: Final = r"(?P<comment>#[^\n]*)?$"
_OWNER: Final = re.compile(rf"^(?P<code>owner = \[\] *){_COMMENT}", re.MULTILINE)
_REGIONS: Final = re.compile(rf"^(?P<code>(?:# )?regions = \[[^]\n]*\] *){_COMMENT}", re.MULTILINE)
_SILENT: Final = re.compile(rf'^(?P<code>(?P<set>silent = "\w+") *){_COMMENT}', re.MULTILINE)
_UPLOAD: Final = re.compile(rf'^(?P<code>upload = "[a-z-]+" *){_COMMENT}', re.MULTILINE)


def preset(name: str, *, owner: str = "", region: str = "", uploads: bool = True) -> str:
    """Return a preset for an owner's recipient; ``region`` is the only one that may store, ``uploads`` says if any may.

    Without uploads there is no cloud, and so none whose silence could end anything: that line becomes a comment.
    Raises ``ConfigError`` for a region that no store can name.
    """
    text = files("agent.policy").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    if region and not is_region(region):
        raise ConfigError(f"--region {region!r} is no name of a region", hint="use letters, digits, point, _ and -")
    if owner:
        text = _filled(text, _OWNER, f'owner = ["{owner}"]', count=1)
    if region:
        text = _filled(text, _REGIONS, f'regions = ["{region}"]', count=1)
    if not uploads:
        text = _filled(text, _UPLOAD, 'upload = "never"')
        text = _filled(text, _SILENT, r"# \g<set>")
    read_new_policy(text.encode(), file=f"{name}.toml")
    return text


def _filled(text: str, line: re.Pattern[str], new: str, *, count: int = 0) -> str:
    """Fill a line in; its comment stays in its column, or follows at once where what is new reaches beyond."""

    def fill(found: re.Match[str]) -> str:
        said, comment = found.expand(new), found["comment"]
        return f"{f'{said}  ':{len(found['code'])}}{comment}" if comment else said

    return line.sub(fill, text, count=count)
