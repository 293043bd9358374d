"""The audit of a recorded private run: `flo verify` recomputes it, and names what was changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.disk import overwrite
from support.disputes import off_by_one
from support.private_disputes import open_seeds
from support.private_federation import SmallPrivateFederation, packed_manifest

from fl_orchestrator.audit.auditor import Audit, WrongRecord
from fl_orchestrator.audit.history import STORE, History, RoundEntry
from fl_orchestrator.audit.recording import Recorder
from fl_orchestrator.roles.manifests import manifest_cid


def record(private: SmallPrivateFederation, recorder: Recorder) -> None:
    """Write the record of the accepted rounds of a federation, as `flo demo` does."""
    contract, manifest = private.contract, private.manifest
    genesis = contract.model(0)
    entries = []
    for height in range(1, contract.head().height + 1):
        model = contract.model(height)
        nothing: dict[str, Any] = {"accuracy": 0.5, "loss": 0.5, "clipped": 0.0, "gas": 0}
        entries.append(
            RoundEntry(
                round=model.round,
                accepted=True,
                drawn=5,
                committed=5,
                included=len(private.included(model.round)),
                root="0x" + model.root.hex(),
                cid=str(model.cid),
                gas_by_call={},
                **nothing,
            )
        )
    recorder.save()
    History(
        private=True,
        dataset="synthetic",
        partition="iid",
        rule=manifest.rule.kind.label,
        seed=0,
        parties=5,
        aggregators=4,
        participants=5,
        chain_id=contract.chain_id,
        federation=contract.address,
        chain_head="0x" + private.chain.head_hash().hex(),
        genesis_root="0x" + genesis.root.hex(),
        genesis_cid=str(genesis.cid),
        manifest_cid=str(manifest_cid(manifest.digest)),
        rounds=tuple(entries),
    ).save(private.directory)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A right run of one round, from which a party dropped out; and one with a wrong second one."""
    private = SmallPrivateFederation(tmp_path_factory.mktemp("recorded"))
    recorder = Recorder(private.directory, private.chain)
    opened = open_seeds(private, drop_out=True)
    opened.accept(opened.right)
    record(private, recorder)
    good = private.directory.with_name("good")
    shutil.copytree(private.directory, good)
    opened = open_seeds(private, 2)
    opened.accept(opened.wrong_model(off_by_one(8)))
    record(private, recorder)
    return good, private.directory


@pytest.fixture
def run(recorded: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the right run, to be spoilt."""
    return Path(shutil.copytree(recorded[0], tmp_path / "run"))


def audit(directory: Path, tmp_path: Path) -> list[int]:
    checked = Audit(directory, tmp_path / "workspace")
    return [result.included.bit_count() for result in checked.rounds()]


def refusal(directory: Path, tmp_path: Path) -> str:
    with pytest.raises(WrongRecord) as refused:
        audit(directory, tmp_path)
    return refused.value.message


def masked_file(run: Path) -> Path:
    """The masked update of some party."""
    files = sorted((run / STORE / "pinned").iterdir())
    return next(path for path in files if b'"kind":"masked"' in path.read_bytes()[:400])


def test_a_right_private_run_is_computed_again(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    assert audit(recorded[0], tmp_path) == [4]


def test_one_wrong_unit_is_found_with_its_coordinate(
    recorded: tuple[Path, Path], tmp_path: Path
) -> None:
    message = refusal(recorded[1], tmp_path)
    assert message.startswith("Round 2: the model on-chain is not the rule applied")
    assert "the first wrong coordinate is 8 (dense/bias[0])" in message


def flip(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 4
    overwrite(path, data)


def seal_of(path: Path) -> int:
    """Where the seal of a masked update begins."""
    data = path.read_bytes()
    return 8 + int.from_bytes(data[:8], "little") + 4 * packed_manifest().layout.parameters


def test_a_changed_value_of_a_masked_update_is_found(run: Path, tmp_path: Path) -> None:
    file = masked_file(run)
    flip(file, seal_of(file) - 4 * 3)
    message = refusal(run, tmp_path)
    assert "stored update" in message
    assert message.endswith("the first wrong coordinate is 7 (dense/kernel[3, 1]).")


def test_a_changed_byte_of_a_seal_is_found(run: Path, tmp_path: Path) -> None:
    file = masked_file(run)
    # In the hashes of the seeds, which are its first five words.
    flip(file, seal_of(file) + 40)
    assert refusal(run, tmp_path).endswith(
        "the first wrong byte is byte 40 of its seal, no coordinate."
    )


@pytest.mark.parametrize("change", [-1, 1, -2_000, 200_000])
def test_a_masked_update_of_another_length_is_named(run: Path, tmp_path: Path, change: int) -> None:
    file = masked_file(run)
    data = file.read_bytes()
    overwrite(file, data[:change] if change < 0 else data + bytes(change))
    assert "the file's header is wrong, no coordinate" in refusal(run, tmp_path)


def test_a_masked_update_that_is_gone_is_named(run: Path, tmp_path: Path) -> None:
    masked_file(run).unlink()
    assert "is not in the store" in refusal(run, tmp_path)
