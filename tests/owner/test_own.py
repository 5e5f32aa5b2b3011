"""Keys made, typed back, and key set versions that a device accepts."""

import json
import re
import shlex
import stat
from pathlib import Path
from typing import Literal

import pytest

from agent.age import parse_identity_file
from agent.app.setup import read_owner_file
from agent.envelope import GRANTED_ALONE, VERBS, Approvals, KeySet, parse_descriptor, parse_keyset
from agent.errors import ConfigError
from agent.owner.sheet import read_sheet
from device_sim.cloud.keys import Party
from tests.owner.conftest import MakeOwner, Owner, fingerprint_of
from tests.owner.peer import Peer


def chain(owner: Owner, count: int) -> KeySet:
    """Read the versions as a device does: each after the one before."""
    root = parse_descriptor((owner.home / "owner.pub").read_bytes().partition(b"\n")[0]).jwk
    current: KeySet | None = None
    for number in range(1, count + 1):
        current = parse_keyset((owner.home / f"keysets/{number}.jws").read_bytes(), root_jwk=root, current=current)
    assert current is not None
    return current


def descriptor_of(role: Literal["backend", "store"], folder: Path) -> Path:
    path = folder / f"{role}.json"
    Party.generate(role, name=f"the {role}").write_descriptor(path)
    return path


def test_init_writes_an_owner_file_that_a_device_accepts(owner: Owner) -> None:
    found = read_owner_file(owner.home / "owner.pub")

    keys = parse_keyset(found.key_set, root_jwk=found.owner.jwk, current=None)

    assert (found.owner.role, found.owner.name, keys.version) == ("owner", "Ada Example", 1)
    assert [(key.role, key.verbs) for key in keys.keys] == [
        ("client", tuple(verb for verb in VERBS if verb not in GRANTED_ALONE))
    ]
    assert keys.keys[0].recipient == found.owner.recipient


def test_init_without_classic_makes_a_post_quantum_identity(make_owner: MakeOwner) -> None:
    made = make_owner("pq")
    made.ok("init")

    (identity,) = parse_identity_file((made.home / "identity.txt").read_text())

    assert identity.recipient().to_text().startswith("age1pq1")
    assert read_owner_file(made.home / "owner.pub").owner.recipient == identity.recipient().to_text()


def test_init_leaves_every_file_private(owner: Owner) -> None:
    found = [path for path in owner.home.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]

    assert found == []
    assert stat.S_IMODE(owner.home.stat().st_mode) == 0o700


def test_init_puts_backend_under_quota_and_store_without_verbs(make_owner: MakeOwner, tmp_path: Path) -> None:
    made = make_owner("full")
    backend, store = descriptor_of("backend", tmp_path), descriptor_of("store", tmp_path)

    made.ok("init", "--classic", "--backend", backend, "--store", store)

    _client, first, second = chain(made, 1).keys
    assert (first.role, first.verbs) == ("backend", ("delete", "export", "inventory"))
    assert first.quota is not None
    assert (first.quota.objects, first.quota.window_s) == (100, 86_400)
    assert (second.role, second.verbs, second.quota) == ("store", (), None)


def test_init_with_a_store_given_as_backend_is_refused_and_makes_nothing(make_owner: MakeOwner, tmp_path: Path) -> None:
    made = make_owner("mixed")

    ran = made.run("init", "--backend", descriptor_of("store", tmp_path))

    assert ran.code == 2
    assert "describes a store" in ran.err
    assert not made.home.exists()


def test_second_init_is_refused_and_force_moves_the_first_home_aside(owner: Owner) -> None:
    before = (owner.home / "root.key").read_bytes()

    assert owner.run("init").code == 2
    assert (owner.home / "root.key").read_bytes() == before
    owner.ok("init", "--force", "--classic")

    assert (owner.home.with_name("home.old-1") / "root.key").read_bytes() == before
    assert (owner.home / "root.key").read_bytes() != before


def test_home_readable_by_others_is_refused(owner: Owner) -> None:
    owner.home.chmod(0o755)

    ran = owner.run("device", "list")

    assert ran.code == 2
    assert "chmod 700" in ran.err


def test_key_readable_by_others_is_refused_without_showing_it(owner: Owner, peer: Peer) -> None:
    assert peer.id
    (owner.home / "client.key").chmod(0o644)

    ran = owner.run("delete", "--all", "--yes", "--out", "x.bin")

    assert ran.code == 2
    assert "chmod 600" in ran.err
    assert "PRIVATE" not in ran.err + ran.out


