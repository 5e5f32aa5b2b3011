"""A TPM 2.0 through tpm2-pytss (TCG "TPM 2.0 Library", part 3 for the commands): what it holds and what it will do.

- *parent*: a storage key that the TPM derives from its own seed at each opening, so it is stored nowhere.
- *signing key*: P-256, made in the TPM; what leaves it is wrapped for that parent. Used under a secret of the keystore.
- *counter*: an NV index of type counter. The TPM begins a counter that was removed and is defined anew above all that
  it ever had (part 1, "NV Counters"), so neither a raise nor a removal ever lets an old value come back. Never ORDERLY:
  a raise is in the TPM's memory when the command returns.
- *sealed key*: 32 bytes, opened by TPM2_PolicyNV only while the counter *equals* the value that it was sealed to. Once
  the counter is raised this TPM never gives it again, and no other TPM can.

Secrets cross the bus encrypted, in sessions salted for the parent. One thread at a time speaks to the TPM. What
tpm2-pytss returns lives as long as the outermost value: a part of it alone would be read from memory that is freed.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

os.environ.setdefault("TSS2_LOG", "all+NONE")  # else the library writes to standard error what an exception says anyway

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2_CAP,
    TPM2_EO,
    TPM2_NT,
    TPM2_RC,
    TPM2_RH,
    TPM2_SE,
    TPM2_ST,
    TPM2B_NV_PUBLIC,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPM2B_SENSITIVE_DATA,
    TPMA_NV,
    TPMA_OBJECT,
    TPMA_SESSION,
    TPMS_NV_PUBLIC,
    TPMS_SENSITIVE_CREATE,
    TPMT_PUBLIC,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF,
    TPMT_TK_HASHCHECK,
    TSS2_Exception,
)

from agent.element import TpmSettings
from agent.errors import ConfigError, CorruptError

COUNTER_BYTES: Final = 8
COORDINATE_BYTES: Final = 32

_LENGTH_BYTES: Final = 2
_LABEL: Final = b"privacy-agent counter\0"
_NOT_OPENED: Final = (TPM2_RC.INTEGRITY, TPM2_RC.SIZE, TPM2_RC.POLICY, TPM2_RC.POLICY_FAIL)
_LAYER_MASK: Final = 0xFF0000
_MALFORMED: Final = 9 << 16
"""The layer of tpm2-tss that reads structures (TSS2_MU_RC_LAYER)."""

_COUNTER_KIND: Final = (
    TPMA_NV.AUTHREAD
    | TPMA_NV.AUTHWRITE
    | TPMA_NV.OWNERREAD
    | TPMA_NV.NO_DA
    | (TPM2_NT.COUNTER << TPMA_NV.TPM2_NT_SHIFT)
)
_FIXED: Final = TPMA_OBJECT.FIXEDTPM | TPMA_OBJECT.FIXEDPARENT | TPMA_OBJECT.NODA


class Tpm:
    """An open TPM; ``close`` leaves nothing of ours loaded in it."""

    def __init__(self, settings: TpmSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._signing: dict[bytes, Any] = {}
        try:
            self._esys = ESAPI(settings.tcti)
        except (TSS2_Exception, RuntimeError) as error:
            raise ConfigError(
                f"{settings.tcti}: no TPM answers there ({error})",
                hint="look for /dev/tpmrm0 and let the agent's user open it (usermod -aG tss), or name yours: "
                'tcti = "…" under [keystore] in agent.toml',
            ) from error
        try:
            with _asked("make the parent of its keys", settings, at_start=True):
                self._parent = self._esys.create_primary(
                    TPM2B_SENSITIVE_CREATE(),
                    TPM2B_PUBLIC.parse(
                        "ecc:aes128cfb", objectAttributes=TPMA_OBJECT.DEFAULT_TPM2_TOOLS_CREATEPRIMARY_ATTRS
                    ),
                )[0]
                self._session = self._start(TPM2_SE.HMAC)
        except BaseException:
            self._esys.close()
            raise

    def close(self) -> None:
        """Take our keys out of the TPM's volatile memory and let go of it."""
        with self._lock:
            if self._esys.is_closed():
                return
            try:
                for handle in (*self._signing.values(), self._session, self._parent):
                    self._esys.flush_context(handle)
            except TSS2_Exception:
                pass  # it was reset meanwhile, which took them out as well
            finally:
                self._esys.close()

    def make_counter(self, label: str) -> int:
        """Define the counter, or take up the one that a cut set-up under the same ``label`` left; return its value.

        Raises ``ConfigError`` when the index is somebody else's.
        """
        with self._lock, _asked("define the counter", self._settings, at_start=True):
            ours = hashlib.sha256(_LABEL + label.encode()).digest()
            counter = self._counter()
            if counter is None:
                counter = self._define(ours)
            public, _ = self._esys.nv_read_public(counter)
            found = public.nvPublic
            if bytes(found.authPolicy) != ours or found.attributes & ~TPMA_NV.WRITTEN != _COUNTER_KIND:
                raise ConfigError(
                    f"the TPM's NV index {self._settings.counter:#010x} is another agent's, or another program's",
                    hint="give this agent its own: counter = 0x01810731 under [keystore]; "
                    f"or, if nobody needs it any more: tpm2_nvundefine {self._settings.counter:#010x}",
                )
            if not found.attributes & TPMA_NV.WRITTEN:
                self._esys.nv_increment(counter)
            return self._value(counter)

    def count(self) -> int:
        """Return the counter's value; raises ``CorruptError`` where there is no counter."""
        with self._lock, _asked("read the counter", self._settings, at_start=True):
            return self._value(self._its_counter())

    def raise_counter(self) -> None:
        """Add one, durably: what was sealed to the value before is never opened again."""
        with self._lock, _asked("raise the counter", self._settings):
            self._esys.nv_increment(self._its_counter())

    def remove_counter(self) -> None:
        """Raise the counter and remove it; an absent one is fine."""
        with self._lock, _asked("remove the counter", self._settings):
            counter = self._counter()
            if counter is not None:
                self._esys.nv_increment(counter)
                self._esys.nv_undefine_space(counter)

    def seal(self, key: bytes, *, count: int) -> bytes:
        """Return ``key`` sealed so that this TPM opens it while the counter is at ``count`` and never after."""
        with self._lock, _asked("seal a key", self._settings):
            trial = self._start(TPM2_SE.TRIAL)
            try:
                self._only_while(trial, self._its_counter(), count)
                policy = bytes(self._esys.policy_get_digest(trial))
            finally:
                self._esys.flush_context(trial)
            template = TPMT_PUBLIC.parse("keyedhash", objectAttributes=_FIXED, authPolicy=policy)
            template.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG.NULL
            secret = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(data=TPM2B_SENSITIVE_DATA(key)))
            private, public, *_ = self._esys.create(
                self._parent, secret, TPM2B_PUBLIC(template), session1=self._session
            )
            return _packed(private, public)

    def unseal(self, sealed: bytes, *, count: int) -> bytes:
        """Return the key; raises ``CorruptError`` once the counter is past ``count``, and in another TPM."""
        with self._lock, _asked("unseal a key", self._settings, at_start=True):
            handle = self._load(sealed)
            session = None
            try:
                session = self._start(TPM2_SE.POLICY)
                self._only_while(session, self._its_counter(), count)
                return bytes(self._esys.unseal(handle, session1=session))
            finally:
                if session is not None:
                    self._esys.flush_context(session)
                self._esys.flush_context(handle)

    def make_signing_key(self, secret: bytes) -> bytes:
        """Make a P-256 key in the TPM, used under ``secret`` alone; return it wrapped for this TPM."""
        with self._lock, _asked("make the signing key", self._settings, at_start=True):
            template = TPM2B_PUBLIC.parse(
                "ecc:ecdsa-sha256",
                objectAttributes=_FIXED
                | TPMA_OBJECT.SENSITIVEDATAORIGIN
                | TPMA_OBJECT.USERWITHAUTH
                | TPMA_OBJECT.SIGN_ENCRYPT,
            )
            wanted = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=secret))
            private, public, *_ = self._esys.create(self._parent, wanted, template, session1=self._session)
            return _packed(private, public)

    def sign(self, wrapped: bytes, data: bytes, *, secret: bytes) -> bytes:
        """Sign inside the TPM; return R‖S of 32 bytes each (RFC 7518, section 3.4)."""
        with self._lock, _asked("sign", self._settings):
            handle = self._signing.get(wrapped)
            if handle is None:
                handle = self._signing[wrapped] = self._load(wrapped)
                self._esys.tr_set_auth(handle, secret)
            scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.ECDSA)
            scheme.details.any.hashAlg = TPM2_ALG.SHA256
            made = self._esys.sign(
                handle,
                hashlib.sha256(data).digest(),
                scheme,
                TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL),
                session1=self._session,
            )
            signature = made.signature.ecdsa
            return b"".join(
                bytes(part).rjust(COORDINATE_BYTES, b"\0") for part in (signature.signatureR, signature.signatureS)
            )

    # -- the caller holds the lock ------------------------------------------------------------------------------------

    def _start(self, kind: Any) -> Any:  # noqa: ANN401 - tpm2-pytss ships no types
        """Begin a session whose secrets only the TPM that holds the parent can read."""
        session = self._esys.start_auth_session(
            tpm_key=self._parent,
            bind=ESYS_TR.NONE,
            session_type=kind,
            symmetric=TPMT_SYM_DEF.parse("aes128cfb", is_restricted=True),
            auth_hash=TPM2_ALG.SHA256,
        )
        if kind != TPM2_SE.TRIAL:
            wanted = TPMA_SESSION.CONTINUESESSION | TPMA_SESSION.ENCRYPT
            if kind == TPM2_SE.HMAC:
                wanted |= TPMA_SESSION.DECRYPT
            self._esys.trsess_set_attributes(session, wanted)
        return session

    def _counter(self) -> Any:  # noqa: ANN401 - tpm2-pytss ships no types
        """Return the counter's handle, or ``None``."""
        _, listed = self._esys.get_capability(TPM2_CAP.HANDLES, self._settings.counter, 1)
        if [int(handle) for handle in listed.data.handles] != [self._settings.counter]:
            return None
        return self._esys.tr_from_tpmpublic(self._settings.counter)

    def _its_counter(self) -> Any:  # noqa: ANN401 - tpm2-pytss ships no types
        counter = self._counter()
        if counter is None:
            raise CorruptError(
                f"the TPM has no counter {self._settings.counter:#010x}: it was cleared, or is not this device's",
                hint="give the device its own TPM back; if that was cleared, what the device held is lost to it: "
                "move its state folder away, then: privacy-agent init",
            )
        return counter

    def _define(self, label: bytes) -> Any:  # noqa: ANN401 - tpm2-pytss ships no types
        return self._esys.nv_define_space(
            b"",
            TPM2B_NV_PUBLIC(
                nvPublic=TPMS_NV_PUBLIC(
                    nvIndex=self._settings.counter,
                    nameAlg=TPM2_ALG.SHA256,
                    attributes=_COUNTER_KIND,
                    authPolicy=label,  # without a POLICY attribute it opens nothing: it says whose counter this is
                    dataSize=COUNTER_BYTES,
                )
            ),
        )

    def _value(self, counter: Any) -> int:  # noqa: ANN401 - tpm2-pytss ships no types
        return int.from_bytes(bytes(self._esys.nv_read(counter, COUNTER_BYTES)))

    def _only_while(self, session: Any, counter: Any, count: int) -> None:  # noqa: ANN401 - tpm2-pytss ships no types
        self._esys.policy_nv(counter, counter, session, count.to_bytes(COUNTER_BYTES), TPM2_EO.EQ)

    def _load(self, packed: bytes) -> Any:  # noqa: ANN401 - tpm2-pytss ships no types
        private, public = _unpacked(packed)
        return self._esys.load(self._parent, private, public, session1=self._session)


