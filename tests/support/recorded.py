"""Creates a recorded run like `flo demo`, but trained with NumPy."""

from __future__ import annotations

from pathlib import Path

from fl_orchestrator.audit.history import SAFETENSORS, History, RoundEntry, file_sha256
from fl_orchestrator.audit.recording import Recorder
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.manifests import manifest_cid
from fl_orchestrator.simulation.simulation import Shape, Simulation
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights, tensors
from fl_orchestrator.training.weights_file import save_safetensors
from support.federation import CLASSES, FEATURES, consortium, rows_of, small_manifest, trainers


def record_run(directory: Path, rounds: int = 2, parties: int = 2) -> list[History]:
    """Run a federation in ``directory`` and record it, as simulation/experiment.py does.

    Returns what was recorded after each round.
    """
    manifest = small_manifest()
    simulation = Simulation(
        directory,
        manifest,
        initial_weights(FEATURES, CLASSES),
        trainers(parties),
        Shape(aggregators=1, rounds=rounds, seed=0, terms=consortium(parties)),
    )
    recorder = Recorder(directory, simulation.chain)
    evaluator = NumpyLogistic(rows_of(99), CLASSES)
    entries: list[RoundEntry] = []
    histories = []
    for _ in range(rounds):
        report = simulation.run_round()
        loss, _, metrics = evaluator.evaluate(simulation.head_weights(), {})
        entries.append(report.entry({"loss": loss, **metrics}))
        recorder.save()
        histories.append(_history(simulation, manifest, entries))
        histories[-1].save(directory)
    export = directory / SAFETENSORS
    save_safetensors(export, simulation.head_weights(), tensors(FEATURES, CLASSES))
    exports = {SAFETENSORS: file_sha256(export)}
    histories[-1].model_copy(update={"exports": exports}).save(directory)
    return histories


def _history(simulation: Simulation, manifest: Manifest, entries: list[RoundEntry]) -> History:
    federation = simulation.federation
    genesis = federation.model(0)
    return History(
        dataset="synthetic",
        partition="iid",
        rule=manifest.rule.kind.label,
        seed=0,
        parties=len(simulation.accounts.parties),
        aggregators=1,
        participants=len(simulation.accounts.parties),
        chain_id=federation.chain_id,
        federation=federation.address,
        chain_head="0x" + simulation.chain.head_hash().hex(),
        genesis_root="0x" + genesis.root.hex(),
        genesis_cid=str(genesis.cid),
        manifest_cid=str(manifest_cid(manifest.digest)),
        rounds=tuple(entries),
        gas_total=simulation.gas_total,
    )
