"""A check that is switched off for one line says on that line why; a test is never skipped."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IGNORE = re.compile(r"# (?:noqa|type: ignore)\b.*")
WITH_REASON = re.compile(r"# (?:noqa: [A-Z0-9, ]+ - |type: ignore\[[a-z, -]+\] +# )\S.*")
SKIP = re.compile(r"pytest\.(?:mark\.)?(?:skip|xfail|importorskip)|# pragma: no")


def lines_of_the_project() -> list[tuple[str, str]]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [
        (f"{name}:{number}", line)
        for name in names
        if (ROOT / name).is_file() and ROOT / name != Path(__file__)
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), start=1)
    ]


def test_every_ignore_has_its_reason_on_the_line() -> None:
    ignores = [(where, found[0]) for where, line in lines_of_the_project() if (found := IGNORE.search(line))]
    assert len(ignores) > 10
    assert [where for where, ignore in ignores if not WITH_REASON.fullmatch(ignore)] == []


def test_no_test_is_skipped() -> None:
    assert [where for where, line in lines_of_the_project() if SKIP.search(line)] == []