def public_point(wrapped: bytes) -> tuple[int, int]:
    """Return x and y of a wrapped signing key."""
    _, public = _unpacked(wrapped)
    point = public.publicArea.unique.ecc
    return int.from_bytes(bytes(point.x)), int.from_bytes(bytes(point.y))


def _packed(private: Any, public: Any) -> bytes:  # noqa: ANN401 - tpm2-pytss ships no types
    first = private.marshal()
    return len(first).to_bytes(_LENGTH_BYTES) + bytes(first) + bytes(public.marshal())


def _unpacked(packed: bytes) -> tuple[Any, Any]:
    length = int.from_bytes(packed[:_LENGTH_BYTES])
    private, _ = TPM2B_PRIVATE.unmarshal(packed[_LENGTH_BYTES : _LENGTH_BYTES + length])
    public, _ = TPM2B_PUBLIC.unmarshal(packed[_LENGTH_BYTES + length :])
    return private, public


@contextmanager
def _asked(what: str, settings: TpmSettings, *, at_start: bool = False) -> Iterator[None]:
    """Say what the TPM refused.

    ``CorruptError`` where the bytes are another TPM's or of a past counter, ``ConfigError`` where it wants a password,
    and ``at_start`` for all else. Later that is an ``OSError``, which ends the agent as a disk that fails does: the
    next start finishes what was cut.
    """
    try:
        yield
    except TSS2_Exception as error:
        refused = f"the TPM at {settings.tcti} could not {what}"
        if error.error in _NOT_OPENED or error.rc & _LAYER_MASK == _MALFORMED:
            raise CorruptError(
                f"the TPM does not open the keystore ({error})",
                hint="this file is a copy from before its last change, or another device's: the newest one, beside its "
                "own TPM, opens; if it is lost, move the state folder away, then: privacy-agent init",
            ) from error
        if error.error == TPM2_RC.BAD_AUTH:
            raise ConfigError(
                f"{refused}: its owner hierarchy has a password",
                hint="the agent asks for none; take it off: tpm2_changeauth --object-context=owner "
                "--object-auth=PASSWORD",
            ) from error
        if at_start:
            raise ConfigError(
                f"{refused} ({error})",
                hint="look what it is full of, or locked for: tpm2_getcap properties-variable; what a program left "
                "loaded goes with a restart of the machine, and /dev/tpmrm0 keeps programs from leaving anything",
            ) from error
        raise OSError(errno.EIO, f"{refused} ({error})") from error
