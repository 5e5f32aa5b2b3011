"""Every key of a device, as bytes to be looked for: what must be gone is looked for, and what must be there, too."""

from dataclasses import dataclass

from agent.app.parts import Parts
from agent.index import Tx
from agent.index import vault as rows
from agent.keytree import unwrap_branch, unwrap_group


@dataclass(frozen=True, slots=True)
class Slot:
    """A wrapped slot and what it is bound to, as the index of its time told it."""

    wrapped: bytes
    payload_sha256: bytes
    kind: str
    group: str
    version: int
    wrapped_group: bytes
    branch: str
    branch_version: int
    wrapped_branch: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """The keys by id, and the wrapped rows over which a thief would try keys."""

    own: dict[str, bytes]
    roots: dict[str, bytes]
    branches: dict[str, bytes]
    groups: dict[str, bytes]
    files: dict[str, bytes]
    root: str
    slots: dict[str, Slot]

    def tree(self) -> tuple[bytes, ...]:
        """Return the keys that a delete of everything destroys."""
        return (*self.roots.values(), *self.branches.values(), *self.groups.values(), *self.files.values())


def known(parts: Parts) -> Known:
    """Read them all from an open device."""
    state = parts.keystore._state
    own = {"signing": state.signing, "index": state.index_key, "tombstone": state.tombstone_key}

    def read(tx: Tx) -> Known:
        root = parts.vault.root(tx)
        ids = [item.id for item in parts.vault.page(tx)]
        branches = {
            n: unwrap_branch(root, wrapped, id=branch, version=version)
            for n, branch, version, wrapped in rows.branches(tx)
        }
        return Known(
            own=own,
            roots={one.id: one.key for one in parts.keystore.roots()},
            branches={f"{one.id} {one.version}": one.key for one in branches.values()},
            groups={
                f"{group} {version}": unwrap_group(above, wrapped, id=group, version=version).key
                for n, above in branches.items()
                for _, group, version, wrapped in rows.groups_of(tx, n)
            },
            files={object_id: parts.vault.slot_key(tx, object_id) for object_id in ids},
            root=root.id,
            slots={
                object_id: Slot(*found[:-1], *rows.branch(tx, found[-1]))
                for object_id in ids
                if (found := rows.slot(tx, object_id)) is not None
            },
        )

    return parts.index.read_now(read)