# --- recover


def typed(owner: Owner, path: Path) -> Path:
    """Type the sheet's lines as a person might: lower case, other blanks, remarks between."""
    sheet = (owner.home / "recovery-sheet.txt").read_text()
    lines = [line for line in sheet.splitlines() if re.match(r"\s*([RI]\d+:|Name:)", line)]
    path.write_text("my sheet\n" + "\n".join(line.lower().replace("  ", "\t") for line in lines) + "\n")
    return path


def test_recovered_home_has_the_same_keys_and_next_key_set_follows(owner: Owner, make_owner: MakeOwner) -> None:
    other = make_owner("recovered")
    sheet = typed(owner, owner.home.parent / "typed.txt")

    other.ok("recover", sheet, "--keyset", owner.home / "owner.pub")

    for name in ("root.key", "client.key"):
        assert (other.home / name).read_bytes() == (owner.home / name).read_bytes()
    first, second = (parse_identity_file((home / "identity.txt").read_text()) for home in (owner.home, other.home))
    assert first[0].to_text() == second[0].to_text()
    other.ok("client", "add", descriptor_of("backend", owner.home.parent), "--yes")
    root = read_owner_file(owner.home / "owner.pub").owner.jwk
    version_1 = parse_keyset((owner.home / "keysets/1.jws").read_bytes(), root_jwk=root, current=None)
    version_2 = parse_keyset((other.home / "keysets/2.jws").read_bytes(), root_jwk=root, current=version_1)
    assert len(version_2.keys) == 2


def test_recovered_owner_has_the_name_of_the_file_that_was_brought_where_none_was_typed(
    owner: Owner, make_owner: MakeOwner
) -> None:
    sheet = typed(owner, owner.home.parent / "typed.txt")
    sheet.write_text("\n".join(line for line in sheet.read_text().splitlines() if "name" not in line.lower()))
    told = owner.home.joinpath("owner.pub").read_bytes()
    name = json.loads(told.partition(b"\n")[0])["name"]
    assert name != "owner"
    other, nameless = make_owner("recovered"), make_owner("nameless")
    other.ok("recover", sheet, "--keyset", owner.home / "owner.pub")
    assert (other.home / "owner.pub").read_bytes() == told
    nameless.ok("recover", sheet)
    assert json.loads((nameless.home / "owner.pub").read_bytes().partition(b"\n")[0])["name"] == "owner"


def test_recover_with_a_later_key_set_goes_on_after_it(owner: Owner, make_owner: MakeOwner) -> None:
    owner.ok("client", "add", descriptor_of("backend", owner.home.parent), "--yes")
    other = make_owner("recovered")

    other.ok("recover", typed(owner, owner.home.parent / "t.txt"), "--keyset", owner.home / "keysets/2.jws")
    other.ok("client", "add", descriptor_of("store", owner.home.parent), "--yes")

    root = read_owner_file(owner.home / "owner.pub").owner.jwk
    raw = (other.home / "keysets/3.jws").read_bytes()
    assert parse_keyset(raw, root_jwk=root, current=chain(owner, 2)).version == 3


def test_mistyped_line_is_named_and_nothing_is_made(owner: Owner, make_owner: MakeOwner) -> None:
    sheet = typed(owner, owner.home.parent / "typed.txt")
    text = sheet.read_text()
    at = text.index("r2:") + 8
    sheet.write_text(text[:at] + ("q" if text[at] != "q" else "p") + text[at + 1 :])
    other = make_owner("recovered")

    ran = other.run("recover", sheet)

    assert ran.code == 2
    assert "line R2" in ran.err
    assert not other.home.exists()


def test_missing_sheet_line_is_named(owner: Owner) -> None:
    lines = (owner.home / "recovery-sheet.txt").read_text().splitlines()

    with pytest.raises(ConfigError, match="line I2 is missing"):
        read_sheet("\n".join(line for line in lines if not line.strip().startswith("I2:")))


def test_key_set_of_another_owner_is_refused_at_recovery(owner: Owner, make_owner: MakeOwner) -> None:
    stranger, other = make_owner("stranger"), make_owner("recovered")
    stranger.ok("init", "--classic")

    ran = other.run("recover", typed(owner, owner.home.parent / "t.txt"), "--keyset", stranger.home / "owner.pub")

    assert ran.code == 2
    assert not other.home.exists()


def test_recovered_home_without_key_set_says_what_to_bring(owner: Owner, make_owner: MakeOwner) -> None:
    other = make_owner("recovered")
    other.ok("recover", typed(owner, owner.home.parent / "t.txt"))

    ran = other.run("client", "list")

    assert ran.code == 2
    assert "--keyset" in ran.err


