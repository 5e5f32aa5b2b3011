"""Whose turn it is: no flood keeps another host waiting, and nothing waits twice or is lost."""

from hypothesis import given
from hypothesis import strategies as st

from agent.nearby.turns import Turns


def all_of(turns: Turns[str]) -> list[str]:
    taken = []
    while (one := turns.take()) is not None:
        taken.append(one)
    return taken


def test_better_rank_is_before_all_others() -> None:
    turns = Turns[str](ranks=2)
    turns.put("later", rank=1, host="a")
    turns.put("first", rank=0, host="a")
    assert all_of(turns) == ["first", "later"]


def test_host_of_which_nothing_waited_is_next() -> None:
    turns = Turns[str](ranks=1)
    for number in range(100):
        turns.put(f"flood {number}", rank=0, host=f"flood {number % 3}")
        turns.take()
    turns.put("camera", rank=0, host="camera")
    assert turns.take() == "camera"


def test_hosts_take_turns_and_of_each_the_newest_is_next() -> None:
    turns = Turns[str](ranks=1)
    for name in ("a1", "a2", "b1", "b2"):
        turns.put(name, rank=0, host=name[0])
    assert all_of(turns) == ["b2", "a2", "b1", "a1"]


def test_what_is_put_again_waits_once_and_there() -> None:
    turns = Turns[str](ranks=2)
    turns.put("one", rank=1, host="a")
    turns.put("two", rank=1, host="b")
    turns.put("one", rank=0, host="c")
    assert len(turns) == 2
    assert all_of(turns) == ["one", "two"]


def test_what_waits_in_vain_is_dropped() -> None:
    turns = Turns[str](ranks=1)
    for name in ("one", "two", "three"):
        turns.put(name, rank=0, host="a")
    turns.keep(lambda name: name == "two")
    turns.remove("never there")
    assert (len(turns), all_of(turns)) == (1, ["two"])


PUTS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2), st.sampled_from("abc")), max_size=60)


@given(PUTS)
def test_each_that_waits_is_taken_once_by_rank(puts: list[tuple[int, int, str]]) -> None:
    turns, last = Turns[int](ranks=3), dict[int, int]()
    for one, rank, host in puts:
        turns.put(one, rank=rank, host=host)
        last[one] = rank
    taken = []
    while (one_of := turns.take()) is not None:
        taken.append(one_of)
    assert sorted(taken) == sorted(last)
    assert [last[one] for one in taken] == sorted(last.values())
