"""One connection of the camera link: handshake, then request after request, with the document's patience and limits.

What is broken in the camera's link strikes here: ``link-slow``, ``link-cut``, ``link-silent``.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import h11

from device_sim.camera.card import CardError
from device_sim.camera.device import Device
from device_sim.camera.kid import KeyKindError, kid_of
from device_sim.link.request import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    Answer,
    AnswerError,
    Request,
    refused,
    split_target,
)
from device_sim.link.resource import answer
from device_sim.link.tls import RECORD_BYTES, TlsError, TlsStream

HANDSHAKE_S: Final = 10.0
REQUEST_S: Final = 30.0
IDLE_S: Final = 30.0
"""docs/camera-link.md §2."""
SLOW_BYTES_PER_S: Final = 16 * 1024
CUT_AFTER_BYTES: Final = 64 * 1024

Pause = Callable[[float], Awaitable[None]]


class _CutError(Exception):
    """The link is broken on command."""


class Conversation:
    """One connection from its first byte to its last."""

    def __init__(self, device: Device, stream: TlsStream, *, pause: Pause = asyncio.sleep) -> None:
        self._device, self._stream, self._pause = device, stream, pause
        self._line = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._caller = ""
        self._bodiless = False

    async def run(self) -> None:
        """Answer until either side ends it."""
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                shown = await self._stream.handshake()
            with contextlib.suppress(KeyKindError):
                self._caller = kid_of(shown.public_key())
            while await self._answer_next():
                self._line.start_next_cycle()
            await self._stream.close()
        except (TlsError, TimeoutError, _CutError, h11.LocalProtocolError):
            self._stream.abort()
        except BaseException:
            self._stream.abort()
            raise

    async def _answer_next(self) -> bool:
        """Whether another may follow."""
        try:
            request = await self._request()
            if request is None:
                return False
            if "link-silent" in self._device.faults:
                self._device.tell("silent")
                await asyncio.Event().wait()
            said = answer(self._device, request)
            if said.after is not None:
                await said.after()
        except AnswerError as error:
            said = refused(error)
            self._device.tell("refused", code=error.code)
        except h11.RemoteProtocolError as error:
            if self._line.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
                return False
            large = error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            said = refused(_head_too_large() if large else AnswerError("bad_request", "no request of HTTP/1.1"))
        await self._say(said)
        return self._line.our_state is h11.DONE and self._line.their_state is h11.DONE

    async def _request(self) -> Request | None:
        async with asyncio.timeout(IDLE_S):
            head = await self._event()
        if not isinstance(head, h11.Request):
            return None
        self._bodiless = head.method == b"HEAD"
        if sum(len(name) + len(value) for name, value in head.headers) + len(head.target) > MAX_HEAD_BYTES:
            raise _head_too_large()
        body = bytearray()
        async with asyncio.timeout(REQUEST_S):
            if self._line.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[]))
            while isinstance(event := await self._event(), h11.Data):
                body += event.data
                if len(body) > MAX_BODY_BYTES:
                    raise AnswerError("too_large", f"a body has at most {MAX_BODY_BYTES} bytes")
        path, query = split_target(bytes(head.target))
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        return Request(
            caller=self._caller,
            method=head.method.decode("ascii"),
            path=path,
            query=query,
            headers=headers,
            body=bytes(body),
        )

    async def _event(self) -> object:
        while (event := self._line.next_event()) is h11.NEED_DATA:
            self._line.receive_data(await self._stream.read())
        return event

    async def _say(self, said: Answer) -> None:
        headers = dict(said.headers)
        plain = b""
        if said.document is not None:
            plain = json.dumps(said.document, ensure_ascii=False).encode()
            headers["Content-Type"] = "application/json"
        if said.status != HTTPStatus.NO_CONTENT:
            headers["Content-Length"] = str(said.size if said.content else len(plain))
        if said.status in {HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE}:
            headers["Connection"] = "close"
        head = h11.Response(status_code=said.status, headers=list(headers.items()), reason=said.status.phrase)
        if said.content is None:
            await self._send(head)
            await self._send(h11.Data(data=b"" if self._bodiless else plain))
        else:
            await self._say_content(said, head)
        await self._send(h11.EndOfMessage())

    async def _say_content(self, said: Answer, head: h11.Response) -> None:
        assert said.content is not None  # noqa: S101 - by the caller
        try:
            with said.content() as file:
                file.seek(said.at)
                await self._send(head)
                left, sent = said.size, 0
                self._device.tell("fetching", recording=said.name, at=said.at)
                while left:
                    piece = file.read(min(left, RECORD_BYTES))
                    if not piece:
                        raise _CutError("the card gives no more of it")
                    await self._send(h11.Data(data=piece))
                    left, sent = left - len(piece), sent + len(piece)
                    await self._struck(len(piece), sent)
            self._device.tell("fetched", recording=said.name)
        except CardError as error:
            await self._say(refused(AnswerError(error.code, str(error))))

    async def _struck(self, size: int, sent: int) -> None:
        if "link-cut" in self._device.faults and sent >= CUT_AFTER_BYTES:
            raise _CutError("cut on command")
        if "link-slow" in self._device.faults:
            await self._pause(size / SLOW_BYTES_PER_S)

    async def _send(self, event: h11.Event) -> None:
        data = self._line.send(event)
        if data:
            await self._stream.write(data)


def _head_too_large() -> AnswerError:
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return AnswerError("too_large", f"a head has at most {MAX_HEAD_BYTES} bytes", status=status)
