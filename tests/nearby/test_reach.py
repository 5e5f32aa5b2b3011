"""Where an enrolled camera is looked for, and what a proof at another address changes: nothing, while it answers."""

from hypothesis import given
from hypothesis import strategies as st

from agent.nearby.reach import Reach, answered, away, met, places, proved_by_advert, proved_by_probe

OWN = ("192.0.2.7", 8443)
RELAY = ("192.0.2.66", 8443)
PLACES = [OWN, RELAY, ("192.0.2.67", 8443)]


def test_proof_of_an_advert_displaces_no_address_that_answers() -> None:
    reach = proved_by_advert(Reach(), OWN, now_ms=1)
    assert proved_by_advert(reach, RELAY, now_ms=2) == reach
    assert places(reach, [RELAY, OWN]) == (OWN, RELAY)


def test_camera_that_moved_is_found_at_its_new_address_once_it_left_the_old_one() -> None:
    reach = away(proved_by_advert(Reach(), OWN, now_ms=1), now_ms=2)
    assert reach.reachable is False
    reach = proved_by_advert(reach, RELAY, now_ms=3)
    assert (reach.host, reach.port, reach.reachable, reach.proved_ms) == (*RELAY, True, 3)


def test_address_that_gave_whole_answers_comes_first_whatever_is_proved_since() -> None:
    reach = met(Reach(), OWN, now_ms=1)
    for proved in (proved_by_probe, proved_by_advert):
        assert places(proved(away(reach, now_ms=2), RELAY, now_ms=3), []) == (OWN, RELAY)


def test_answer_of_a_camera_with_one_address_says_that_it_is_there() -> None:
    reach = answered(Reach(), now_ms=1)
    assert (reach.host, reach.reachable, reach.tried_ms) == ("", True, 1)


EVENTS = st.lists(st.tuples(st.sampled_from(["met", "advert", "probe", "away"]), st.sampled_from(PLACES)), max_size=30)


@given(EVENTS, st.lists(st.sampled_from(PLACES)))
def test_where_whole_answers_came_from_last_is_tried_first_and_everything_heard_is_tried_once(
    events: list[tuple[str, tuple[str, int]]], heard: list[tuple[str, int]]
) -> None:
    reach, served = Reach(), None
    for now_ms, (what, place) in enumerate(events):
        if what == "met":
            reach, served = met(reach, place, now_ms=now_ms), place
        elif what == "advert":
            reach = proved_by_advert(reach, place, now_ms=now_ms)
        elif what == "probe":
            reach = proved_by_probe(reach, place, now_ms=now_ms)
        else:
            reach = away(reach, now_ms=now_ms)
    order = places(reach, heard)
    assert set(heard) <= set(order)
    assert len(set(order)) == len(order)
    if served is not None:
        assert order[0] == served
