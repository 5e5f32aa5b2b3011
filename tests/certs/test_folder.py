"""The folder that `python -m certs` keeps: who may read it, what is never lost, what the tools of others say of it."""

import datetime as dt
import json
import re
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Certs = Callable[..., int]
DAY = dt.timedelta(days=1)


def certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())


def revoked_serials(ca: Path) -> set[int]:
    return {one.serial_number for one in x509.load_pem_x509_crl((ca / "crl.pem").read_bytes())}


def snapshot(ca: Path) -> dict[str, bytes]:
    return {str(p.relative_to(ca)): p.read_bytes() for p in ca.rglob("*") if p.is_file()}


def test_every_file_and_folder_is_private(ca: Path) -> None:
    modes = {(p.is_dir(), stat.S_IMODE(p.stat().st_mode)) for p in [ca, *ca.rglob("*")]}
    assert modes == {(True, 0o700), (False, 0o600)}


def test_open_umask_makes_no_file_readable(tmp_path: Path, repository: Path) -> None:
    script = 'umask 000 && exec "$0" -m certs init "$1"'
    subprocess.run(["sh", "-c", script, sys.executable, f"{tmp_path}/tls"], cwd=repository, check=True)
    assert not [p for p in (tmp_path / "tls").rglob("*") if stat.S_IMODE(p.stat().st_mode) & 0o077]


def test_folder_inside_a_git_repository_is_never_committed(tmp_path: Path, certs: Certs) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert certs("init", tmp_path / "tls") == 0
    subprocess.run(["git", "-C", str(tmp_path), "add", "--all"], check=True)
    staged = subprocess.run(["git", "-C", str(tmp_path), "ls-files"], capture_output=True, text=True, check=True)
    assert not staged.stdout


def test_init_where_a_ca_is_changes_nothing(ca: Path, certs: Certs, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(ca)
    assert certs("init", ca) == 1
    assert "next: " in capsys.readouterr().err
    assert snapshot(ca) == before


def test_init_with_force_moves_the_former_ca_aside(ca: Path, certs: Certs, now: dt.datetime) -> None:
    before = snapshot(ca)
    assert certs("init", ca, "--force", now=now) == 0
    assert snapshot(ca.with_name("tls.replaced-20260301120000")) == before
    assert (ca / "ca.key").read_bytes() != before["ca.key"]


def test_init_in_a_folder_with_other_things_changes_nothing(tmp_path: Path, certs: Certs) -> None:
    (tmp_path / "photo.jpg").touch()
    assert certs("init", tmp_path, "--force") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


def test_issue_over_an_identity_keeps_its_key(ca: Path, certs: Certs) -> None:
    before = snapshot(ca)
    assert certs("issue", ca, "cam-1") == 1
    assert snapshot(ca) == before


def test_issue_with_force_makes_a_new_key(ca: Path, certs: Certs) -> None:
    before = snapshot(ca)
    assert certs("issue", ca, "cam-1", "--force") == 0
    assert (ca / "cam-1/tls.key").read_bytes() != before["cam-1/tls.key"]


@pytest.mark.parametrize("gone", [("tls.crt",), ("tls.key",), ("tls.crt", "tls.key", "ca.crt")])
@pytest.mark.parametrize("verb", ["issue", "renew"])
def test_identity_whose_files_are_gone_is_told_with_a_next_step_that_makes_it_anew(
    ca: Path, certs: Certs, capsys: pytest.CaptureFixture[str], verb: str, gone: tuple[str, ...]
) -> None:
    """Each of the two sent people to the other."""
    for file in gone:
        (ca / "cam-1" / file).unlink()
    capsys.readouterr()
    assert certs(verb, ca, "cam-1") == 1
    step = re.search(r"next: python -m certs (.*?)(?:   \(|\n)", capsys.readouterr().err)
    assert step is not None
    assert certs(*step[1].split()) == 0
    assert certs("renew", ca, "cam-1") == 0


@pytest.mark.parametrize("name", ["../evil", "", ".", "a/b", "cam 1", "ünter", "x" * 65, "cam\n"])
def test_name_that_is_no_topic_level_is_refused(ca: Path, certs: Certs, name: str) -> None:
    before = snapshot(ca)
    assert certs("issue", ca, name) == 1
    assert snapshot(ca) == before


@pytest.mark.parametrize("kind", ["backend", "owner", "device"])
def test_client_identity_says_who_and_for_what(ca: Path, certs: Certs, kind: str) -> None:
    assert certs("issue", ca, "x-1", "--kind", kind) == 0
    made = certificate(ca / "x-1")
    assert [str(n.value) for n in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["x-1"]
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"urn:pv1:{kind}:x-1"]
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize(("kind", "days"), [("broker", 397), ("backend", 397), ("owner", 397), ("device", 730)])
def test_identity_lasts_as_long_as_its_kind(ca: Path, certs: Certs, now: dt.datetime, kind: str, days: int) -> None:
    assert certs("issue", ca, "x-1", "--kind", kind, now=now) == 0
    assert certificate(ca / "x-1").not_valid_after_utc == now + days * DAY


def test_identity_never_outlives_its_ca(tmp_path: Path, certs: Certs, now: dt.datetime) -> None:
    assert certs("init", tmp_path / "tls", now=now) == 0
    late = now + 3600 * DAY
    assert certs("issue", tmp_path / "tls", "cam-9", now=late) == 0
    end = x509.load_pem_x509_certificate((tmp_path / "tls/ca.crt").read_bytes()).not_valid_after_utc
    assert certificate(tmp_path / "tls/cam-9").not_valid_after_utc == end


def test_ended_ca_signs_nothing(tmp_path: Path, certs: Certs, now: dt.datetime) -> None:
    assert certs("init", tmp_path / "tls", now=now) == 0
    assert certs("issue", tmp_path / "tls", "cam-9", now=now + 3653 * DAY) == 1


def test_broker_carries_localhost_and_the_given_addresses_also_after_renewal(tmp_path: Path, certs: Certs) -> None:
    ca = tmp_path / "tls"
    assert certs("init", ca, "--san", "mqtt.example.org", "--san", "192.0.2.7") == 0
    assert certs("renew", ca, "broker") == 0
    names = certificate(ca / "broker").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "mqtt.example.org"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "192.0.2.7"]