def test_key_set_is_brought_later_to_a_home_that_was_recovered_without(owner: Owner, make_owner: MakeOwner) -> None:
    other, sheet = make_owner("recovered"), typed(owner, owner.home.parent / "my sheet.txt")
    told = other.ok("recover", sheet).out
    assert f"privacy-owner --home {other.home} recover '{sheet}' --keyset FILE" in told
    device = Peer("camera-1").write_descriptor(owner.home.parent / "d.jws")
    other.ok("device", "add", device, "--accept", fingerprint_of(other, device))
    before = {path: path.read_bytes() for path in other.home.rglob("*") if path.is_file() and path.name != "owner.pub"}

    for _again in range(2):
        other.ok("recover", sheet, "--keyset", owner.home / "owner.pub")
        assert before.items() <= {path: path.read_bytes() for path in other.home.rglob("*") if path.is_file()}.items()
        brought, first = (read_owner_file(one.home / "owner.pub") for one in (other, owner))
        assert (brought.owner.jwk, brought.key_set) == (first.owner.jwk, first.key_set)
    other.ok("client", "add", descriptor_of("backend", owner.home.parent), "--yes")
    root = read_owner_file(owner.home / "owner.pub").owner.jwk
    assert (
        parse_keyset((other.home / "keysets/2.jws").read_bytes(), root_jwk=root, current=chain(owner, 1)).version == 2
    )


