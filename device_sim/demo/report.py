"""report.html: what this run saw, in one file; a browser is told to load nothing from outside."""

import base64
import html
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from device_sim.demo.found import Found, Try
from device_sim.demo.screen import size


def write(path: Path, found: Found, steps: list[dict[str, Any]], *, total_s: float) -> None:
    """Write the report."""
    template = Template(files("device_sim.demo").joinpath("report.html").read_text(encoding="utf-8"))
    parts = _head(found, steps, total_s) | _sealing(found) | _upload(found) | _forgetting(found) | _proofs(found, steps)
    path.write_text(template.substitute(parts), encoding="utf-8")


def _head(found: Found, steps: list[dict[str, Any]], total_s: float) -> dict[str, str]:
    claims = sum(len(step["claims"]) for step in steps)
    hits = sum(hits for _where, _files, _bytes, hits in found.searched)
    numbers = (
        (f"{total_s:.0f} s", "from nothing to all of this"),
        (f"{claims}", "claims checked, all hold"),
        (f"{hits}", "clear bytes found outside"),
        (f"{_share(found):.0f} %", "sent when the agent was killed"),
        (f"{sum(one.opened_after for one in found.tries)} of {len(found.tries)}", "recordings a thief can open"),
        (f"{len(found.receipts)}", "signed receipts hold"),
    )
    whose = "your own clip" if found.own_clip else "a camera's video"
    return {
        "lead": f"One device, one cloud and one owner, all on this machine: {whose} was sealed before it was stored,"
        " sent through a crash, read back by its owner alone, and what was to go is gone for good.",
        "numbers": "".join(f"<div><b>{_text(value)}</b><span>{_text(name)}</span></div>" for value, name in numbers),
        "footer": f"Made by <code>device-sim demo</code> with the {_text(found.engine)} broker. This file loads nothing"
        " from anywhere.",
    }


def _sealing(found: Found) -> dict[str, str]:
    kept = found.sources["kept"]
    width, height = found.frame_size
    samples = sum(source.needles.count for source in found.sources.values())
    rows = [
        f'<tr><td>{_text(where)}</td><td class="n" style="text-align:left" data-label="files">{files:,}</td>'
        f'<td class="n" style="text-align:left" data-label="bytes">{size(bytes_)}</td>'
        f'<td data-label="clear samples and names">{_tag(str(hits), good=hits == 0)}</td></tr>'
        for where, files, bytes_, hits in found.searched
    ]
    return {
        "ratio": f"{width} / {height}",
        "frames_text": f"Left: a frame of the {size(kept.size_bytes)} that the camera wrote, out of an export that its"
        " owner opened. Right: the first bytes of the very same recording where the cloud keeps it, each three of them"
        " painted as one dot.",
        "owner_frame": _data_uri(found.owner_frame),
        "cloud_frame": _data_uri(found.cloud_frame),
        "owner_caption": "It is the camera's file, byte for byte.",
        "cloud_caption": "No player finds a picture in it.",
        "clear_head": _hex(kept.head),
        "sealed_head": _hex(found.sealed_head),
        "search_text": f"{samples:,} samples, one from every 4 KiB of what the camera wrote, and all names were looked"
        " for at every offset of every file that was written, and in every message that crossed the broker. The same"
        f" search found a clear file that was planted on purpose: {found.planted_found} times.",
        "searches": "".join(rows),
    }


def _upload(found: Found) -> dict[str, str]:
    total, resumed = found.payload_bytes, found.resumed_at_bytes
    share = 100 * resumed / total
    resent = size(found.resent_bytes)
    return {
        "upload_text": f"The agent was ended with kill -9 while it sent {total:,} bytes, and started again. It asked"
        " the store how far it had durably come, and went on from there.",
        "cut": f"{share:.1f}",
        "rest": f"{100 - share:.1f}",
        "resumed": f"{resumed:,}",
        "before": size(resumed),
        "after": size(total - resumed),
        "resent": resent,
    }


def _forgetting(found: Found) -> dict[str, str]:
    return {
        "thief_text": "Somebody copied the whole disk while all three recordings were still there. Later they took the"
        " device too, and with it the keystore as it is after the deletes. They know the format and try every key on"
        " every copy.",
        "thief": "".join(map(_thief_row, found.tries)),
        "requests": "".join(map(_request_row, found.requests)),
    }


def _thief_row(one: Try) -> str:
    return (
        f"<tr><td>{_text(one.label)}<br><code class='hex'>{_text(one.object)}</code></td><td>{_text(one.fate)}</td>"
        f"<td data-label='with the keystore of back then, a control: it is gone'>"
        f"{_tag('opens', good=None) if one.opened_with_old_key else _tag('closed', good=True)}</td>"
        f"<td data-label='with the device as it is now'>"
        f"{_tag('opens', good=None) if one.opened_after else _tag('gone for good', good=True)}</td></tr>"
    )


def _request_row(one: tuple[str, str, str]) -> str:
    asked, status, did = one
    answer = _tag(status, good=status == "done")
    return f"<tr><td>{_text(asked)}</td><td data-label='receipt'>{answer}</td><td>{_text(did)}</td></tr>"


def _proofs(found: Found, steps: list[dict[str, Any]]) -> dict[str, str]:
    receipts = [
        f"<tr><td><code class='hex'>{_text(name[:26])}…</code></td><td>{_text(says)}</td>"
        f"<td>{_tag('holds', good=True)}</td></tr>"
        for name, says in found.receipts
    ]
    by_hand = [f"<p>{_text(what[:1].upper() + what[1:])}:</p><pre>{_text(told)}</pre>" for what, told in found.by_hand]
    return {
        "flip_text": f"The log is a chain of hashes, anchored by what the receipts say of it. Here one bit of entry"
        f" {found.flipped_line} was flipped, so that it names another recording.",
        "flip_before": _marked(found.flipped_before, found.flipped_at),
        "flip_after": _marked(found.flipped_after, found.flipped_at),
        "log_said": _text(found.log_said),
        "flip_named": _text(found.flip_named),
        "receipts": "".join(receipts),
        "steps": "".join(map(_step_row, steps)),
        "by_hand": "".join(by_hand),
        "classic": "The owner here has a classic X25519 key, so that any <code>age</code> since 1.0 opens the file;"
        " what <code>privacy-owner init</code> makes by itself is post-quantum and wants age 1.3.",
    }


def _step_row(step: dict[str, Any]) -> str:
    claims = "".join(f"<li>{_text(claim)}</li>" for claim in step["claims"])
    return (
        f'<tr><td class="n">{step["step"]}</td><td><span class="step">{_text(step["title"])}</span><br>'
        f'{_text(step["seen"])}<ul class="claims">{claims}</ul></td>'
        f'<td>{_text(step["figure"])}</td><td class="n">{step["seconds"]:.1f}</td></tr>'
    )


def _share(found: Found) -> float:
    return 100 * found.killed_at_bytes / found.payload_bytes


def _text(value: object) -> str:
    return html.escape(str(value))


def _tag(text: str, *, good: bool | None) -> str:
    """Return a coloured word: good, bad, or (None) just so."""
    kind = "warn" if good is None else "good" if good else "bad"
    return f'<span class="tag {kind}">{_text(text)}</span>'


def _marked(line: str, at: int) -> str:
    return f"{_text(line[:at])}<mark>{_text(line[at])}</mark>{_text(line[at + 1 :])}"


def _hex(head: bytes) -> str:
    shown = "".join(chr(byte) if 0x20 < byte < 0x7F else "·" for byte in head)  # noqa: PLR2004 - printable ASCII
    return f"{head.hex(' ')}  {_text(shown)}"


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