@pytest.mark.parametrize("san", ["not a host", "http://x", "a..b"])
def test_address_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, certs: Certs, san: str) -> None:
    assert certs("init", tmp_path / "tls", "--san", san) == 1
    assert not list(tmp_path.iterdir())


def test_openssl_accepts_chain_purpose_and_revocation_list(ca: Path, certs: Certs) -> None:
    def verify(name: str, purpose: str) -> int:
        command = ["openssl", "verify", "-x509_strict", "-CAfile", f"{ca}/ca.crt", "-CRLfile", f"{ca}/crl.pem"]
        command += ["-crl_check", "-purpose", purpose, f"{ca}/{name}/tls.crt"]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert verify("cam-1", "sslclient") == 0
    assert verify("broker", "sslserver") == 0
    assert verify("cam-1", "sslserver") != 0
    assert certs("revoke", ca, "cam-1") == 0
    assert verify("cam-1", "sslclient") != 0


def test_revoke_names_every_certificate_of_the_name(ca: Path, certs: Certs) -> None:
    first = certificate(ca / "cam-1").serial_number
    assert certs("renew", ca, "cam-1") == 0
    second = certificate(ca / "cam-1").serial_number
    assert certs("revoke", ca, "cam-1") == 0
    assert revoked_serials(ca) == {first, second}


def test_second_revocation_is_refused_and_keeps_the_first_date(ca: Path, certs: Certs, now: dt.datetime) -> None:
    assert certs("revoke", ca, "cam-1") == 0
    before = (ca / "index.json").read_bytes()
    assert certs("revoke", ca, "cam-1", now=now) == 1
    assert (ca / "index.json").read_bytes() == before


def test_revoke_of_nobody_is_refused(ca: Path, certs: Certs) -> None:
    assert certs("revoke", ca, "nobody") == 1
    assert revoked_serials(ca) == set()


def test_ended_certificate_leaves_the_revocation_list(tmp_path: Path, certs: Certs, now: dt.datetime) -> None:
    ca = tmp_path / "tls"
    assert certs("init", ca, "--device", "cam-1", now=now) == 0
    assert certs("revoke", ca, "cam-1", now=now) == 0
    assert certs("renew", ca, "--crl", now=now + 729 * DAY) == 0
    assert len(revoked_serials(ca)) == 1
    assert certs("renew", ca, "--crl", now=now + 731 * DAY) == 0
    assert revoked_serials(ca) == set()


def test_every_revocation_list_has_a_higher_number(ca: Path, certs: Certs) -> None:
    def number() -> int:
        crl = x509.load_pem_x509_crl((ca / "crl.pem").read_bytes())
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    before = number()
    assert certs("renew", ca, "--crl") == 0
    assert number() == before + 1


def test_due_renews_what_ends_soon_and_nothing_else(tmp_path: Path, certs: Certs, now: dt.datetime) -> None:
    ca = tmp_path / "tls"
    assert certs("init", ca, "--device", "cam-1", now=now) == 0
    before = {name: certificate(ca / name).serial_number for name in ("broker", "backend", "owner", "cam-1")}
    assert certs("renew", ca, "--due", now=now + 370 * DAY) == 0
    changed = {name for name, serial in before.items() if certificate(ca / name).serial_number != serial}
    assert changed == {"broker", "backend", "owner"}