def test_steps_after_recover_name_the_home_unless_it_is_the_usual_one(
    owner: Owner, make_owner: MakeOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet, first = typed(owner, owner.home.parent / "typed.txt"), owner.home / "owner.pub"
    for name in ("my home", "usual"):
        other = make_owner(name)
        if name == "usual":
            monkeypatch.setenv("PRIVACY_OWNER_HOME", str(other.home))
        program = "privacy-owner" if name == "usual" else f"privacy-owner --home '{other.home}'"
        told = other.ok("recover", sheet).out
        assert f"  {program} device add DEVICE.jws, for each device\n" in told
        assert f"bring the newest key set: {program} recover {sheet} --keyset FILE\n" in told
        assert f"next: bring the newest one: {program} recover SHEET --keyset FILE\n" in other.run("client", "list").err
        brought = other.ok("recover", sheet, "--keyset", first).out
        assert brought.endswith(f"key set      version 1, 1 key\n\nnext:\n  {program} client list\n")


@pytest.mark.parametrize("when", ["at once", "later"])
def test_key_set_that_knows_the_recovered_client_no_more_is_told_with_how_it_is_added(
    owner: Owner, make_owner: MakeOwner, when: str
) -> None:
    """Its commands got no answer from any device, and nothing said why."""
    other, sheet = make_owner("my home"), typed(owner, owner.home.parent / "typed.txt")
    make_owner("phone").ok("client", "new", "phone", "--classic")
    owner.ok("client", "add", "phone.json", "--yes")
    assert "no device obeys it" not in make_owner("earlier").ok("recover", sheet, "--keyset", "keyset-2.jws").out
    owner.ok("client", "remove", "Ada Example", "--yes")
    if when == "later":
        other.ok("recover", sheet)

    told = other.ok("recover", sheet, "--keyset", "keyset-3.jws").out

    assert "\nnext:\n  this client is in no key of that key set, and no device obeys it." in told
    (step,) = [line for line in told.splitlines() if "client add" in line]
    assert shlex.split(step)[:3] == ["privacy-owner", "--home", str(other.home)]
    other.ok(*shlex.split(step)[3:], "--yes", "--out", "keyset-4.jws")
    assert [key["name"] for key in other.ok("client", "list", "--json").json["keys"]] == ["phone", "ada example"]


def test_other_key_set_than_the_homes_is_not_taken_over_it(owner: Owner, make_owner: MakeOwner) -> None:
    other, sheet = make_owner("recovered"), typed(owner, owner.home.parent / "typed.txt")
    other.ok("recover", sheet, "--keyset", owner.home / "owner.pub")
    owner.ok("client", "add", descriptor_of("backend", owner.home.parent), "--yes")
    ran = other.run("recover", sheet, "--keyset", owner.home / "keysets/2.jws")
    assert ran.code == 2
    assert "key set version 1 is here already, and this is another one, version 2; nothing was changed" in ran.err
    assert [path.name for path in (other.home / "keysets").iterdir()] == ["1.jws"]


def test_home_of_another_root_is_not_recovered_over(owner: Owner, make_owner: MakeOwner) -> None:
    stranger = make_owner("stranger")
    stranger.ok("init", "--classic")
    ran = stranger.run("recover", typed(owner, owner.home.parent / "t.txt"), "--keyset", owner.home / "owner.pub")
    assert ran.code == 2
    assert "there are keys here already" in ran.err


# --- members


def test_one_client_and_one_key_are_counted_as_one(owner: Owner) -> None:
    told = owner.ok("client", "approvals", "1", "--verb", "delete").out
    assert told.startswith("delete: 1 client has to say yes\nversion  2, 1 key\n")
    assert "\ndelete: 1 client has to say yes\n" in owner.ok("client", "list").out
    assert "key set version 2 of this owner, 1 key" in owner.ok("verify", "keyset-2.jws").out


def test_files_in_next_steps_are_quoted_as_a_shell_wants_them(make_owner: MakeOwner, tmp_path: Path) -> None:
    made = make_owner("my home")
    assert f"privacy-agent init --owner '{made.home}/owner.pub'\n" in made.ok("init").out
    out = tmp_path / "key set.jws"
    added = made.ok("client", "add", descriptor_of("store", tmp_path), "--yes", "--out", out).out
    assert f"privacy-agent submit '{out}'\n" in added


def test_added_and_removed_members_make_a_chain_that_devices_accept(owner: Owner, tmp_path: Path) -> None:
    added = owner.ok("client", "add", descriptor_of("backend", tmp_path), "--quota", "5,1000,60", "--yes")
    owner.ok("client", "add", descriptor_of("store", tmp_path), "--yes")
    owner.ok("client", "remove", "the backend", "--yes")

    keys = chain(owner, 4)

    assert [key.role for key in keys.keys] == ["client", "store"]
    assert "privacy-agent submit keyset-2.jws" in added.out
    assert (tmp_path / "keyset-2.jws").read_bytes() == (owner.home / "keysets/2.jws").read_bytes()
    quota = chain(owner, 2).keys[1].quota
    assert quota is not None
    assert (quota.objects, quota.bytes, quota.window_s) == (5, 1000, 60)


def test_member_is_added_only_with_its_own_fingerprint_or_a_yes(owner: Owner, tmp_path: Path) -> None:
    path = descriptor_of("backend", tmp_path)
    true = parse_descriptor(path.read_bytes()).fingerprint

    refused = owner.run("client", "add", path, "--accept", true.replace(true[0], "0" if true[0] != "0" else "1"))
    assert refused.code == 2
    assert "fetch its descriptor again from the backend itself" in refused.err
    assert not (owner.home / "keysets/2.jws").exists()

    asked = owner.run("client", "add", path)
    assert asked.code == 2
    assert f"the backend has the fingerprint {true}; nobody is here to compare it" in asked.err
    assert '--accept "FINGERPRINT", or --yes' in asked.err
    assert not (owner.home / "keysets/2.jws").exists()

    assert "compare" not in owner.ok("client", "add", path, "--accept", true).out
    unasked = owner.ok("client", "add", descriptor_of("store", tmp_path), "--yes")
    assert "next: compare the fingerprint with what the store shows; then on each device" in unasked.out


def test_init_shows_the_fingerprints_of_those_who_may_command(make_owner: MakeOwner, tmp_path: Path) -> None:
    backend, store = descriptor_of("backend", tmp_path), descriptor_of("store", tmp_path)
    made = make_owner("home").ok("init", "--backend", backend, "--store", store).out
    for role, path in (("backend", backend), ("store", store)):
        assert f"{role:<12} the {role}  {parse_descriptor(path.read_bytes()).fingerprint}\n" in made
    assert "compare each fingerprint" in made
    assert "compare" not in make_owner("alone").ok("init").out


def test_client_made_elsewhere_is_added_with_every_verb(owner: Owner, make_owner: MakeOwner, tmp_path: Path) -> None:
    phone = make_owner("phone")
    made = phone.ok("client", "new", "phone", "--out", tmp_path / "phone.json", "--json")

    added = owner.ok("client", "add", tmp_path / "phone.json", "--yes")

    assert made.json["fingerprint"] in added.out
    assert chain(owner, 2).keys[1].kid == made.json["client"]
    assert not (phone.home / "root.key").exists()
    refused = phone.run("client", "remove", "phone")
    assert refused.code == 2
    assert "not the owner's" in refused.err


def test_root_kept_offline_is_named_and_signs(owner: Owner, tmp_path: Path) -> None:
    stick = tmp_path / "stick.key"
    (owner.home / "root.key").rename(stick)

    refused = owner.run("client", "add", descriptor_of("store", tmp_path), "--yes")
    owner.ok("client", "add", descriptor_of("store", tmp_path), "--root", stick, "--yes")

    assert refused.code == 2
    assert "--root FILE" in refused.err
    assert chain(owner, 2).version == 2


def test_root_of_another_owner_signs_nothing(owner: Owner, make_owner: MakeOwner, tmp_path: Path) -> None:
    stranger = make_owner("stranger")
    stranger.ok("init", "--classic")

    ran = owner.run("client", "add", descriptor_of("store", tmp_path), "--root", stranger.home / "root.key", "--yes")

    assert ran.code != 0
    assert not (owner.home / "keysets/2.jws").exists()


def test_member_that_is_there_already_or_unknown_makes_no_version(owner: Owner, tmp_path: Path) -> None:
    store = descriptor_of("store", tmp_path)
    owner.ok("client", "add", store, "--yes")

    assert owner.run("client", "add", store, "--yes").code == 2
    assert owner.run("client", "remove", "nobody").code == 2
    assert not (owner.home / "keysets/3.jws").exists()


def test_removal_needs_a_yes_and_names_what_it_ends(owner: Owner, tmp_path: Path) -> None:
    owner.ok("client", "add", descriptor_of("store", tmp_path), "--yes")

    refused = owner.run("client", "remove", "the store")
    gone = owner.ok("client", "remove", "the store", "--yes")

    assert refused.code == 2
    assert "nothing is uploaded to it" in refused.err
    assert "--yes" in refused.err
    assert "removed  store the store" in gone.out
    assert [key.role for key in chain(owner, 3).keys] == ["client"]


def test_last_client_is_removed_only_when_somebody_insists(owner: Owner, tmp_path: Path) -> None:
    owner.ok("client", "add", descriptor_of("store", tmp_path), "--yes")

    refused = owner.run("client", "remove", "Ada Example")

    assert refused.code == 2
    assert "nobody commands the devices" in refused.err
    assert "client new" in refused.err
    assert not (owner.home / "keysets/3.jws").exists()
    owner.ok("client", "remove", "Ada Example", "--yes")
    assert [key.role for key in chain(owner, 3).keys] == ["store"]


def test_client_that_is_this_home_is_called_so(owner: Owner, make_owner: MakeOwner, tmp_path: Path) -> None:
    make_owner("phone").ok("client", "new", "phone", "--out", tmp_path / "phone.json")
    owner.ok("client", "add", tmp_path / "phone.json", "--yes")

    own = owner.run("client", "remove", "Ada Example")
    other = owner.run("client", "remove", "phone")

    assert "client Ada Example, which is this home itself? " in own.err
    assert "Remove client phone? Where the new key set is in force, it commands no device any more" in other.err


def test_client_list_as_json_names_every_member(owner: Owner) -> None:
    told = owner.ok("client", "list", "--json").json

    assert told["version"] == 1
    assert [(key["name"], key["role"]) for key in told["keys"]] == [("Ada Example", "client")]


# --- devices


def test_device_with_another_fingerprint_than_accepted_is_not_added(owner: Owner, tmp_path: Path) -> None:
    path = Peer("camera-9").write_descriptor(tmp_path / "d.jws")

    ran = owner.run("device", "add", path, "--accept", "0000 " * 8)

    assert ran.code == 2
    assert owner.ok("device", "list", "--json").json == []


def test_device_whose_descriptor_was_changed_is_not_added(owner: Owner, tmp_path: Path) -> None:
    path = Peer("camera-9").write_descriptor(tmp_path / "d.jws")
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)

    ran = owner.run("device", "add", path)

    assert ran.code == 2
    assert "fingerprint" not in ran.err


