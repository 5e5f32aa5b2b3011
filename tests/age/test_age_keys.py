"""Keys that people give: what is right is read, what is wrong is named without repeating it; who may share a header."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agent.age
from agent.age import (
    HmacError,
    NoMatchError,
    ScryptIdentity,
    ScryptRecipient,
    bech32,
    decrypt,
    encrypt,
    generate_identity,
    new_file_key,
    parse_identity,
    parse_identity_file,
    parse_recipient,
    parse_recipient_file,
    unwrap_header,
    wrap_header,
    write_identity_file,
)
from agent.age.bech32 import decode, encode
from agent.age.format import HEADER_MAX_BYTES, parse_header, write_header
from agent.age.x25519 import X25519Recipient
from agent.errors import ConfigError, CorruptError

CLASSIC = generate_identity(post_quantum=False, random=lambda count: bytes(range(count)))
HYBRID = generate_identity(post_quantum=True, random=lambda count: bytes(range(count)))
FILE_KEY = b"sixteen byte key"


@pytest.mark.parametrize("identity", [CLASSIC, HYBRID], ids=["classic", "hybrid"])
def test_key_is_written_and_read_again_is_the_same(identity: agent.age.Identity) -> None:
    again = parse_identity(identity.to_text())
    assert again.to_text() == identity.to_text()
    assert parse_recipient(identity.recipient().to_text()).to_text() == again.recipient().to_text()
    assert decrypt(encrypt(b"x", [identity.recipient()]), [again]) == b"x"


def test_forms_of_keys_are_those_of_age() -> None:
    assert CLASSIC.to_text().startswith("AGE-SECRET-KEY-1")
    assert HYBRID.to_text().startswith("AGE-SECRET-KEY-PQ-1")
    assert CLASSIC.recipient().to_text().startswith("age1")
    assert HYBRID.recipient().to_text().startswith("age1pq1")
    assert len(HYBRID.recipient().to_text()) == 1959
    assert (CLASSIC.recipient().label, HYBRID.recipient().label) == ("", "postquantum")


@pytest.mark.parametrize("wrong", [
    "", "age1", "age1qqqq", "AGE1QQQ", "ssh-ed25519 AAAA", CLASSIC.to_text(), HYBRID.to_text(),
    CLASSIC.recipient().to_text().upper(), CLASSIC.recipient().to_text()[:-1], CLASSIC.recipient().to_text() + "q",
    CLASSIC.recipient().to_text().replace("age1", "age2"), encode("age", bytes(31)), encode("age1pq", bytes(31)),
    encode("age1pq", b"\xff" * 1216), encode("age1yubikey", bytes(33)), "age1" + "q" * 10_000, "agé1qqqqqqqq",
], ids=lambda _wrong: "wrong")  # fmt: skip
def test_recipient_is_wrong_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_recipient(wrong)
    assert caught.value.hint
    assert len(wrong) < 8 or wrong not in str(caught.value)


@pytest.mark.parametrize("wrong", [
    "", "AGE-SECRET-KEY-1", CLASSIC.to_text().lower(), CLASSIC.to_text()[:-2] + "QQ", CLASSIC.recipient().to_text(),
    encode("age-secret-key-", bytes(31)).upper(), encode("age-secret-key-pq-", bytes(33)).upper(),
    encode("age-plugin-yubikey-", bytes(32)).upper(), CLASSIC.to_text().replace("AGE", "AgE"),
], ids=lambda _wrong: "wrong")  # fmt: skip
def test_identity_is_wrong_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_identity(wrong)
    assert caught.value.hint
    assert not wrong or wrong[20:] == "" or wrong[20:] not in str(caught.value)


def test_low_order_recipient_is_sealed_to_is_refused() -> None:
    with pytest.raises(ConfigError):
        X25519Recipient(bytes(32)).wrap(FILE_KEY)


@settings(max_examples=200, deadline=None)
@given(
    prefix=st.sampled_from(["age", "age1pq", "age-secret-key-"]), data=st.binary(max_size=60), at=st.integers(0, 200)
)
def test_bech32_text_has_one_changed_letter_is_refused(prefix: str, data: bytes, at: int) -> None:
    text = encode(prefix, data)
    assert decode(text) == (prefix, data)
    assert decode(text.upper()) == (prefix, data)
    at %= len(text)
    letter = "q" if text[at] != "q" else "p"
    with pytest.raises(ConfigError):
        decode(text[:at] + letter + text[at + 1 :])


def test_bech32_text_mixes_cases_is_refused_even_with_true_check_letters() -> None:
    text = encode("age", bytes(32))
    with pytest.raises(ConfigError, match="one case"):
        decode(text[:-1] + text[-1].upper() if text[-1].isalpha() else text[:-2] + text[-2].upper() + text[-1])


def test_bech32_text_has_bits_left_over_is_refused_even_with_true_check_letters() -> None:
    values = bech32._regroup(bytes(31), from_bits=8, to_bits=5)  # 50 letters, 2 bits of the last one unused
    for wrong in ([*values[:-1], values[-1] | 1], [*values, 0]):
        check = bech32._checksum("age", wrong + [0] * 6) ^ 1
        letters = [*wrong, *(check >> 5 * place & 31 for place in range(5, -1, -1))]
        with pytest.raises(ConfigError, match="mean nothing"):
            decode("age1" + "".join(bech32._ALPHABET[value] for value in letters))


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=80) | st.text(alphabet="age1pq-secrtky0", max_size=80))
def test_any_text_is_read_as_a_key_raises_only_config_error(text: str) -> None:
    for parse in (parse_recipient, parse_identity, parse_recipient_file, parse_identity_file):
        with pytest.raises(ConfigError):
            parse(text)


def test_identity_file_is_written_as_age_keygen_does_and_read_again() -> None:
    text = write_identity_file(HYBRID, created="2026-01-02T03:04:05Z")
    assert text.split("\n") == [
        "# created: 2026-01-02T03:04:05Z",
        f"# public key: {HYBRID.recipient().to_text()}",
        HYBRID.to_text(),
        "",
    ]
    both = parse_identity_file(text + "\n# second\r\n" + CLASSIC.to_text() + "\r\n")
    assert [identity.to_text() for identity in both] == [HYBRID.to_text(), CLASSIC.to_text()]


def test_recipient_file_has_a_bad_line_names_its_number() -> None:
    good = CLASSIC.recipient().to_text()
    assert [one.to_text() for one in parse_recipient_file(f"# two\n\n{good}\n{good}\n")] == [good, good]
    with pytest.raises(ConfigError, match="line 3"):
        parse_recipient_file(f"# one\n{good}\n{good[:-1]}\n")
    with pytest.raises(ConfigError, match="holds no recipient"):
        parse_recipient_file("# nobody\n")


def test_hybrid_and_classic_recipients_are_mixed_is_refused() -> None:
    with pytest.raises(ConfigError, match="can't share a file"):
        wrap_header(FILE_KEY, [HYBRID.recipient(), CLASSIC.recipient()])


def test_mixed_header_of_somebody_else_is_read_opens_for_both() -> None:
    stanzas = (HYBRID.recipient().wrap(FILE_KEY), CLASSIC.recipient().wrap(FILE_KEY))
    header = write_header(stanzas, FILE_KEY)
    assert unwrap_header(header, [HYBRID]) == unwrap_header(header, [CLASSIC]) == FILE_KEY


def test_passphrase_is_not_alone_is_refused() -> None:
    passphrase = ScryptRecipient("x", log_n=10)
    for others in ([passphrase], [CLASSIC.recipient()], [HYBRID.recipient()]):
        with pytest.raises(ConfigError):
            wrap_header(FILE_KEY, [passphrase, *others])
    with pytest.raises(ConfigError):
        ScryptRecipient("")


def test_no_recipient_is_given_is_refused() -> None:
    with pytest.raises(ConfigError):
        wrap_header(FILE_KEY, [])


def test_too_many_recipients_are_given_is_refused_before_anybody_could_not_read_it() -> None:
    most = HEADER_MAX_BYTES // 1557
    assert unwrap_header(wrap_header(FILE_KEY, [HYBRID.recipient()] * (most - 1)), [HYBRID]) == FILE_KEY
    with pytest.raises(ConfigError, match="recipients need a header"):
        wrap_header(FILE_KEY, [HYBRID.recipient()] * (most + 1))


def test_passphrase_asks_too_much_work_is_refused() -> None:
    sealed = encrypt(b"x", [ScryptRecipient("open sesame", log_n=11)])
    assert decrypt(sealed, [ScryptIdentity("open sesame")]) == b"x"
    with pytest.raises(CorruptError, match="work factor"):
        decrypt(sealed, [ScryptIdentity("open sesame", log_n_max=10)])
    with pytest.raises(NoMatchError):
        decrypt(sealed, [ScryptIdentity("wrong")])


def test_stranger_opens_a_file_gets_no_match() -> None:
    sealed = encrypt(b"x", [CLASSIC.recipient()])
    with pytest.raises(NoMatchError):
        decrypt(sealed, [HYBRID, generate_identity(post_quantum=False)])
    with pytest.raises(NoMatchError):
        decrypt(sealed, [])


def test_stanza_is_dropped_from_a_header_raises_hmac_error() -> None:
    header = wrap_header(FILE_KEY, [CLASSIC.recipient(), generate_identity(post_quantum=False).recipient()])
    first, _ = parse_header(header).stanzas
    shorter = write_header((first,), b"some other key..").rsplit(b" ", 1)[0] + b" " + header.rsplit(b" ", 1)[1]
    with pytest.raises(HmacError):
        unwrap_header(shorter, [CLASSIC])


def test_two_file_keys_are_made_differ() -> None:
    assert new_file_key() != new_file_key()
    assert new_file_key(random=lambda count: b"k" * count) == b"k" * 16


def test_every_public_name_is_asked_is_there() -> None:
    assert sorted(agent.age._HOME) == sorted(agent.age.__all__)
    for name in agent.age.__all__:
        assert getattr(agent.age, name) is not None
    with pytest.raises(AttributeError):
        _ = agent.age.no_such_name


@pytest.mark.usefixtures("unmeasured")
def test_classic_message_is_sealed_loads_no_code_of_other_types() -> None:
    program = (
        "import sys, agent.age as age\n"
        f"age.encrypt(b'x', [age.parse_recipient({CLASSIC.recipient().to_text()!r})])\n"
        "print(sorted({'agent.age.hybrid', 'agent.age.scrypt', 'agent.age.armor', 'dataclasses', 'msgspec', '_hashlib',"
        " 'asyncio', 'cryptography.hazmat.primitives.hpke'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
