"""The product against tests/vectors/golden.json, which the Solidity tests read too."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from pydantic.alias_generators import to_camel
from support.golden import GOLDEN, as_cid, each, unhex
from vectors import arithmetic, generate

from fl_orchestrator.aggregation.clipping import clipped
from fl_orchestrator.aggregation.rules import rule_for
from fl_orchestrator.content.cid import CidHasher
from fl_orchestrator.model import digests
from fl_orchestrator.model.chunk_root import read_masked
from fl_orchestrator.model.chunk_tree import (
    chunk,
    root_from_proof,
    tree_of,
    verify,
    zero_nodes,
)
from fl_orchestrator.model.fixed_point import (
    OutOfRange,
    encode_update,
    float_view,
    genesis_state,
    next_state,
    next_with_momentum,
    sample_weight,
)
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.model.manifest import Manifest, RuleSpec
from fl_orchestrator.model.rules import RuleKind, ServerStep
from fl_orchestrator.model.vector_file import (
    VectorKind,
    VectorMeta,
    in_blocks,
    read_vector,
    write_vector,
)
from fl_orchestrator.model.words import domain_separator


def test_the_file_is_what_its_generator_makes() -> None:
    assert generate.GOLDEN.read_text("utf-8") == generate.to_text()


@each("commitments")
def test_a_commitment_is_the_golden_one(row: dict[str, Any]) -> None:
    found = digests.commitment(
        chain_id=row["chainId"],
        federation=row["federation"],
        round_number=row["round"],
        party=row["party"],
        root=unhex(row["root"]),
        cid=as_cid(row),
        weight=row["weight"],
        salt=unhex(row["salt"]),
    )
    assert found == unhex(row["commitment"])
    assert found[:26] == unhex(row["slot"])


def test_the_rolling_hash_follows_the_golden_chain() -> None:
    current = digests.ZERO_HASH
    for row in GOLDEN["rollingHashes"]:
        assert current == unhex(row["previous"])
        current = digests.updates_hash(current, row["party"], row["weight"], unhex(row["root"]))
        assert current == unhex(row["updatesHash"])


@each("seeds")
def test_a_seed_is_the_golden_one(row: dict[str, Any]) -> None:
    previous, block_hash = unhex(row["previous"]), unhex(row["blockHash"])
    assert digests.round_seed(previous, block_hash, row["round"]) == unhex(row["seed"])


@each("results")
def test_a_result_digest_is_the_golden_one(row: dict[str, Any]) -> None:
    result = digests.Result(
        round=row["round"],
        updates_hash=unhex(row["updatesHash"]),
        base_root=unhex(row["baseRoot"]),
        included=int(row["included"], 16),
        global_root=unhex(row["globalRoot"]),
        global_cid=as_cid(row),
    )
    separator = domain_separator(row["chainId"], row["federation"])
    assert separator == unhex(row["domainSeparator"])
    assert digests.result_struct_hash(result) == unhex(row["structHash"])
    digest = digests.result_digest(row["chainId"], row["federation"], result)
    assert digest == unhex(row["digest"])


@each("challenges")
def test_what_registers_a_challenge_is_the_golden_hash(row: dict[str, Any]) -> None:
    digest, salt = unhex(row["digest"]), unhex(row["salt"])
    found = digests.challenge_hash(
        row["challenger"], row["round"], digest, int(row["coordinate"], 16), salt
    )
    assert found == unhex(row["challenge"])
    assert row["digest"] == GOLDEN["results"][row["result"]]["digest"]


@each("commits")
def test_a_commit_digest_is_the_golden_one(row: dict[str, Any]) -> None:
    found = digests.commit_digest(
        row["chainId"], row["federation"], row["round"], row["party"], unhex(row["commitment"])
    )
    assert found == unhex(row["digest"])


@each("draws")
def test_a_draw_is_the_golden_one(row: dict[str, Any]) -> None:
    stake, total = int(row["stake"], 16), int(row["totalStake"], 16)
    found = digests.drawn(unhex(row["seed"]), row["party"], stake, total, row["participants"])
    assert found is row["drawn"]


def vector_of(row: dict[str, Any]) -> tuple[Layout, np.ndarray]:
    layout = Layout.of(
        ((str(i), [size], 0) for i, size in enumerate(row["sizes"])),
        depth=row["depth"],
        packed=row["packed"],
    )
    return layout, np.array(row["values"], f"int{row['bits']}")


@each("vectors")
def test_a_root_is_the_golden_one(row: dict[str, Any]) -> None:
    assert tree_of(*vector_of(row)).root == unhex(row["root"])


@each("nodes")
def test_a_node_is_the_golden_one(row: dict[str, Any]) -> None:
    tree = tree_of(*vector_of(GOLDEN["vectors"][row["vector"]]))
    assert tree.node(row["height"], row["index"]) == unhex(row["node"])


@each("proofs")
def test_a_proof_is_the_golden_one(row: dict[str, Any]) -> None:
    layout, vector = vector_of(GOLDEN["vectors"][row["vector"]])
    data = chunk(layout, vector, row["index"])
    proof = tree_of(layout, vector).proof(row["index"])
    assert data == unhex(row["chunk"])
    assert keccak256(data) == unhex(row["leaf"])
    assert list(proof) == [unhex(sibling) for sibling in row["proof"]]
    assert root_from_proof(unhex(row["leaf"]), row["index"], proof) == unhex(row["root"])
    assert verify(unhex(row["root"]), row["depth"], row["index"], data, proof)


@each("zeroNodes")
def test_a_subtree_of_zeros_is_the_golden_one(row: dict[str, Any]) -> None:
    assert zero_nodes(row["bits"] * 32)[row["height"]] == unhex(row["node"])


@each("rules")
def test_a_rule_gives_the_golden_result(row: dict[str, Any]) -> None:
    kind = tuple(RuleKind)[row["kind"]]
    rule = rule_for(RuleSpec(kind=kind, trim_bps=row["trimBps"]))
    updates = [[np.array([value], np.int16)] for value in row["values"]]
    (step,) = rule.aggregate(updates, row["weights"])
    assert step.tolist() == [row["aggregate"]]
    next_value = next_state(np.array([row["base"]], np.int32), step, row["fractionBits"])
    assert next_value.tolist() == [row["next"]]


@each("clips")
def test_a_chunk_is_clipped_to_the_golden_one(row: dict[str, Any]) -> None:
    chunk_ = np.frombuffer(unhex(row["chunk"]), "<i2")
    layout = Layout.of([("w", [CHUNK_VALUES], 0)])
    (found,) = clipped([chunk_], layout, row["limit"])
    assert found.tolist() == row["clipped"]
    assert sum(value**2 for value in chunk_.tolist()) == row["squares"]


@each("serverSteps")
def test_a_server_makes_the_golden_state_of_a_step(row: dict[str, Any]) -> None:
    base, momentum = (np.array([row[key]], np.int32) for key in ("base", "momentum"))
    server = ServerStep(row["learningRateBps"], row["momentumBps"])
    step = np.array([row["step"]], np.int16)
    if not server.has_momentum:
        assert next_state(base, step, row["fractionBits"], server).tolist() == [row["next"]]
        return
    found = next_with_momentum(base, momentum, step, row["fractionBits"], server)
    assert [values.tolist() for values in found] == [[row["next"]], [row["nextMomentum"]]]


def test_every_rule_has_golden_results() -> None:
    rows = GOLDEN["rules"]
    assert {row["kind"] for row in rows} == {int(kind) for kind in RuleKind}
    for parameter in (parameter for kind in RuleKind for parameter in kind.parameters):
        field = to_camel(parameter.field)
        for kind in RuleKind:
            values = {row[field] for row in rows if row["kind"] == kind}
            assert len(values) > 3 if parameter in kind.parameters else values == {0}


@each("sampleWeights")
def test_a_sample_weight_is_the_golden_one(row: dict[str, Any]) -> None:
    assert sample_weight(row["samples"], row["samplesPerWeight"]) == row["weight"]


@each("conversions")
def test_a_conversion_is_the_golden_one(row: dict[str, Any]) -> None:
    layout = Layout.of([("w", [], row["offset"])])
    weight, local = (
        np.array(struct.unpack(">d", unhex(row[key]))[0]) for key in ("weight", "local")
    )
    state = np.array([row["state"]], np.int32)
    if arithmetic.saturates(float(weight), row["offset"]):
        with pytest.raises(OutOfRange):
            genesis_state(layout, [weight])
    else:
        assert genesis_state(layout, [weight]).tolist() == state.tolist()
    assert float_view(layout, state)[0].astype(">f4").tobytes() == unhex(row["view"])
    encoded = encode_update(layout, row["fractionBits"], [local], state)
    assert encoded.vector.tolist() == [row["update"]]
    assert encoded.clipped == float(row["clipped"])


@each("manifests")
def test_a_manifest_is_the_golden_one(row: dict[str, Any]) -> None:
    manifest = Manifest.from_bytes(row["json"].encode())
    assert manifest.to_bytes() == row["json"].encode()
    assert manifest.digest == unhex(row["digest"])
    assert manifest.features is not None
    assert manifest.features.mean == (0.0, -1.5, 1e21)
    assert manifest.samples_per_weight == 2**53 - 1


@each("files")
def test_a_file_is_the_golden_one(row: dict[str, Any]) -> None:
    layout = Manifest.from_bytes(GOLDEN["manifests"][row["manifest"]]["json"].encode()).layout
    kind = VectorKind(row["kind"])
    meta = VectorMeta(kind, row["chainId"], row["federation"], int(row["round"]))
    vector = np.array(row["values"], kind.dtype)
    stream = io.BytesIO()
    tree = write_vector(stream, layout, meta, in_blocks(vector, 7))
    assert stream.getvalue() == unhex(row["bytes"])
    assert tree.root == unhex(row["root"])
    hasher = CidHasher()
    hasher.update(stream.getvalue())
    assert str(hasher.cid()) == row["cid"]
    assert hasher.cid().digest == unhex(row["sha256"])
    read_meta, read = read_vector(io.BytesIO(unhex(row["bytes"])), layout, expected=meta)
    assert read_meta == meta
    assert read.tolist() == row["values"]


def masked_of(row: dict[str, Any]) -> tuple[Layout, np.ndarray]:
    layout = Layout.of([("w", [len(row["values"])], 0)], row["depth"], packed=True)
    return layout, np.array(row["values"], np.uint32)


@each("maskedVectors")
def test_a_root_of_masked_values_is_the_golden_one(row: dict[str, Any]) -> None:
    tree = tree_of(*masked_of(row))
    assert (tree.root, tree.depth) == (unhex(row["root"]), row["depth"] + 2)


@each("maskedProofs")
def test_a_proof_of_masked_values_is_the_golden_one(row: dict[str, Any]) -> None:
    layout, vector = masked_of(GOLDEN["maskedVectors"][row["vector"]])
    tree, index = tree_of(layout, vector), row["index"]
    data = chunk(layout, vector, index)
    assert (data, tree.node(0, index)) == (unhex(row["chunk"]), unhex(row["leaf"]))
    assert list(tree.proof(index)) == [unhex(sibling) for sibling in row["proof"]]
    assert verify(unhex(row["root"]), row["depth"] + 2, index, data, tree.proof(index))


@each("maskedFiles")
def test_a_masked_file_is_the_golden_one(row: dict[str, Any]) -> None:
    layout, vector = masked_of(row)
    seal, data = unhex(row["seal"]), unhex(row["bytes"])
    number = int(row["round"])
    meta = VectorMeta(VectorKind.MASKED, row["chainId"], row["federation"], number)
    stream = io.BytesIO()
    tree = write_vector(stream, layout, meta, in_blocks(vector, 7), seal)
    assert (stream.getvalue(), tree.root) == (data, unhex(row["root"]))
    hasher = CidHasher()
    hasher.update(data)
    assert str(hasher.cid()) == row["cid"]
    found, read = read_masked(io.BytesIO(data), layout, meta, len(seal))
    assert (found, read) == (tree.root, seal)
