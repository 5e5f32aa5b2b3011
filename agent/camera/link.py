"""What can be asked of one camera, over a session that is opened when it is needed and kept while it holds.

Rules: all of it happens in one thread, but ``cut``; an address proves nothing, so each is tried until the camera that
was enrolled answers; what was not answered is asked once more only where repeating it changes nothing, which is all.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from agent.camera.answer import AnswerError, Page, Status, read_collection, read_page, read_status
from agent.camera.identity import Address, Credentials, Pinned
from agent.camera.session import Session, away, proved
from agent.camera.tls import CutError, ImpostorError, client_context, connect, kid_of_pem
from agent.errors import CorruptError, LinkError

ADDRESSES_MAX: Final = 16
"""Tried for one camera, one after the other."""

_NO_CONTENT: Final = (204,)
_PAIRED: Final = (200, 201)

Result = TypeVar("Result")


class CameraLink:
    """The link to one camera; ``on_impostor`` is told an address at which somebody else answered."""

    def __init__(
        self,
        *,
        pinned: Pinned,
        credentials: Credentials,
        monotonic: Callable[[], float],
        on_impostor: Callable[[Address], None] = lambda _address: None,
    ) -> None:
        self._pinned = pinned
        self._context = client_context(key_pem=credentials.key_pem, certificate_pem=credentials.certificate_pem)
        self._kid = kid_of_pem(credentials.certificate_pem)
        self._monotonic = monotonic
        self._on_impostor = on_impostor
        self._addresses: tuple[Address, ...] = ()
        self._session: Session | None = None
        self._cutting: socket.socket | None = None
        self.proved: Address | None = None

    def meet(self, addresses: Sequence[Address]) -> None:
        """Make sure that the camera answers at one of these addresses, the one that was proved last before others.

        Raises ``LinkError`` when it answers at none.
        """
        known = [self.proved] if self.proved in addresses and self.proved is not None else []
        self._addresses = tuple(dict.fromkeys([*known, *addresses]))[:ADDRESSES_MAX]
        if self._session is None or self._session.closed or self.proved not in addresses:
            self.close()
            self._open()

    def status(self) -> Status:
        """Ask the camera how it is."""
        return self._asked(lambda session: read_status(session.ask("GET", "/v1/camera").body))

    def page(self, after: str, *, limit: int, waiting: bool = True) -> Page:
        """Return one page of what is there, or of what waits to be acknowledged, in the order in which it began."""
        asked = [f"limit={limit}", *(["acknowledged=false"] if waiting else []), *([f"after={after}"] if after else [])]
        where = f"/v1/recordings?{'&'.join(asked)}"
        return self._asked(lambda session: read_page(session.ask("GET", where).body))

    def acknowledge(self, recording: str, sha256: bytes) -> bool:
        """Let the camera give a recording up, which is durable here; return whether it still had it."""
        body = {"sha256": sha256.hex()}
        where = f"/v1/recordings/{recording}/acknowledged"
        return self._there(lambda session: session.ask("PUT", where, body=body, done=_NO_CONTENT))

    def delete(self, recording: str, *, sha256: bytes, card: str) -> None:
        """Have a recording of that content deleted from that card; on return the camera says that it is not on it.

        Durably. That it knows no such recording is no promise, and raises like all else that it answers.
        """
        where, head = f"/v1/recordings/{recording}?storage={card}", {"If-Match": f'"{sha256.hex()}"'}
        self._asked(lambda session: session.ask("DELETE", where, head=head, done=_NO_CONTENT))

    def collects(self) -> bool:
        """Ask whether the camera records."""
        return self._asked(lambda session: read_collection(session.ask("GET", "/v1/collection").body))

    def collect(self, *, enabled: bool) -> None:
        """Switch the camera's collection on or off; on return it is so, and what ran has ended."""
        now = self._asked(
            lambda session: read_collection(session.ask("PUT", "/v1/collection", body={"enabled": enabled}).body)
        )
        if now is not enabled:
            raise CorruptError("the camera answers that it switched, and did not")

    def pair(self) -> None:
        """Have the camera pin this agent's key; its set-up window has to be open unless it did so before."""
        self._asked(lambda session: session.ask("PUT", "/v1/agent", body={"kid": self._kid}, done=_PAIRED))

    def unpair(self) -> None:
        """Have the camera forget this agent, and record nothing until another one comes."""
        self._asked(lambda session: session.ask("DELETE", "/v1/agent", done=_NO_CONTENT))

    def cut(self) -> None:
        """End what is under way, from another thread: it fails with ``CutError``."""
        cutting = self._cutting
        if cutting is not None:
            _shut(cutting)

    def close(self) -> None:
        """End the session."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
        cutting, self._cutting = self._cutting, None
        if cutting is not None:
            cutting.close()

    def _there(self, ask: Callable[[Session], object]) -> bool:
        try:
            self._asked(ask)
        except AnswerError as error:
            if error.code == "not_found":
                return False
            raise
        return True

    def _asked(self, ask: Callable[[Session], Result]) -> Result:
        kept = self._session is not None and not self._session.closed
        try:
            return ask(self._opened())
        except CutError:
            if not kept:
                raise
        return ask(self._opened())  # the camera may have closed a session that was idle

    def _opened(self) -> Session:
        if self._session is None or self._session.closed:
            self.close()
            self._open()
        assert self._session is not None  # noqa: S101 - it was opened one line above
        return self._session

    def _open(self) -> None:
        failure: LinkError = LinkError("the camera was not heard of", hint="is it switched on, and on this network?")
        for address in self._addresses:
            try:
                line = connect(address.host, address.port, numeric=address.numeric)
                self._cutting = _another(line)
                session = proved(line, context=self._context, pinned=self._pinned, monotonic=self._monotonic)
            except ImpostorError as error:
                self._on_impostor(address)
                failure = LinkError(error.message, hint=error.hint)
            except LinkError:  # which names the address, and that is for no log
                failure = LinkError("the camera does not answer where it was heard", hint="it is tried again by itself")
            else:
                self._session = session
                self.proved = address
                return
            self.close()
        raise failure


def _another(line: socket.socket) -> socket.socket:
    try:
        return line.dup()
    except OSError as error:  # there are too many open files
        line.close()
        raise away(error) from error


def _shut(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is over already
        return
