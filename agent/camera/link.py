"""What can be asked of one camera, over a session that is opened when it is needed and kept while it holds.

Rules: all of it happens in one thread, but ``cut`` and what is told of connections that were made elsewhere
(``order``, ``served``, ``broke``); an address proves nothing, and a handshake with the camera's key proves only that
somebody passes it on, so each is tried until a whole answer came (``agent/camera/route.py``). What was not answered is
asked again at the next one: repeating it changes nothing, which is true of all that is asked.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from agent.camera.answer import AnswerError, Page, Status, read_collection, read_page, read_status
from agent.camera.identity import Address, LinkIdentity, Pinned
from agent.camera.route import Routes
from agent.camera.session import Session, away, proved
from agent.camera.tls import CutError, ImpostorError, client_context, connect, kid_of_pem
from agent.errors import AgentError, CorruptError, LinkError

_NO_CONTENT: Final = (204,)
_PAIRED: Final = (200, 201)

Result = TypeVar("Result")


class CameraLink:
    """The link to one camera; ``on_impostor`` is told an address at which somebody else answered."""

    def __init__(
        self,
        *,
        pinned: Pinned,
        credentials: LinkIdentity,
        monotonic: Callable[[], float],
        on_impostor: Callable[[Address], None] = lambda _address: None,
    ) -> None:
        self._pinned = pinned
        self._context = client_context(key_pem=credentials.key_pem, certificate_pem=credentials.certificate_pem)
        self._kid = kid_of_pem(credentials.certificate_pem)
        self._monotonic = monotonic
        self._on_impostor = on_impostor
        self._addresses: tuple[Address, ...] = ()
        self._routes = Routes()
        self._of_routes = threading.Lock()
        self._session: Session | None = None
        self._cutting: socket.socket | None = None
        self.at: Address | None = None
        """Where the session is that is kept: it gave a whole answer."""
        self._is_answered = False
        self._ends = 0

    def meet(self, addresses: Sequence[Address]) -> None:
        """Ask at these addresses from now on; a session elsewhere, or where something was cut meanwhile, is ended."""
        self._addresses = tuple(addresses)
        with self._of_routes:
            broken = self.at is None or self.at not in addresses or self._routes.is_broken(self.at)
        if broken:
            self.close()

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

    def order(self) -> tuple[Address, ...]:
        """Return where to try now, one after the other; from any thread."""
        with self._of_routes:
            return self._routes.order(self._addresses)

    def served(self, address: Address) -> None:
        """Note that the camera gave something whole there; from any thread."""
        with self._of_routes:
            self._routes.served(address)

    def broke(self, address: Address) -> None:
        """Note that something was cut there, or nobody answered; from any thread."""
        with self._of_routes:
            self._routes.broke(address)

    def end(self) -> None:
        """End what is under way, from another thread, and ask nowhere else for it."""
        self._ends += 1
        self.cut()

    def cut(self) -> None:
        """Cut the connection that is in use, from another thread: what was asked there is asked at the next address."""
        cutting = self._cutting
        if cutting is not None:
            _shut(cutting)

    def close(self) -> None:
        """End the session."""
        session, self._session = self._session, None
        self.at, self._is_answered = None, False
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
        """Ask in the session that is kept, then at one address after the other; return the first whole answer."""
        ends = self._ends
        failure: LinkError = LinkError("the camera was not heard of", hint="is it switched on, and on this network?")
        session, at = self._session, self.at
        if session is not None and not session.closed and at is not None:
            try:
                return self._answered(session, at, ask)
            except CutError as error:  # the camera may have ended a session that was idle
                failure = error
        for address in self.order():
            if self._ends != ends:
                break
            self.close()
            try:
                return self._answered(self._opened(address), address, ask)
            except ImpostorError as error:
                self._on_impostor(address)
                failure = LinkError(error.message, hint=error.hint)
            except CutError:  # which may name the address, and that is for no log
                failure = LinkError("the camera does not answer where it was heard", hint="it is tried again by itself")
            self.broke(address)
        self.close()
        raise failure

    def _opened(self, address: Address) -> Session:
        line = connect(address.host, address.port, numeric=address.numeric)
        self._cutting = _another(line)
        self._session = proved(line, context=self._context, pinned=self._pinned, monotonic=self._monotonic)
        self.at = address
        return self._session

    def _answered(self, session: Session, at: Address, ask: Callable[[Session], Result]) -> Result:
        try:
            result = ask(session)
        except CutError:
            raise
        except AgentError:  # it is an answer too
            self._note_answer(at)
            raise
        self._note_answer(at)
        return result

    def _note_answer(self, at: Address) -> None:
        if not self._is_answered:  # once in a session: a recording that was cut meanwhile is not made good by it
            self._is_answered = True
            self.served(at)


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
