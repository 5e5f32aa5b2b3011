"""The order in which a camera's addresses are tried: what served comes first, and a flood keeps none waiting."""

from hypothesis import given
from hypothesis import strategies as st

from agent.camera.identity import Address
from agent.camera.route import SERVED_MAX, TRIED_MAX, Routes

OWN = Address("192.0.2.7", 8443)
RELAY = Address("192.0.2.66", 8443)
SECOND = Address("192.0.2.67", 8443)
ADDRESSES = [Address(f"192.0.2.{last}", 8443) for last in range(1, 9)]


def test_addresses_of_which_nothing_is_known_are_tried_as_they_were_given() -> None:
    assert Routes().order([RELAY, OWN, RELAY]) == (RELAY, OWN)


def test_address_that_served_comes_first_and_the_one_that_served_last_before_others() -> None:
    routes = Routes()
    routes.served(OWN)
    assert routes.order([RELAY, SECOND, OWN])[0] == OWN
    routes.served(SECOND)
    assert routes.order([RELAY, OWN, SECOND]) == (SECOND, OWN, RELAY)


def test_address_that_failed_is_behind_what_served_until_it_serves_itself() -> None:
    routes = Routes()
    routes.served(OWN)
    routes.served(RELAY)
    routes.broke(RELAY)
    assert routes.order([RELAY, OWN]) == (OWN, RELAY)
    routes.broke(SECOND)
    assert routes.order([SECOND, OWN])[0] == OWN
    routes.served(RELAY)
    assert routes.order([OWN, RELAY])[0] == RELAY


def test_address_whose_first_answer_was_cut_goes_behind_the_one_that_was_not_tried() -> None:
    routes = Routes()
    assert routes.order([RELAY, OWN])[0] == RELAY
    routes.broke(RELAY)
    assert routes.order([RELAY, OWN])[0] == OWN


def test_address_that_is_not_offered_is_not_tried() -> None:
    routes = Routes()
    routes.served(OWN)
    assert routes.order([RELAY]) == (RELAY,)
    assert routes.order([]) == ()


EVENTS = st.lists(st.tuples(st.sampled_from(["served", "broke"]), st.sampled_from(ADDRESSES)), max_size=60)


@given(EVENTS, st.lists(st.sampled_from(ADDRESSES)))
def test_each_offered_address_is_tried_once_and_what_served_before_what_failed(
    events: list[tuple[str, Address]], offered: list[Address]
) -> None:
    routes, last = Routes(), dict[Address, str]()
    for what, address in events:
        getattr(routes, what)(address)
        last[address] = what
    order = routes.order(offered)
    assert sorted(order, key=ADDRESSES.index) == sorted(set(offered), key=ADDRESSES.index)
    newest = dict.fromkeys(address for what, address in reversed(events) if what == "served")
    remembered = list(newest)[:SERVED_MAX]
    if any(last.get(address) == "served" and address in remembered for address in offered):
        assert last[order[0]] == "served"


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.booleans())
def test_flood_of_addresses_that_were_never_tried_keeps_none_waiting(floods: list[int], has_served: bool) -> None:  # noqa: FBT001 - drawn
    """Whoever announces new addresses without end: each of them fails, and the camera's own stands behind them all."""
    routes, fresh, passes = Routes(), 0, 0
    offered = [OWN]
    if has_served:
        routes.served(OWN)
    routes.broke(OWN)  # it blinked
    for flood in floods:
        offered = [Address("192.0.2.66", fresh + one) for one in range(flood)] + offered
        fresh += flood
        order = routes.order(offered)
        passes += 1
        if OWN in order:
            break
        for address in order:
            routes.broke(address)
    assert passes == 1, "of those that failed it failed longest ago"


@given(st.lists(st.sampled_from(ADDRESSES), max_size=40))
def test_relays_that_served_before_keep_the_cameras_own_waiting_for_no_more_than_one_pass(serve: list[Address]) -> None:
    """Each serves until it is wanted; the camera's own blinked once, and is tried with the first dozen."""
    routes = Routes()
    others = [address for address in serve if address != ADDRESSES[0]][: SERVED_MAX - 1]
    for address in others:
        routes.served(address)
    routes.served(ADDRESSES[0])
    routes.broke(ADDRESSES[0])
    for address in others:
        routes.broke(address)
    new = [Address("192.0.2.66", port) for port in range(200)]
    order = routes.order([*new, *ADDRESSES])
    assert len(order) == TRIED_MAX
    assert order.index(ADDRESSES[0]) < 3 * SERVED_MAX
