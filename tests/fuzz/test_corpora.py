"""Every parser reads the examples, and refuses what broke it once, with the errors that it declares and no other.

The fuzzer itself is not needed: what it found are files, and these run on every Python.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.envelope import VERBS
from tests.fuzz.messages import ANSWERS
from tests.fuzz.target import Target
from tests.fuzz.targets import FOUND, TARGETS, found

CHANGED = 60
"""Of each target: a little of what the fuzzer does for as long as it may, the same at each run."""

BROKE = [(target.name, path) for target in TARGETS.values() for path in found(target)]


def examples(target: Target) -> list[bytes]:
    return list(target.seeds())


@pytest.mark.parametrize("name", TARGETS)
def test_examples_are_read_or_refused_as_declared_and_not_all_refused(name: str) -> None:
    target = TARGETS[name]
    taken = [target.takes(raw) for raw in examples(target)]
    assert any(taken), "what takes none of its examples tries nothing behind the first refusal"
    assert all(len(raw) <= target.largest for raw in examples(target)), "the fuzzer would cut it"


@pytest.mark.parametrize(("name", "path"), BROKE, ids=[f"{name}-{path.name}" for name, path in BROKE])
def test_what_broke_a_parser_once_is_read_or_refused_as_declared(name: str, path: Path) -> None:
    TARGETS[name].takes(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_changed_examples_are_read_or_refused_as_declared(name: str) -> None:
    target = TARGETS[name]
    for raw in changed(examples(target), random.Random(name)):  # noqa: S311 - the same at each run, and no key
        target.takes(raw[: target.largest])


def changed(seeds: list[bytes], dice: random.Random) -> Iterator[bytes]:
    """Yield nothing at all, noise, and examples that were cut, doubled, changed or put into one another."""
    yield b""
    yield dice.randbytes(300)
    for _ in range(CHANGED):
        raw, other = dice.choice(seeds), dice.choice(seeds)
        at, to = sorted(dice.randrange(len(raw) + 1) for _ in range(2))
        put = dice.choice((b"", raw[at:to] * 2, dice.randbytes(3), other[at:to], bytes(to - at)))
        yield raw[:at] + put + raw[to:]


def test_every_verb_and_every_answer_of_a_store_is_among_the_examples() -> None:
    told = [json.loads(raw) for raw in examples(TARGETS["command"]) if TARGETS["command"].takes(raw)]
    assert {claims["verb"] for claims in told} == set(VERBS)
    assert {f"answer-{kind}" for kind in ANSWERS} <= set(TARGETS)


def test_everything_that_was_found_belongs_to_a_target() -> None:
    assert {path.name for path in FOUND.iterdir() if path.is_dir()} <= set(TARGETS)


def test_error_that_is_not_declared_escapes() -> None:
    def read(raw: bytes) -> object:
        return {b"good": 1}[raw]

    undeclared = Target(name="a", read=read, declared=(ValueError,), seeds=lambda: (b"good",))
    assert undeclared.takes(b"good")
    with pytest.raises(KeyError):
        undeclared.takes(b"bad")
    assert not Target(name="a", read=read, declared=(KeyError,), seeds=lambda: ()).takes(b"bad")