@pytest.mark.parametrize("more", [(), ("--rekey",), ("cam-1", "--crl"), ("--crl", "--due"), ("--crl", "--rekey")])
def test_renewal_that_does_not_say_of_what_is_wrong_usage_and_changes_nothing(
    ca: Path, certs: Certs, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    before = snapshot(ca)
    assert certs("renew", ca, *more) == 2
    assert f"next: python -m certs renew {ca} NAME" in capsys.readouterr().err
    assert snapshot(ca) == before


def test_renewal_of_the_revocation_list_alone_makes_no_certificate(ca: Path, certs: Certs) -> None:
    before = snapshot(ca)
    assert certs("renew", ca, "--crl") == 0
    assert {name for name, data in snapshot(ca).items() if data != before[name]} == {"crl.pem", "index.json"}


def test_renewal_of_what_is_due_renews_the_revocation_list_also_when_nothing_is(ca: Path, certs: Certs) -> None:
    before = snapshot(ca)
    assert certs("renew", ca, "--due") == 0
    assert {name for name, data in snapshot(ca).items() if data != before[name]} == {"crl.pem", "index.json"}


def test_renewal_with_a_new_key_leaves_a_pair_that_fits_and_nothing_else(ca: Path, certs: Certs) -> None:
    assert certs("renew", ca, "cam-1", "--rekey") == 0
    ssl.create_default_context().load_cert_chain(ca / "cam-1/tls.crt", ca / "cam-1/tls.key")
    assert {p.name for p in (ca / "cam-1").iterdir()} == {"ca.crt", "tls.crt", "tls.key"}
    assert not [p.name for p in ca.iterdir() if p.name.endswith(".new")]


def test_key_that_others_may_read_is_refused(ca: Path, certs: Certs, capsys: pytest.CaptureFixture[str]) -> None:
    (ca / "ca.key").chmod(0o640)
    assert certs("show", ca) == 1
    assert f"chmod go= {ca / 'ca.key'}" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["index.json", "ca.key", "ca.crt"])
def test_damaged_file_is_named(ca: Path, certs: Certs, capsys: pytest.CaptureFixture[str], file: str) -> None:
    (ca / file).write_bytes(b"{")
    assert certs("show", ca) == 1
    said = capsys.readouterr().err
    assert file in said
    assert "next: " in said


@pytest.mark.parametrize(("command", "code"), [("show", 1), ("renew", 2)])
def test_what_is_wrong_is_told_in_json_where_that_was_asked(
    ca: Path, certs: Certs, capsys: pytest.CaptureFixture[str], command: str, code: int
) -> None:
    (ca / "ca.key").chmod(0o640)
    capsys.readouterr()
    assert certs(command, ca, "--json") == code
    told = capsys.readouterr()
    error = json.loads(told.out)["error"]
    assert set(error) == {"kind", "message", "hint"}
    assert told.err == f"certs: {error['message']}\n  next: {error['hint']}\n"


def test_show_as_json_names_everything(ca: Path, certs: Certs, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert certs("show", ca, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["kind"]) for row in rows] == [
        ("ca", "ca"),
        ("crl.pem", "crl"),
        ("broker", "broker"),
        ("backend", "backend"),
        ("owner", "owner"),
        ("cam-1", "device"),
    ]
    assert all(row["revoked"] is None and row["expires_in_s"] > 0 for row in rows)


def test_show_tells_ended_and_revoked(
    tmp_path: Path, certs: Certs, now: dt.datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    ca = tmp_path / "tls"
    assert certs("init", ca, "--device", "cam-1", now=now) == 0
    assert certs("revoke", ca, "cam-1", now=now) == 0
    capsys.readouterr()
    assert certs("show", ca, now=now + 400 * DAY) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "ended 3 d ago" in lines["broker"]
    assert "2026-03-01" in lines["cam-1"]


@pytest.mark.parametrize("arguments", [[], ["fly"], ["issue"], ["issue", "x", "y", "--kind", "king"]])
def test_wrong_usage_exits_2(certs: Certs, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        certs(*arguments)
    assert left.value.code == 2


def test_wrong_option_tells_what_the_command_that_was_meant_takes(
    certs: Certs, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        certs("renew", "tls", "--dew")
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: python -m certs renew ")
    assert "--due" in said
    assert said.endswith("python -m certs renew: error: unrecognized arguments: --dew\n")


def test_every_help_has_an_example_that_works(
    certs: Certs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ((), ("init",), ("issue",), ("renew",), ("show",), ("revoke",)):
        with pytest.raises(SystemExit):
            certs(*command, "--help")
        example = capsys.readouterr().out.rsplit("python -m certs ", maxsplit=1)[1].split()
        if command == ("init",):
            example[1] = "other"  # the first example made the folder of all the others
        assert certs(*example) == 0, example
