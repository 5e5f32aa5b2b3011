"""How slowly a camera may give a recording before its fetch is given up: none holds a place by what it says."""

from agent.sealer.fetching import PACE_BYTES_S, Pace

LIMIT_S = 600.0
STEP_S = 80.0


def lost_after(bytes_a_step: int, *, steps: int) -> int | None:
    """Return at which step it is lost, ``None`` when at none of them."""
    pace = Pace(limit_s=LIMIT_S)
    for step in range(1, steps + 1):
        if pace.is_lost(step * bytes_a_step, waited_s=STEP_S):
            return step
    return None


def test_recording_of_which_a_little_comes_again_and_again_is_given_up_whatever_size_it_was_said_to_have() -> None:
    assert lost_after(64 * 1024, steps=1_000) == 8  # 640 s, of which what came is worth 32


def test_recording_that_gets_on_is_never_given_up_however_long_it_takes() -> None:
    assert lost_after(int(PACE_BYTES_S * STEP_S), steps=10_000) is None