def test_same_device_with_new_keys_is_refused(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    path = Peer(peer.id).write_descriptor(tmp_path / "again.jws")

    ran = owner.run("device", "add", path, "--accept", fingerprint_of(owner, path))

    assert ran.code == 2
    assert "other keys" in ran.err


def test_device_add_keeps_broker_settings_that_are_read_strictly(owner: Owner, tmp_path: Path) -> None:
    path = Peer("camera-1").write_descriptor(tmp_path / "d.jws")
    words = ("--broker", "mqtts://mqtt.example:8883", "--tenant", "acme", "--tls", tmp_path)
    owner.ok("device", "add", path, "--accept", fingerprint_of(owner, path), *words)
    kept = (owner.home / "owner.toml").read_text()

    assert 'url = "mqtts://mqtt.example:8883"' in kept
    assert owner.ok("device", "list", "--json").json[0]["default"] is True
    (owner.home / "owner.toml").write_text(kept + "colour = 3\n")
    refused = owner.run("device", "list")
    assert refused.code == 2
    assert "colour" in refused.err


def test_descriptor_of_client_json_is_what_the_protocol_says(owner: Owner) -> None:
    told = json.loads((owner.home / "client.json").read_bytes())

    assert sorted(told) == ["alg", "jwk", "name", "recipient", "role", "v"]
    assert (told["v"], told["role"]) == (1, "client")


def test_lost_phone_is_removed_though_its_yes_was_asked_for(owner: Owner, make_owner: MakeOwner) -> None:
    phone = make_owner("phone")
    phone.ok("client", "new", "phone", "--out", "phone.json")
    owner.ok("client", "add", "phone.json", "--yes")
    owner.ok("client", "approvals", "2", "--verb", "delete", "--verb", "erase-all")
    ran = owner.ok("client", "remove", "phone", "--yes")
    assert "no command waits for a second client now" in ran.err
    assert ran.err.endswith("then: privacy-owner client approvals 2 --verb delete --verb erase-all\n")
    left = chain(owner, 4)
    assert [key.role for key in left.keys] == ["client"]
    assert left.approvals is None


def test_of_three_who_have_to_say_yes_two_are_left(owner: Owner, make_owner: MakeOwner) -> None:
    for name in ("phone", "tablet"):
        make_owner(name).ok("client", "new", name, "--out", f"{name}.json")
        owner.ok("client", "add", f"{name}.json", "--yes")
    owner.ok("client", "approvals", "3", "--verb", "delete", "--verb", "erase-all")
    ran = owner.ok("client", "remove", "phone", "--yes")
    assert "2 have to now" in ran.err
    assert "privacy-owner client approvals 3 --verb delete --verb erase-all" in ran.err
    left = chain(owner, 5).approvals
    assert left is not None
    assert (left.need, left.verbs) == (2, ("delete", "erase-all"))


def add_clients(owner: Owner, make_owner: MakeOwner, *names: str) -> None:
    for name in names:
        make_owner(name).ok("client", "new", name, "--out", f"{name}.json")
        owner.ok("client", "add", f"{name}.json", "--yes")


def test_several_clients_say_yes_to_all_that_destroys_where_no_verb_is_named(
    owner: Owner, make_owner: MakeOwner
) -> None:
    add_clients(owner, make_owner, "phone")
    owner.ok("client", "approvals", "2")
    assert chain(owner, 3).approvals == Approvals(need=2, verbs=("delete", "erase-all", "end-service", "policy"))


def test_other_number_of_clients_is_asked_for_the_same_verbs(owner: Owner, make_owner: MakeOwner) -> None:
    add_clients(owner, make_owner, "phone", "tablet")
    owner.ok("client", "approvals", "2", "--verb", "delete", "--verb", "export")
    ran = owner.ok("client", "approvals", "3")
    assert "delete export: 3 clients have to say yes" in ran.out
    assert chain(owner, 5).approvals == Approvals(need=3, verbs=("delete", "export"))
    owner.ok("client", "approvals", "3", "--verb", "policy")
    assert chain(owner, 6).approvals == Approvals(need=3, verbs=("policy",))


def test_list_of_clients_tells_who_has_to_say_yes_and_the_quotas(owner: Owner, make_owner: MakeOwner) -> None:
    assert "no command waits for a second client" in owner.ok("client", "list").out
    assert owner.ok("client", "list", "--json").json["approvals"] is None
    add_clients(owner, make_owner, "phone")
    owner.ok("client", "add", descriptor_of("backend", owner.home.parent), "--yes", "--quota", "5,6000,7200")
    owner.ok("client", "approvals", "2", "--verb", "delete", "--verb", "policy")
    assert "delete policy: 2 clients have to say yes" in owner.ok("client", "list").out
    told = owner.ok("client", "list", "--json").json
    assert told["approvals"] == {"need": 2, "verbs": ["delete", "policy"]}
    quotas = [(key["role"], key["quota"]) for key in told["keys"]]
    assert quotas[:2] == [("client", None)] * 2
    assert quotas[2] == ("backend", {"objects": 5, "bytes": 6000, "window_s": 7200})
