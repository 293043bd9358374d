"""What a user can get wrong beside a living chain: one clear error each, and nothing is sent."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from integration.anvil_node import AnvilNode, anvil_node
from integration.anvil_site import Site
from safetensors.numpy import load_file, save_file
from support.disk import disk_with_room_for, overwrite
from support.flo import PASSWORD, Finished, finish, flo, start_flo
from support.rpc import rpc_endpoint

from fl_orchestrator.chain.nodes import endpoints
from fl_orchestrator.chain.types import Phase


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[AnvilNode]:
    with anvil_node(checkout, tmp_path_factory.mktemp("anvil") / "log") as node:
        yield node


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, node: AnvilNode) -> Site:
    """A federation in which round 1 is open and nobody ever commits."""
    site = open_site(tmp_path_factory.mktemp("site"), node)
    site.trained("good", 1)
    return site


def open_site(directory: Path, node: AnvilNode) -> Site:
    site = Site(directory, node)
    with node.mining_at_once():
        site.deploy().succeeded()
        site.admit_and_register(parties=["hospital", "clinic"], aggregators=["university"])
        site.key("outsider")
        site.open_round()
    return site


@pytest.fixture
def untouched(site: Site) -> Iterator[None]:
    """Nothing may have been committed when the test is over."""
    yield
    assert site.observe("hospital").committed.round == 0
    assert not list((site.directory / "home").glob("*/*/journal/*"))


def good(site: Site) -> Path:
    return site.directory / "good-1.npz"


def submit(site: Site, weights: Path, *options: str | Path) -> Finished:
    return flo(*site.submission("hospital", weights), "--timeout", "2", *options)


@pytest.mark.usefixtures("untouched")
def test_weights_that_are_not_this_models_are_refused(site: Site, tmp_path: Path) -> None:
    right = dict(np.load(good(site)))
    first = next(iter(right))

    def written(**changes: object) -> Path:
        path = tmp_path / "changed.npz"
        np.savez(path, **{name.replace("__", "/"): a for name, a in {**right, **changes}.items()})
        return path

    submit(site, tmp_path / "missing.npz").refused(2, "missing.npz does not exist")
    pickled = tmp_path / "weights.pkl"
    pickled.write_bytes(pickle.dumps(right))
    submit(site, pickled).refused(2, "not a file of weights", "pickled files are never read")
    (tmp_path / "disguised.npz").write_bytes(pickled.read_bytes())
    submit(site, tmp_path / "disguised.npz").refused(2, "is not a readable .npz file")
    np.savez(tmp_path / "objects.npz", **{**right, first: np.full(right[first].shape, {}, object)})
    submit(site, tmp_path / "objects.npz").refused(2, f"{first} is object, not a float")
    submit(site, written(extra=np.zeros(3))).refused(2, "extra")
    submit(site, written(**{first: np.zeros((7, 7))})).refused(2, first, "(7, 7)")
    submit(site, written(**{first: right[first].astype(np.int64)})).refused(2, first, "int64")
    for wrong in (np.nan, np.inf):
        values = right[first].copy()
        values.ravel()[-1] = wrong
        submit(site, written(**{first: values})).refused(2, first, "NaN or infinite")
    save_file({"other": np.zeros(3, np.float32)}, tmp_path / "names.safetensors")
    submit(site, tmp_path / "names.safetensors").refused(2, first)
    whole = tmp_path / "cut.safetensors"
    save_file(right, whole)
    whole.write_bytes(whole.read_bytes()[:-1])
    submit(site, whole).refused(2, "cut.safetensors")
    with (tmp_path / "huge.npz").open("wb") as file:
        file.truncate(1 << 33)
    submit(site, tmp_path / "huge.npz").refused(2, "8589934592 bytes, more than")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("count", ["0", "-5", "many"])
def test_a_count_of_samples_that_is_none_is_refused(site: Site, count: str) -> None:
    submit(site, good(site), "--samples", count).refused(2, "--samples")


@pytest.mark.usefixtures("untouched")
def test_a_key_that_does_not_open_is_refused(site: Site, tmp_path: Path) -> None:
    def with_key(path: Path, password: str = PASSWORD) -> Finished:
        (tmp_path / "pw").write_text(password)
        options = ["--key", str(path), "--password-file", str(tmp_path / "pw")]
        return submit(site, good(site), *options)

    key = site.directory / "hospital.json"
    damaged = tmp_path / "damaged.json"
    with_key(key, "wrong").refused(6, f"The password does not open the key file {key}")
    with_key(key, "").refused(6, "The first line of", "is empty")
    with_key(tmp_path / "missing.json").refused(6, "missing.json cannot be read", "Check --key")
    with_key(good(site)).refused(6, "is not a Web3 Secret Storage file")
    damaged.write_text(key.read_text()[:-20])
    with_key(damaged).refused(6, "damaged.json is not a Web3 Secret Storage file")
    damaged.write_text(key.read_text().replace('"iv": "', '"iv": "00').replace("pbkdf2", "nokdf"))
    with_key(damaged).refused(6, "damaged.json is a damaged keystore file")
    missing = submit(site, good(site), "--password-file", tmp_path / "missing")
    missing.refused(6, "missing cannot be read", "--password-file")


def test_a_password_can_be_piped_in(site: Site) -> None:
    register = ["party", "register", "--key", str(site.directory / "outsider.json")]
    asked = flo(*register, *site.on_chain(), typed=PASSWORD + "\n")
    asked.refused(3, "NotAdmitted")
    flo(*register, *site.on_chain()).refused(6, "nobody is there to type it", "--password-file")


@pytest.mark.usefixtures("untouched")
def test_a_store_that_is_none_or_lacks_the_manifest_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for url, code, words in (
        ("nonsense", 2, "'nonsense' is not understood"),
        ("file://host/path", 2, "no absolute path"),
        ("kubo+http://127.0.0.1", 2, "has no valid host and port"),
        ("kubo+http://127.0.0.1:1", 4, "cannot be reached"),
        (f"file://{tmp_path}/file", 4, "cannot be used"),
        (f"file://{tmp_path}/empty", 4, "is not in the store"),
    ):
        submit(site, good(site), "--store", url).refused(code, words)


@pytest.mark.usefixtures("untouched")
def test_an_endpoint_that_is_no_node_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(endpoints, "_ATTEMPTS", 2)
    for url, code, words in (
        ("http://127.0.0.1:1", 3, "http://127.0.0.1:1 does not answer"),
        ("http://key@127.0.0.1:1/secret", 3, "http://127.0.0.1:1 does not answer"),
        ("ftp://127.0.0.1", 2, "is not an http(s) URL"),
        ("", 2, "is not an http(s) URL"),
    ):
        refused = submit(site, good(site), "--rpc", url).refused(code, words)
        assert "secret" not in refused.err
    with rpc_endpoint() as endpoint:
        for body in (b"", b"<html>It works!</html>", b"[]", b'{"result": "x"}', b'{"result": 0}'):
            endpoint.body = body
            submit(site, good(site), "--rpc", endpoint.url).refused(3, "does not speak Ethereum's")
        endpoint.answers("0x5")
        submit(site, good(site), "--rpc", endpoint.url).refused(2, "no federation on chain 5")


@pytest.mark.usefixtures("untouched")
def test_weights_trained_from_another_model_are_refused(site: Site) -> None:
    submit(site, good(site), "--base-root", "0x" + "11" * 32).refused(
        3, "Round 1 starts from another global model than these weights", "flo model get"
    )
    for wrong in ("0x12", "model", "0x" + "11" * 33):
        submit(site, good(site), "--base-root", wrong).refused(2, f"{wrong!r} is not a root")


def test_whoever_is_not_registered_is_told_to_register(site: Site) -> None:
    outsider = site.working("outsider")
    submission = flo("party", "submit", good(site), "--samples", "5", *outsider)
    submission.refused(3, "not registered as a party", "flo party register")
    attestation = flo("aggregator", "attest", *outsider)
    attestation.refused(3, "not registered as an aggregator", "flo aggregator register")
    status = flo("party", "status", "hospital", *site.on_chain())
    status.refused(2, "'hospital' is not an address")


def test_waiting_ends_with_what_was_waited_for(site: Site) -> None:
    attestation = flo("aggregator", "attest", *site.working("university"), "--timeout", "2")
    attestation.refused(
        3,
        "The round did not change within 2 s. Round 1: the commit phase ends in",
        "nothing is lost",
    )
    never = flo(*site.submission("hospital", good(site)), "--timeout", "-1")
    never.refused(2, "--timeout")


@pytest.mark.usefixtures("untouched")
def test_files_that_cannot_be_written_are_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    submit(site, good(site), "--home", tmp_path / "file").refused(4, f"{tmp_path}/file")
    get = ["model", "get", "--output"]
    chain = [*site.on_chain(), "--store", site.store_url]
    nowhere = flo(*get, tmp_path / "none" / "m.safetensors", *chain)
    nowhere.refused(4, "m.safetensors cannot be written", "its directory exists")
    with disk_with_room_for(100):
        submit(site, good(site)).refused(4, "File too large", "has room")
        flo(*get, tmp_path / "full.safetensors", *chain).refused(4, "File too large")
    assert not (tmp_path / "full.safetensors").exists()
    with disk_with_room_for(100):
        options = site.deploy_options()
        options[-1] = f"file://{tmp_path}/store"
        deployed = flo("federation", "create", *options, *site.key("owner"), *site.on_chain())
    deployed.refused(4, f"no room in the content store {tmp_path}/store")


def test_a_model_that_the_store_has_not_or_has_damaged_is_refused(
    site: Site, tmp_path: Path
) -> None:
    head = site.federation.head()
    shutil.copytree(site.directory / "store", tmp_path / "store")
    place = tmp_path / "store" / "pinned" / str(head.cid)
    get = ["model", "get", "--output", tmp_path / "m.safetensors", *site.on_chain()]
    get += ["--store", f"file://{tmp_path}/store"]
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    overwrite(place, content)
    flo(*get).refused(4, f"The store's bytes for {head.cid} do not have that CID")
    place.unlink()
    flo(*get).refused(4, str(head.cid), "is not in the store")
    assert not (tmp_path / "m.safetensors").exists()


def test_a_copy_of_anothers_update_is_told_that_it_does_not_count(
    tmp_path: Path, node: AnvilNode
) -> None:
    site = open_site(tmp_path, node)
    files = [site.trained("hospital", 2), site.trained("clinic", 2, ".safetensors")]
    assert dict(np.load(files[0])).keys() == load_file(files[1]).keys()
    submitted = [
        start_flo(*site.submission(name, path), "--json")
        for name, path in zip(("hospital", "clinic"), files, strict=True)
    ]
    ended = sorted((finish(process) for process in submitted), key=lambda one: one.code)
    assert [one.json["counted"] for one in ended] == [True, False]
    ended[0].succeeded()
    ended[1].refused(3, "does not count: another update with the same numbers was revealed before")
    assert site.observe().current.phase is Phase.ATTEST
