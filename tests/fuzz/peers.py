"""What those send whom the agent connects to: the packets of a broker, the answer of a third party's server."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Final, cast

from paho.mqtt.enums import MQTTErrorCode

from agent.broker.address import Address
from agent.broker.link import MQTT_3_1_1, MQTT_5, Event, Link
from agent.broker.link import Protocol as Version
from agent.courier.message import Errand
from agent.courier.worker import _put
from tests.fuzz.target import Target

LARGE: Final = 8192
TOPIC: Final = b"pv1/acme/cam-01/cmd"
ERRAND: Final = Errand(host="a.example", port=443, target="/a", size_bytes=7, may_be_private=False, ca="")


def packets(version: Version) -> Callable[[bytes], object]:
    """Return what takes a broker's packets, as the thread of a connection does, until none is left."""

    async def taken(raw: bytes) -> list[Event]:
        events: list[Event] = []
        link = Link(
            Address(host="broker.example", port=8883, secure=True),
            context=None,
            client_id="cam-01",
            protocol=version,
            topics=(TOPIC.decode(),),
            will=None,
            keep_session=True,
            on_event=events.append,
        )
        near, theirs = socket.socketpair()
        with near, theirs:
            theirs.sendall(raw)
            theirs.shutdown(socket.SHUT_WR)
            near.settimeout(0)
            client = link._client
            client._sock = near
            client.publish(TOPIC.decode(), b"", qos=1)  # so that there is something to acknowledge
            while client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS:
                pass
            link._drain()
        return events

    return lambda raw: asyncio.run(taken(raw))


class Line(socket.socket):
    """The end of a connection whose handshake is over: TLS adds nothing to what is said."""

    def getpeercert(self, *, binary_form: bool) -> bytes:
        return b"certificate" if binary_form else b""


def answer(raw: bytes) -> object:
    """Put a file to a server that says this."""
    near, theirs = socket.socketpair()
    file = os.memfd_create("part")
    os.write(file, b"1234567")
    try:
        with Line(fileno=near.detach()) as line, theirs:
            theirs.sendall(raw)
            theirs.shutdown(socket.SHUT_WR)
            return _put(ERRAND, cast("ssl.SSLSocket", line), file)
    finally:
        os.close(file)


def _packet(kind: int, body: bytes) -> bytes:
    return bytes((kind, len(body))) + body


def sendings(version: Version) -> Iterator[bytes]:
    """Yield packets of each kind that a broker may send, and of some that it may not."""
    properties = b"\0" if version == MQTT_5 else b""
    accepted = _packet(0x20, b"\0\0" + (b"\x06\x21\0\x14\x22\0\x0a" if version == MQTT_5 else b""))
    published = _packet(0x32, len(TOPIC).to_bytes(2) + TOPIC + b"\0\x07" + properties + b"\x01{}")
    granted = _packet(0x90, b"\0\x01" + properties + b"\x01")
    done = _packet(0x40, b"\0\x01" + (b"\x10\0" if version == MQTT_5 else b""))
    yield accepted + granted + published + done + b"\xd0\0"
    yield accepted + _packet(0x40, b"\0\x01" + (b"\x95\0" if version == MQTT_5 else b""))
    yield accepted + _packet(0x34, published[2:]) + b"\xe0" + (b"\x02\x8e\0" if version == MQTT_5 else b"\0")
    yield _packet(0x20, b"\0\x87" + properties if version == MQTT_5 else b"\0\x05")


def answers() -> Iterator[bytes]:
    """Yield answers of servers."""
    yield b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
    yield b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\n\r\n"


TARGETS: Final = (
    Target(
        name="mqtt-5",
        read=packets(MQTT_5),
        declared=(OSError, ValueError),
        seeds=lambda: sendings(MQTT_5),
        largest=LARGE,
    ),
    Target(
        name="mqtt-3",
        read=packets(MQTT_3_1_1),
        declared=(OSError, ValueError),
        seeds=lambda: sendings(MQTT_3_1_1),
        largest=LARGE,
    ),
    Target(name="https-answer", read=answer, declared=(HTTPException, OSError), seeds=answers, largest=LARGE),
)
