"""`flo demo --private` from end to end: the bits of the plain demo, and nobody's update."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json
from support.disk import overwrite
from support.flo import flo, start_flo

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.model.manifest import MAX_MANIFEST_BYTES, Manifest
from fl_orchestrator.model.vector_file import VectorKind, VectorMeta, read_vector

TINY = ("--parties", "3", "--aggregators", "2", "--rounds", "2")


def history_of(directory: Path) -> Any:
    return from_json((directory / "history.json").read_bytes())


def models_of(directory: Path) -> list[list[int]]:
    """The values of each round's model, in the tensors' order, without padding."""
    history, store = history_of(directory), LocalStore(directory / "store")
    with store.get(Cid.parse(history["manifestCid"]), MAX_MANIFEST_BYTES) as stream:
        manifest = Manifest.from_bytes(stream.read())
    models = []
    for entry in history["rounds"]:
        place = (history["chainId"], history["federation"].lower(), entry["round"])
        meta = VectorMeta(VectorKind.GLOBAL, *place)
        with store.get(Cid.parse(entry["cid"]), 1 << 20) as stream:
            models.append(read_vector(stream, manifest.layout, meta)[1].tolist())
    return models


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("plain") / "run"
    flo("demo", *TINY, "--out", directory).succeeded()
    return directory


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of a private run, and what it printed."""
    directory = tmp_path_factory.mktemp("private") / "run"
    return directory, flo("demo", "--private", *TINY, "--out", directory).succeeded().out


def test_one_seed_gives_the_same_models_in_private_and_in_the_clear(
    plain: Path, private: tuple[Path, str]
) -> None:
    directory, said = private
    clear, masked = history_of(plain), history_of(directory)
    assert models_of(directory) == models_of(plain)
    assert masked["exports"] == clear["exports"]
    assert masked["exports"]["model.safetensors"] in said
    assert "without padding" in said
    for a, b in zip(clear["rounds"], masked["rounds"], strict=True):
        assert (a["accepted"], b["accepted"], b["included"]) == (True, True, 3)
        assert (a["accuracy"], a["loss"]) == (b["accuracy"], b["loss"])
        assert a["root"] != b["root"]


def test_a_private_demo_is_verified_and_one_changed_bit_is_named(
    private: tuple[Path, str], tmp_path: Path
) -> None:
    directory, _ = private
    lines = flo("verify", directory).succeeded().out.splitlines()
    assert lines[2].startswith(
        f"Verified: 2 rounds, head {history_of(directory)['rounds'][1]['root']}"
    )
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    for path in sorted((copy / "store" / "pinned").iterdir()):
        content = bytearray(path.read_bytes())
        if b'"kind":"masked"' in content and b'"round":"2"' in content:
            start = 8 + int.from_bytes(content[:8], "little")
            content[start] ^= 1
            overwrite(path, content)
            break
    flo("verify", copy).refused(1, "Round 2: ")
    history = copy / "history.json"
    history.write_text(history.read_text().replace('"private": true', '"private": false'))
    flo("verify", copy).refused(1, "history.json has the kind (private or not) False")


def test_it_says_and_records_at_a_glance_that_it_is_private(
    plain: Path, private: tuple[Path, str]
) -> None:
    directory, said = private
    assert "Private: everybody can read the sum of a round's updates;" in said
    assert history_of(directory)["private"] is True
    assert history_of(plain)["private"] is False


def test_the_store_of_a_private_demo_has_no_update_in_the_clear(
    plain: Path, private: tuple[Path, str]
) -> None:
    directory, _ = private

    def kinds(run: Path) -> dict[str, int]:
        files = [path.read_bytes() for path in (run / "store").rglob("*") if path.is_file()]
        return {
            kind: sum(f'"kind":"{kind}"'.encode() in file for file in files)
            for kind in ("update", "masked", "global")
        }

    assert kinds(plain) == {"update": 6, "masked": 0, "global": 3}
    assert kinds(directory) == {"update": 0, "masked": 6, "global": 3}


def test_a_demo_killed_in_a_round_starts_over_and_ends_with_the_same_bits(
    private: tuple[Path, str], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    process = start_flo("demo", "--private", *TINY, "--rounds", "1000", "--out", out)
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[:1] == ["1"]:
            break
    process.kill()
    process.communicate()
    done = history_of(private[0])
    assert history_of(out)["rounds"][0] == done["rounds"][0]
    flo("demo", "--private", *TINY, "--out", out).succeeded()
    assert history_of(out) == done
