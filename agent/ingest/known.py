"""What the index knows of a file at its source: taken before, deleted before, of which camera."""

import msgspec

from agent import registry
from agent.index import Tx
from agent.ingest.work import Work, source_tag
from agent.model import Object
from agent.sources import Candidate
from agent.vault import Forbidden, Vault


class Found(msgspec.Struct, frozen=True):
    """What the index knows of one piece of work that was not read; ``taken`` only where its source keeps its copy."""

    taken: bool
    forbidden: Forbidden | None
    camera: str


class Known:
    """Asks inside the caller's transaction; ``taking`` names the sources whose copies are ours to empty."""

    def __init__(self, vault: Vault, *, taking: frozenset[str]) -> None:
        self._vault = vault
        self._taking = taking

    @property
    def key(self) -> bytes:
        """The key under which files are known again."""
        return self._vault.keystore.tombstone_key()

    def is_new(self, tx: Tx, candidate: Candidate, tag: bytes) -> bool:
        """Return whether to offer it; what is ours to give up always is: it may be another that looks the same."""
        return self._takes(candidate) or not self._vault.seen(tx, tag)

    def find(self, tx: Tx, work: Work) -> Found:
        """Return what is known of a piece of work by its first file, unread."""
        settings = work.source.settings
        camera = registry.find_camera(tx, settings.name, work.first.place.label) or ""
        taken = not settings.takes and self._vault.seen(tx, source_tag(work.first, key=self.key))
        return Found(taken, self.forbidden(tx, work.first, camera=camera), camera)

    def held(self, tx: Tx, candidate: Candidate, content: bytes) -> Object | None:
        """Return the object that holds this very file with this content."""
        return self._vault.held(tx, source_tag(candidate, key=self.key), content)

    def forbidden(self, tx: Tx, candidate: Candidate, *, camera: str, content: bytes = b"") -> Forbidden | None:
        """Return why this file was deleted before; unread, it may be another where it is ours."""
        place = candidate.place
        return self._vault.forbidden(
            tx,
            source_tag=b"" if self._takes(candidate) else source_tag(candidate, key=self.key),
            content_tag=content,
            camera=camera,
            category=place.category,
            captured_from_ms=place.captured_from_ms,
            captured_to_ms=place.captured_to_ms,
            source=candidate.source,
        )

    def _takes(self, candidate: Candidate) -> bool:
        return candidate.source in self._taking
