"""Key sets that the simulated owner signs: a chain that anybody with the root's key can check."""

import json
from pathlib import Path

from device_sim.cloud import jws, strictjson
from device_sim.cloud.ownership import Owner, entry
from device_sim.cloud.service import init


def test_key_sets_are_a_chain_signed_by_the_root(tmp_path: Path) -> None:
    descriptors = [strictjson.loads(file.read_bytes()) for file in init(tmp_path, roles=("store", "backend", "client"))]
    owner = Owner()
    first = jws.parse(owner.sign(descriptors[:1], iat_s=1))
    second = jws.parse(owner.sign(descriptors, iat_s=2))
    claims = [jws.verify(one, owner.root.public, typ="pv1.keyset") for one in (first, second)]
    assert [(one["version"], one["prev"]) for one in claims] == [(1, ""), (2, first.signing_input_sha256)]
    assert claims[1]["root"] == owner.root.jwk
    keys = json.loads(json.dumps(claims[1]["keys"]))
    assert [key["role"] for key in keys] == ["store", "backend", "client"]
    assert [key["verbs"] for key in keys][:2] == [[], ["delete", "export", "inventory"]]
    assert set(keys[0]) == {"jwk", "alg", "role", "name", "verbs", "recipient"}


def test_entry_takes_a_quota(tmp_path: Path) -> None:
    (backend,) = [strictjson.loads(file.read_bytes()) for file in init(tmp_path, roles=("backend",))]
    quota = {"objects": 5, "bytes": 100, "window_s": 60}
    assert entry(backend, quota=quota)["quota"] == quota
