"""How restrictions and holds are shown to a person at the device."""

from typing import Any


def frozen_table(frozen: dict[str, Any]) -> str:
    """Return all that stand as a table."""
    from agent.shell.layout import clean
    from agent.shell.terminal import heading, table
    from agent.shell.times import when_text

    rows = [
        ("hold", one["id"], _of(one["select"]), when_text(one["until"]), clean(one["reason"]), one["author"])
        for one in frozen["holds"]
    ]
    rows += [
        ("restriction", one["id"], _of(one["select"]), "it is lifted", one["ground"], "")
        for one in frozen["restrictions"]
    ]
    shown = table(rows, head=("stands", "id", "over", "until", "because", "set by key"))
    return shown + ("\n" + heading(f"and {frozen['more']} newer ones") if frozen["more"] else "")


def frozen_rows(one: dict[str, Any]) -> list[tuple[str, object]]:
    """Return what stands over one object, a row each."""
    from agent.shell.layout import clean
    from agent.shell.times import when_text

    rows: list[tuple[str, object]] = [
        ("on hold", f"until {when_text(hold['until'])}: {clean(hold['reason'])} ({hold['id']}, key {hold['author']})")
        for hold in one.get("holds", ())
    ]
    return rows + [
        ("restricted", f"since {when_text(held['since'])}: {held['ground']} (privacy-owner unrestrict {held['id']})")
        for held in one.get("restrictions", ())
    ]


def _of(select: dict[str, Any]) -> str:
    from agent.shell.layout import counted
    from agent.shell.times import when_text

    if "objects" in select:
        return f"{counted(select['objects'])} by id"
    if "all" in select:
        return "everything"
    words = [f"every {select['category']}" if "category" in select else "every object"]
    words += [f"of camera {select['camera']}"] if "camera" in select else []
    words += [f"from {when_text(select['from'])}"] if "from" in select else []
    words += [f"until {when_text(select['to'])}"] if "to" in select else []
    return " ".join(words)
