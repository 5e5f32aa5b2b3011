"""What is near as a person reads it: a line for each device, beneath it what is said of it and what to do next.

Words of strangers are shown in quotation marks. Two rows of one address are not joined, for nothing proves that they
are one device; that they share it is said.
"""

from typing import Any, Final

from agent.cli.cameras import words_of
from agent.shell.camera import radio_words

_ORDER: Final = ("impostor", "enrolled", "new", "heard")


def near_table(near: dict[str, Any]) -> str:
    """Return what is near: devices, what they give away, and why something may not be heard."""
    from agent.shell.terminal import noted, table

    devices = sorted(near["near"], key=lambda one: _ORDER.index(one["state"]))
    names = {one["camera"]: _who(one) for one in devices if one["state"] == "enrolled"}
    known = [one for one in devices if one["state"] != "heard"]
    rows = [(_cells(one, names), _words(one, beside=_beside(one, known))) for one in devices]
    parts = [noted(rows, head=("what", "who", "where", "heard by", "at")) if rows else "Nothing is heard yet."]
    advice = {leak["code"]: leak["advice"] for one in devices for leak in one["leaks"]}
    if advice:
        parts.append(table([(_plain(code), told) for code, told in sorted(advice.items())], head=("gives away", "")))
    troubles = [
        (one["way"], one["place"] or "-", _plain(one["reason"]), one["next"]) for one in troubles_once(near["troubles"])
    ]
    if troubles:
        parts.append(table(troubles, head=("way", "where", "trouble", "next")))
    return "\n\n".join(parts)


def troubles_once(troubles: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the troubles with those that several ways have, word for word, said once."""
    ways: dict[tuple[str, str, str], list[str]] = {}
    for one in troubles:
        ways.setdefault((one["place"], one["reason"], one["next"]), []).append(one["way"])
    return [
        {"way": ", ".join(which), "place": place, "reason": reason, "next": following}
        for (place, reason, following), which in ways.items()
    ]


def _cells(one: dict[str, Any], names: dict[str, str]) -> tuple[str, ...]:
    from agent.shell.times import clock_text

    heard = one["heard"]
    ways = ", ".join(sorted({each["way"] for each in heard})) or "-"
    if one["signal_dbm"] is not None:
        ways += f" {one['signal_dbm']} dBm"
    where = one.get("address") or next((each["addresses"][0] for each in heard if each["addresses"]), "-")
    what = one["level"] if one["state"] == "enrolled" else one["state"]
    who = f"not {names.get(one['impostor_of'], one['impostor_of'])}" if one["state"] == "impostor" else _who(one)
    return what, who, where, ways, clock_text(one["last_seen"]) if "last_seen" in one else "-"


def _who(one: dict[str, Any]) -> str:
    if one["state"] == "enrolled":
        return f"{one['camera']} {one['name']}".rstrip()
    if one["state"] == "new":
        return str(one["unverified_device"])
    if one.get("may_be"):
        return f"perhaps {one['may_be'][0]}"
    names = [each["unverified_name"] for each in one["heard"] if each["unverified_name"]]
    return f'"{names[0]}"' if names else "no name"


def _words(one: dict[str, Any], *, beside: str) -> list[str]:
    words: list[str] = []
    if one["state"] == "enrolled":
        words += how_words(one)
    elif one["state"] == "impostor":
        words.append(f"{_plain(one['rule'])}: given nothing; find out whose it is")
    elif one["state"] == "new":
        words += [f"fingerprint {one['fingerprint']}", "enrol it by the label on it: privacy-agent enrol LABEL"]
    if beside:
        words.append(beside)
    if one["heard"] and all(each["gone"] for each in one["heard"]):
        words.append("said goodbye, or fell silent")
    if one.get("may_be") and any(each.get("wants") == "passkey" for each in one["heard"]):
        words.append(f"give its passkey: privacy-agent passkey {one['may_be'][0]}")
    if one["leaks"]:
        words.append(f"gives away: {', '.join(_plain(leak['code']) for leak in one['leaks'])}")
    return words


def how_words(one: dict[str, Any]) -> list[str]:
    """Say how an enrolled camera is: as its agent knows it, else whether it answers, and what it said by radio."""
    there = {True: "answers", False: "does not answer: is it on, and on this network?", None: "not looked for yet"}
    radio = radio_words(one)
    known = words_of(one) if "how" in one else there[one["reachable"]] if one["reachable"] or not radio else ""
    return [word for word in (known, radio) if word]


def _beside(one: dict[str, Any], known: list[dict[str, Any]]) -> str:
    """Say of what proved nothing with whom it shares an address, where one of those proved a key."""
    if one["state"] != "heard":
        return ""
    at = _addresses(one)
    hosts = {_host(address) for address in at}
    same = [_who(other) for other in known if at & _addresses(other)]
    same = same or [_who(other) for other in known if hosts & {_host(address) for address in _addresses(other)}]
    return f"same address as {' and '.join(same[:2])}" if same else ""


def _addresses(one: dict[str, Any]) -> set[str]:
    every = {address for each in one["heard"] for address in each["addresses"]}
    return every | ({one["address"]} if "address" in one else set())


def _host(address: str) -> str:
    return address.partition("]")[0] if address.startswith("[") else address.partition(":")[0]


def _plain(code: str) -> str:
    return code.replace("_", " ")
