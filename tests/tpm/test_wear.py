"""The budget of raises: ten years of the worst that anybody asks for stay below what a TPM is counted on for."""

from hypothesis import given
from hypothesis import strategies as st

from agent.element.wear import ANCHOR_MS, BURST, ENDURANCE, LIFE_MS, PAUSE_MS, Wear

NOW_MS = 1_800_000_000_000


def test_ten_years_of_a_raise_at_each_chance_stay_below_the_endurance() -> None:
    wear, raises = Wear().at(NOW_MS), 0
    for now_ms in range(NOW_MS, NOW_MS + LIFE_MS + 1, PAUSE_MS // 2):
        wear = wear.at(now_ms)
        while wear.left:
            wear, raises = wear.raised(now_ms), raises + 1
    assert BURST + LIFE_MS // PAUSE_MS - 1 <= raises <= ENDURANCE


@given(st.lists(st.integers(0, 3 * LIFE_MS), max_size=50))
def test_no_history_of_clocks_gives_more_than_the_burst_and_one_an_hour(clocks: list[int]) -> None:
    wear, raises = Wear().at(NOW_MS), 0
    for passed_ms in clocks:
        wear = wear.at(NOW_MS + passed_ms)
        while wear.left:
            wear, raises = wear.raised(NOW_MS + passed_ms), raises + 1
    assert raises <= BURST + max(clocks, default=0) // PAUSE_MS + 1


def test_anchor_is_due_a_day_after_the_last_raise_and_never_without_one_left() -> None:
    wear = Wear(1, NOW_MS, NOW_MS)
    assert not wear.anchor_is_due(NOW_MS + ANCHOR_MS - 1)
    assert wear.anchor_is_due(NOW_MS + ANCHOR_MS)
    assert not Wear(0, NOW_MS, NOW_MS).anchor_is_due(NOW_MS + ANCHOR_MS)
