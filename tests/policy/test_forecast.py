"""What a retention pass is expected to remove: see ``agent/policy/forecast.py``."""

from agent.policy import FORECAST_MS, Before, Forecast, Policy, Rule, Turnover, parse_policy

DAY = 86_400_000
NOW = 1_000 * DAY
BEFORE = Before(passed_ms=NOW, ages={"category.recording": 3 * DAY})


def policy(keep: str, more: str = "") -> Policy:
    text = f"""\
version = 1
[recipients]
owner = ["age1x"]
[category.recording]
purpose = "security"
seal_to = ["owner"]
keep = {{ {keep} }}
{more}
"""
    return parse_policy(text.encode(), file="policy.toml")


def forecast(told: Policy, before: Before | None, **arrived: tuple[int, int]) -> Forecast:
    """``arrived`` is what each camera brought: (objects, bytes) of recordings."""
    turnover = {(camera, "recording"): Turnover(*numbers) for camera, numbers in arrived.items()}
    return Forecast(told, before, arrived=turnover)  # type: ignore[arg-type] # a category by its name


def expects(told: Forecast, rule: Rule, by: str, *, age_ms: int = 0, size: int = 1) -> bool:
    return told.expects(rule, f"{rule.scope}.{by}", taken_in_ms=NOW - age_ms, size_bytes=size)


def test_age_makes_expected_what_is_due_within_a_day_of_the_last_pass() -> None:
    told = policy('age = "3d"')
    (rule,) = told.rules
    assert expects(forecast(told, BEFORE), rule, "keep.age", age_ms=3 * DAY - FORECAST_MS)
    assert not expects(forecast(told, BEFORE), rule, "keep.age", age_ms=3 * DAY - FORECAST_MS - 1)


def test_shorter_age_makes_nothing_expected_and_a_longer_one_counts_from_itself() -> None:
    hasty, slow = policy('age = "1d"'), policy('age = "9d"')
    assert not expects(forecast(hasty, BEFORE), hasty.rules[0], "keep.age", age_ms=DAY)
    assert expects(forecast(hasty, BEFORE), hasty.rules[0], "keep.age", age_ms=3 * DAY)
    assert not expects(forecast(slow, BEFORE), slow.rules[0], "keep.age", age_ms=7 * DAY)
    assert expects(forecast(slow, BEFORE), slow.rules[0], "keep.age", age_ms=9 * DAY)


def test_age_that_is_new_surprises_and_one_of_another_set_does_not_matter() -> None:
    told = policy('age = "3d"')
    new = Before(passed_ms=NOW, ages={"category.photo": DAY})
    assert not expects(forecast(told, new), told.rules[0], "keep.age", age_ms=99 * DAY)


def test_camera_with_a_new_rule_of_its_own_is_seen_from_its_categorys_age() -> None:
    told = policy('age = "3d"', '[camera.k3x9.recording]\nkeep.age = "1d"')
    own = told.rules[1]
    assert own.camera == "k3x9"
    assert not expects(forecast(told, BEFORE), own, "keep.age", age_ms=DAY)
    assert expects(forecast(told, BEFORE), own, "keep.age", age_ms=3 * DAY)


def test_ages_that_an_older_version_did_not_note_are_todays() -> None:
    told = policy('age = "3d"')
    assert expects(forecast(told, Before(passed_ms=NOW, ages=None)), told.rules[0], "keep.age", age_ms=3 * DAY)


def test_count_and_size_may_drive_out_as_much_as_came_into_the_set() -> None:
    told = policy("count = 9", "[camera.k3x9.recording]\nkeep.count = 9")
    rule, own = told.rules
    seen = forecast(told, BEFORE, aaaa=(2, 50), bbbb=(1, 50), k3x9=(1, 10))
    assert [expects(seen, rule, "keep.count") for _ in range(4)] == [True, True, True, False]
    assert [expects(seen, own, "keep.count") for _ in range(2)] == [True, False]
    assert [expects(seen, rule, "keep.size", size=60) for _ in range(3)] == [True, True, False]


def test_floor_may_take_as_much_as_came_into_any_set_and_no_more() -> None:
    told = policy('disk_free = "10%"')
    seen = forecast(told, BEFORE, aaaa=(2, 50), bbbb=(1, 50))
    found = [expects(seen, told.rules[0], by, size=40) for by in ("keep.disk_free", "on_full", "keep.disk_free")]
    assert found == [True] * 3
    assert not expects(seen, told.rules[0], "on_full", size=40)


def test_nothing_surprises_before_the_first_pass() -> None:
    told = policy("count = 1")
    assert expects(forecast(told, None), told.rules[0], "keep.count")
