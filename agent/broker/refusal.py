"""What the broker's refusal of one packet means, and what its operator does about it (MQTT 5, 3.4.2.1)."""

from typing import Final

from agent.broker.link import MAX_PACKET_BYTES, Acknowledged
from agent.errors import RefusedError

NOT_AUTHORIZED: Final = 0x87
TOO_LARGE: Final = 0x95  # not a reason of PUBACK in the standard; mosquitto gives it above its message_size_limit
QUOTA_EXCEEDED: Final = 0x97

_NAMES: Final = {TOO_LARGE: "Packet too large"}
_SEVERAL: Final = frozenset({"rcpt", "up"})  # channels with something behind them


def refusal_error(event: Acknowledged, *, base: str, channel: str) -> RefusedError:
    """Return the error for a packet on ``base``/``channel`` that the broker acknowledged with a refusal.

    Its reason is ``not_authorized`` or ``broker_refused``: the former is a fault of the broker's access rules.
    """
    denied = event.code == NOT_AUTHORIZED
    return RefusedError(
        f"the broker refused what was published to {base}/{channel}: {_NAMES.get(event.code, event.refusal)}",
        reason="not_authorized" if denied else "broker_refused",
        retry="later",
        hint=_fix(event.code, channel),
    )


def _fix(code: int, channel: str) -> str:
    if code == NOT_AUTHORIZED:
        head = channel.partition("/")[0]
        topic = f"pv1/+/%u/{head}{'/#' if head in _SEVERAL else ''}"
        return f"let the device write there (mosquitto's acl_file: pattern write {topic}), then reload the broker"
    if code == QUOTA_EXCEEDED:
        return "raise the broker's quota for this device (mosquitto: max_inflight_messages, max_queued_messages)"
    if code == TOO_LARGE:
        return (
            f"let the broker take packets of {MAX_PACKET_BYTES} bytes (mosquitto: max_packet_size, message_size_limit)"
        )
    return "see the broker's log"
