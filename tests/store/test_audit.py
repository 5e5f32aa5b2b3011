"""The chain: every edit, drop, reorder, insertion and cut of a log is found, and a true log never is accused."""

import json
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import audit, chain
from agent.audit import Event, Head
from agent.errors import ConfigError, CorruptError
from agent.index import Tx
from agent.keystore import Keystore
from agent.model import Moment, new_id
from tests.store.home import NOW, Home

EVENTS = 12
CHECKPOINTS = {5, EVENTS}


def write_log(home: Home) -> list[bytes]:
    for number in range(1, EVENTS + 1):

        def one(tx: Tx, number: int = number) -> None:
            event = Event(kind="admitted", object=new_id(), detail={"bytes": number})
            audit.append(tx, event, moment=NOW)
            if number in CHECKPOINTS:
                audit.checkpoint(tx, home.keystore, moment=NOW)

        home.index.write_now(one)
    return read_log(home)


def read_log(home: Home) -> list[bytes]:
    lines: list[bytes] = []
    after = 0
    while True:
        after, page = home.index.read_now(partial(audit.entries, after=after, limit=5))
        if not page:
            return lines
        lines.extend(page)


def judged(home: Home, lines: list[bytes], anchor: Head | None = None) -> chain.Verdict:
    return chain.verify_lines(lines, jwk=home.keystore.public_jwk(), anchor=anchor)


def test_true_log_holds_and_says_what_was_not_shown(home: Home) -> None:
    lines = write_log(home)
    assert len(lines) == EVENTS + len(CHECKPOINTS)
    verdict = judged(home, lines)
    assert (verdict.first, verdict.last, verdict.signed, verdict.anchored) == (1, EVENTS, EVENTS, False)
    assert verdict.sentence() == "consistent from 1 up to 12, signed up to 12, not anchored"
    head = home.index.read_now(audit.head)
    assert judged(home, lines, head).anchored


def test_event_of_a_rolled_back_change_is_not_in_the_chain(home: Home) -> None:
    def change(tx: Tx) -> None:
        audit.append(tx, Event(kind="started"), moment=NOW)
        raise LookupError

    with pytest.raises(LookupError):
        home.index.write_now(change)
    assert home.index.read_now(audit.head) == chain.EMPTY


def drop(lines: list[bytes], place: int) -> list[bytes]:
    return lines[:place] + lines[place + 1 :]


def swap(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]


def double(lines: list[bytes], place: int) -> list[bytes]:
    return lines[: place + 1] + lines[place:]


@pytest.mark.parametrize("damage", [drop, swap, double])
def test_dropped_swapped_or_doubled_line_is_found_at_any_place(
    home: Home, damage: Callable[[list[bytes], int], list[bytes]]
) -> None:
    lines = write_log(home)
    head = home.index.read_now(audit.head)
    for place in range(len(lines) - 2):
        if damage is drop and b"checkpoint" in lines[place][:13]:
            continue  # a log without one of its checkpoints is still a true log
        if damage is double and b"checkpoint" in lines[place][:13]:
            continue  # the same statement twice says nothing else
        if damage is drop and place == 0:
            continue  # tested below: a log may begin in the middle
        with pytest.raises(CorruptError, match=r"^line "):
            judged(home, damage(lines, place), head)


def test_edited_entry_is_found_even_when_its_line_is_well_formed(home: Home) -> None:
    lines = write_log(home)
    for place in range(len(lines) - 1):
        entry = json.loads(lines[place])
        if "seq" not in entry:
            continue
        entry["detail"]["bytes"] += 1
        forged = json.dumps(entry, separators=(",", ":"), sort_keys=True).encode()
        with pytest.raises(CorruptError):
            judged(home, [*lines[:place], forged, *lines[place + 1 :]])


def test_remade_chain_of_somebody_else_is_found_at_its_first_checkpoint(
    home: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Home(tmp_path_factory.mktemp("other") / "vault")
    forged = write_log(other)
    other.close()
    with pytest.raises(CorruptError, match="not signed by the device"):
        judged(home, forged)


def test_cut_log_is_consistent_alone_and_found_with_an_anchor(home: Home) -> None:
    lines = write_log(home)
    head = home.index.read_now(audit.head)
    for end in range(1, len(lines) - 2):
        verdict = judged(home, lines[:end])
        assert verdict.last < EVENTS
        assert verdict.sentence().endswith("not anchored")
        with pytest.raises(CorruptError, match=r"are known to exist"):
            judged(home, lines[:end], head)


def test_log_that_forked_from_the_anchor_is_found(home: Home) -> None:
    lines = write_log(home)
    with pytest.raises(CorruptError, match="not the one that was anchored"):
        judged(home, lines, Head(7, "0" * 64))


def test_first_entry_that_names_an_earlier_one_begins_no_log_even_under_a_checkpoint(home: Home) -> None:
    # Who may sign could otherwise drop the oldest entries and number the rest anew, and nothing would show it.
    forged = chain.entry_line(Event(kind="started"), head=Head(0, "1" * 64), moment=NOW)
    keystore = home.keystore
    checkpoint = chain.checkpoint_line(
        Head(1, chain.line_hash(forged)), keystore.sign, alg=keystore.alg, kid=keystore.kid, moment=NOW
    )
    with pytest.raises(CorruptError, match="line 1: the first entry does not begin a log"):
        judged(home, [forged, checkpoint])


def test_checkpoint_in_any_other_form_is_refused(home: Home) -> None:
    # One text for one statement: else two files that say the same would differ, and one could be told from the other.
    lines = write_log(home)
    place = next(place for place, line in enumerate(lines) if line.startswith(b'{"checkpoint"'))
    true = lines[place]
    sig = json.loads(true)["sig"]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other_bits = sig[:-1] + letters[letters.index(sig[-1]) ^ 1]  # the same 64 bytes for a reader that is not strict
    for forged in (
        true.replace(b'":', b'": '),
        true.replace(sig.encode(), other_bits.encode()),
        true.replace(sig.encode(), sig.encode() + b"=="),
    ):
        assert forged != true
        with pytest.raises(CorruptError, match=f"line {place + 1}: the checkpoint.*(form|base64url)"):
            judged(home, [*lines[:place], forged, *lines[place + 1 :]])


def test_entry_before_the_first_begins_no_log(home: Home) -> None:
    forged = chain.entry_line(Event(kind="started"), head=Head(-1, "0" * 64), moment=NOW)
    with pytest.raises(CorruptError, match="line 1: the first entry does not begin a log"):
        judged(home, [forged])


def prune(home: Home, limit: int = EVENTS) -> int:
    return home.index.write_now(lambda tx: audit.prune(tx, home.keystore, moment=NOW, limit=limit))


def test_pruned_log_begins_in_the_middle_under_a_checkpoint(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "KEEP_ENTRIES", 4)
    write_log(home)
    assert prune(home) == EVENTS - 4
    lines = read_log(home)
    verdict = judged(home, lines, home.index.read_now(audit.head))
    assert (verdict.first, verdict.last, verdict.anchored) == (EVENTS - 3, EVENTS, True)
    with pytest.raises(CorruptError, match="no checkpoint vouches"):
        judged(home, lines[:3])


def test_anchor_that_lies_before_what_is_left_of_a_log_anchors_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "KEEP_ENTRIES", 4)
    write_log(home)
    prune(home)
    lines = read_log(home)
    assert not judged(home, lines, Head(2, "0" * 64)).anchored
    assert judged(home, lines, chain.EMPTY).anchored
    assert judged(home, [], chain.EMPTY).anchored


def test_log_is_pruned_in_bounded_parts_and_never_beyond_what_is_kept(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prune(home) == 0
    write_log(home)
    assert prune(home) == 0
    monkeypatch.setattr(audit, "KEEP_ENTRIES", 2)
    assert [prune(home, limit=4) for _ in range(4)] == [4, 4, 2, 0]
    assert judged(home, read_log(home)).first == EVENTS - 1


def test_pruning_signs_where_no_signature_would_be_left(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "KEEP_ENTRIES", 2)
    for _ in range(5):
        home.index.write_now(lambda tx: audit.append(tx, Event(kind="started"), moment=NOW))
    assert prune(home) == 3
    assert judged(home, read_log(home)).signed == 5


def test_checkpoint_is_due_only_after_many_unsigned_entries(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "CHECKPOINT_EVERY", 3)
    write_log(home)
    assert not home.index.read_now(audit.checkpoint_due)
    for _ in range(3):
        home.index.write_now(lambda tx: audit.append(tx, Event(kind="started"), moment=NOW))
    assert home.index.read_now(audit.checkpoint_due)


def test_checkpoints_of_both_algorithms_verify(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("es256")
    Keystore.create(folder / "keystore", signing="ES256")
    other = Home(folder)
    lines = write_log(other)
    assert other.keystore.alg == "ES256"
    assert judged(other, lines).signed == EVENTS
    with pytest.raises(CorruptError, match="another algorithm"):
        judged(home, lines)
    other.close()


def test_key_that_is_none_is_a_configuration_error() -> None:
    for jwk in (
        {},
        {"kty": "RSA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "!"},
    ):
        with pytest.raises(ConfigError, match="next: use the jwk"):
            chain.verify_lines([], jwk=jwk)


def test_clock_state_is_part_of_the_entry(home: Home) -> None:
    unsure = Moment(agent_ms=5, wall_ms=9, trusted=False)
    home.index.write_now(lambda tx: audit.append(tx, Event(kind="clock_changed"), moment=unsure))
    entry = json.loads(read_log(home)[0])
    assert (entry["at"], entry["trusted"], entry["seq"], entry["prev"]) == (5, False, 1, "0" * 64)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_bytes_in_a_log_raise_nothing_but_the_declared_error(
    data: st.DataObject, true_log: tuple[list[bytes], dict[str, str]]
) -> None:
    lines, jwk = true_log
    place = data.draw(st.integers(0, len(lines) - 1))
    line = bytearray(lines[place])
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(line) - 1))
        line[at] ^= data.draw(st.integers(1, 255))
    else:
        line = bytearray(data.draw(st.binary(max_size=200)))
    changed = [*lines[:place], bytes(line), *lines[place + 1 :]]
    try:
        chain.verify_lines(changed, jwk=jwk)
    except CorruptError:
        return
    # Only line ends may differ without anybody noticing.
    assert [line.rstrip(b"\r\n") for line in changed] == lines


@pytest.fixture(scope="module")
def true_log(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], dict[str, str]]:
    home = Home(tmp_path_factory.mktemp("log") / "vault")
    lines = write_log(home)
    home.close()
    return lines, home.keystore.public_jwk()
