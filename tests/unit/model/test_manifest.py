"""The manifest: one spelling, nothing impossible, nothing unknown."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.model.manifest import (
    MAX_MANIFEST_BYTES,
    Features,
    Manifest,
    ManifestError,
    NoiseSpec,
    RuleSpec,
    TensorSpec,
    TrainingSpec,
)
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.printable import is_printable

TRAINING = TrainingSpec(epochs=1, batch_size=32, learning_rate=0.1, optimizer="sgd", loss="mse")


def manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "name": "test",
        "tensors": [TensorSpec(name="w", shape=(3, 100)), TensorSpec(name="b", shape=())],
        "depth": 2,
        "training": TRAINING,
    }
    return Manifest(**{**fields, **changes})


def as_json(**changes: Any) -> dict[str, Any]:
    """The JSON of a good manifest; a change to ``None`` drops the key."""
    parsed = {**json.loads(manifest().to_bytes()), **changes}
    return {key: value for key, value in parsed.items() if value is not None}


def test_a_manifest_has_exactly_the_protocols_keys() -> None:
    full = manifest(features=Features(mean=(0.0,), scale=(1.0,)), data_schema="columns")
    parsed = json.loads(full.to_bytes())
    assert sorted(parsed) == [
        "depth",
        "features",
        "name",
        "purpose",
        "rule",
        "samplesPerWeight",
        "schema",
        "tensors",
        "training",
        "updateFractionBits",
        "version",
    ]
    assert sorted(parsed["tensors"][0]) == ["name", "offset", "shape"]
    assert sorted(parsed["rule"]) == ["kind", "trimBps"]
    assert sorted(parsed["features"]) == ["mean", "scale"]
    assert sorted(parsed["training"]) == [
        "batchSize",
        "epochs",
        "learningRate",
        "loss",
        "metrics",
        "optimizer",
    ]
    assert "features" not in json.loads(manifest().to_bytes())


def test_only_a_packed_layout_is_a_key_of_its_own() -> None:
    padded, packed = manifest(), manifest(layout_kind="packed")
    assert "layout" not in json.loads(padded.to_bytes())
    assert as_json(layout="packed") == json.loads(packed.to_bytes())
    assert Manifest.from_bytes(packed.to_bytes()).layout.packed
    assert not Manifest.from_bytes(padded.to_bytes()).layout.packed
    assert packed.digest != padded.digest


def test_a_packed_model_needs_the_depth_of_its_values_alone() -> None:
    tensors = [TensorSpec(name=str(i), shape=(64,)) for i in range(8)]
    assert manifest(tensors=tensors, depth=1, layout_kind="packed").layout.chunks == 2
    with pytest.raises(ManifestError, match="Set depth to 3 or more"):
        manifest(tensors=tensors, depth=1)


real = st.floats(allow_nan=False, allow_infinity=False)


def printable_text(**sizes: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8").filter(is_printable), **sizes)


@st.composite
def rules(draw: st.DrawFn) -> RuleSpec:
    kind = draw(st.sampled_from(RuleKind))
    return RuleSpec.of(kind, **{p.field: draw(st.integers(0, p.most)) for p in kind.parameters})


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    names = printable_text(min_size=1, max_size=60)
    shapes = st.lists(st.integers(0, 9), max_size=4).map(tuple)
    drawn = draw(st.lists(names.filter(lambda n: n != "__metadata__"), unique=True, max_size=4))
    tensors = [TensorSpec(name="first", shape=(3,))]
    tensors += [
        TensorSpec(name=name + "'", shape=draw(shapes), offset=draw(st.integers(-64, 96)))
        for name in drawn
    ]
    means = tuple(draw(st.lists(real, max_size=3)))
    return manifest(
        tensors=tensors,
        depth=draw(st.integers(7, 21)),
        name=draw(names),
        purpose=draw(printable_text(max_size=50)) + "\nin lines",
        data_schema=draw(printable_text(max_size=50)),
        rule=draw(rules()),
        samples_per_weight=draw(st.integers(1, 2**53 - 1)),
        update_fraction_bits=draw(st.integers(0, 24)),
        layout_kind=draw(st.sampled_from([None, "packed"])),
        training=TRAINING.model_copy(
            update={"learning_rate": draw(st.floats(0, 1e300, exclude_min=True))}
        ),
        features=Features(
            mean=means, scale=tuple(draw(st.floats(0, 1e300, exclude_min=True)) for _ in means)
        )
        if means
        else None,
    )


@given(manifests())
def test_a_manifest_survives_its_bytes(original: Manifest) -> None:
    data = original.to_bytes()
    assert Manifest.from_bytes(data) == original
    assert Manifest.from_bytes(data).to_bytes() == data
    assert original.digest == hashlib.sha256(data).digest()


def respelled() -> dict[str, bytes]:
    good = manifest().to_bytes()
    parsed = json.loads(good)
    return {
        "spaces": json.dumps(parsed, sort_keys=True).encode(),
        "a newline at the end": good + b"\n",
        "keys in another order": json.dumps(
            dict(reversed(parsed.items())), separators=(",", ":")
        ).encode(),
        "a number with a fraction": good.replace(b'"learningRate":0.1', b'"learningRate":0.10'),
        "an exponent": good.replace(b'"learningRate":0.1', b'"learningRate":1e-1'),
        "an escape": good.replace(b'"name":"test"', b'"name":"\\u0074est"'),
        "a key twice": good.replace(b'"depth":2', b'"depth":2,"depth":2'),
        "a null": good.replace(b'"name":"test"', b'"features":null,"name":"test"'),
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "the attribute's name": good.replace(b'"schema"', b'"data_schema"'),
        "no version": good.replace(b',"version":1', b""),
        "a default left out": good.replace(b'"purpose":"",', b""),
    }


@pytest.mark.parametrize("case", respelled())
def test_another_spelling_of_a_manifest_is_refused(case: str) -> None:
    assert respelled()[case] != manifest().to_bytes()
    with pytest.raises(ManifestError):
        Manifest.from_bytes(respelled()[case])


def tensor(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "w", "offset": 0, "shape": [3], **changes}]


def training(**changes: Any) -> dict[str, Any]:
    return {**as_json()["training"], **changes}


def clipping(limit: float) -> dict[str, Any]:
    return {"kind": "weighted-mean", "trimBps": 0, "chunkNormLimit": limit}


def impossible() -> dict[str, dict[str, Any]]:
    return {
        "version 2": {"version": 2},
        "no name": {"name": None},
        "an empty name": {"name": ""},
        "a number for a name": {"name": 7},
        "an unknown key": {"run": "rm -rf /"},
        "no tensors": {"tensors": []},
        "only empty tensors": {"tensors": tensor(shape=[0, 5])},
        "an unknown key of a tensor": {"tensors": tensor(path="/etc/passwd")},
        "two tensors of one name": {"tensors": tensor() * 2},
        "a tensor without a name": {"tensors": tensor(name="")},
        "a reserved name": {"tensors": tensor(name="__metadata__")},
        "a name of 257 bytes": {"tensors": tensor(name="é" * 128 + "x")},
        "a negative dimension": {"tensors": tensor(shape=[-1, -3])},
        "a fraction of a dimension": {"tensors": tensor(shape=[1.5])},
        "a boolean dimension": {"tensors": tensor(shape=[True])},
        "a dimension beyond memory": {"tensors": tensor(shape=[2**53])},
        "dimensions beyond memory": {"tensors": tensor(shape=[2**20, 2**20])},
        "a huge empty tensor": {"tensors": [*tensor(), *tensor(name="v", shape=[0, 2**40])]},
        "33 dimensions": {"tensors": tensor(shape=[1] * 33)},
        "an offset below": {"tensors": tensor(offset=-65)},
        "an offset above": {"tensors": tensor(offset=97)},
        "more fraction bits than the state": {"updateFractionBits": 25},
        "negative fraction bits": {"updateFractionBits": -1},
        "a tree too deep": {"depth": 22},
        "a negative depth": {"depth": -1},
        "a tree too shallow": {"depth": 1},
        "a boolean depth": {"depth": True},
        "an unknown rule": {"rule": {"kind": "krum", "trimBps": 0}},
        "a rule by its number": {"rule": {"kind": 0, "trimBps": 0}},
        "a trim of one half": {"rule": {"kind": "trimmed-mean", "trimBps": 5000}},
        "a negative trim": {"rule": {"kind": "trimmed-mean", "trimBps": -1}},
        "a mean that trims": {"rule": {"kind": "weighted-mean", "trimBps": 10}},
        "a norm limit of zero": {"rule": clipping(0)},
        "a norm limit that no chunk reaches": {"rule": clipping(2**19)},
        "a norm limit with a point": {"rule": clipping(1.5)},
        "a norm limit in a private federation": {"rule": clipping(1), "layout": "packed"},
        "no samples per weight": {"samplesPerWeight": 0},
        "more samples than a double holds": {"samplesPerWeight": 2**53},
        "no epochs": {"training": training(epochs=0)},
        "an empty batch": {"training": training(batchSize=0)},
        "a learning rate of zero": {"training": training(learningRate=0)},
        "a learning rate in words": {"training": training(learningRate="0.1")},
        "no loss": {"training": training(loss="")},
        "a loss that is code": {"training": training(loss={"lambda": "x"})},
        "an unknown key of the training": {"training": training(callbacks=[])},
        "a scale of zero": {"features": {"mean": [0], "scale": [0]}},
        "a scale too few": {"features": {"mean": [0, 1], "scale": [1]}},
        "a mean without scales": {"features": {"mean": [0]}},
        "a schema of keys": {"schema": {}},
        "an unknown layout": {"layout": "padded"},
        "a layout by a number": {"layout": 1},
    }


@pytest.mark.parametrize("case", impossible())
def test_an_impossible_manifest_is_refused(case: str) -> None:
    parsed = as_json(**impossible()[case])
    # rfc8785 refuses what JSON's doubles cannot hold; then plain JSON shows that we refuse it too.
    try:
        data = rfc8785.dumps(parsed)
    except rfc8785.IntegerDomainError:
        data = json.dumps(parsed, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ManifestError) as caught:
        Manifest.from_bytes(data)
    assert "canonical" not in str(caught.value)


def test_a_good_manifest_is_not_refused_by_the_same_road() -> None:
    assert Manifest.from_bytes(rfc8785.dumps(as_json())) == manifest()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"name":"\\ud800"}'],
    ids=["nothing", "open", "list", "null", "utf-16", "empty", "deep", "surrogate"],
)
def test_what_is_not_a_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_bytes(data)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "-0.1"])
def test_a_learning_rate_that_is_no_positive_number_is_refused(text: str) -> None:
    data = manifest().to_bytes().replace(b'"learningRate":0.1', f'"learningRate":{text}'.encode())
    with pytest.raises(ManifestError):
        Manifest.from_bytes(data)


def test_a_manifest_that_is_too_long_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ManifestError, match="longer than"):
        Manifest.from_bytes(b"[" * (MAX_MANIFEST_BYTES + 1))


def test_a_manifest_that_would_be_too_long_is_not_written() -> None:
    tensors = [TensorSpec(name=f"{i:0256}", shape=(1,)) for i in range(5000)]
    with pytest.raises(ManifestError, match="longer than"):
        manifest(tensors=tensors, depth=13).to_bytes()


def test_mistakes_in_python_are_manifest_errors_too() -> None:
    with pytest.raises(ManifestError, match="Set depth to 2"):
        manifest(depth=1)
    with pytest.raises(ManifestError, match="same name"):
        manifest(tensors=[TensorSpec(name="w", shape=(3,))] * 2)
    with pytest.raises(ManifestError, match="samples"):
        manifest(samples_per_weight=0)


def test_the_largest_model_of_the_protocol_fits() -> None:
    large = manifest(tensors=[TensorSpec(name="w", shape=(2**29,))], depth=21)
    assert large.layout.chunks == 2**21
    with pytest.raises(ManifestError, match="depth"):
        manifest(
            tensors=[TensorSpec(name="w", shape=(2**29,)), TensorSpec(name="b", shape=(1,))],
            depth=21,
        )


# Text that would act on the terminal of whoever reads it

HARMFUL = {
    "an escape code": "a\x1b[2Kb",
    "NUL": "a\0b",
    "a line end": "a\nb",
    "a carriage return": "a\rb",
    "DEL": "a\x7fb",
    "a C1 code": "a\x9b2Kb",
    "a right-to-left override": "a\u202eb",
    "a line separator": "a\u2028b",
    "an isolate": "a\u2067b",
    "a zero-width space": "a\u200bb",
}
PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "name": lambda text: {"name": text},
    "purpose": lambda text: {"purpose": text},
    "schema": lambda text: {"data_schema": text},
    "loss": lambda text: {"training": {**TRAINING.model_dump(), "loss": text}},
    "metrics": lambda text: {"training": {**TRAINING.model_dump(), "metrics": (text,)}},
    "tensors": lambda text: {"tensors": [{"name": text, "shape": [3]}]},
}


@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL)
@pytest.mark.parametrize("place", PLACES)
def test_text_that_acts_on_a_terminal_is_refused_everywhere(place: str, text: str) -> None:
    if place in ("purpose", "schema") and text == HARMFUL["a line end"]:
        assert manifest(**PLACES[place](text))
        return
    with pytest.raises(ManifestError, match="control characters") as refusal:
        manifest(**PLACES[place](text))
    assert is_printable(refusal.value.message)


def test_a_stored_manifest_with_an_escape_code_is_refused() -> None:
    good = manifest(purpose="PLACE").to_bytes()
    with pytest.raises(ManifestError, match=r"purpose: .*control characters"):
        Manifest.from_bytes(good.replace(b"PLACE", b"\\u001b[2K"))


NOISE = NoiseSpec(clip=0.5, multiplier=2.0, honest=4, delta=1e-5, rounds=30)


def test_noise_is_read_back_and_only_private_federations_have_it() -> None:
    private = manifest(noise=NOISE, layout_kind="packed", update_fraction_bits=10)
    assert Manifest.from_bytes(private.to_bytes()) == private
    assert NOISE.norm(10) == 512
    assert NOISE.variance(10) == 1024**2 / 4
    with pytest.raises(ManifestError, match="Only a private federation"):
        manifest(noise=NOISE)


def test_noise_that_does_not_fit_a_sum_is_refused() -> None:
    loud = NOISE.model_copy(update={"multiplier": 100.0})
    with pytest.raises(ManifestError, match="does not fit a sum"):
        manifest(noise=loud, layout_kind="packed", update_fraction_bits=20)


@pytest.mark.parametrize(
    "changes",
    [{"clip": 0.0}, {"multiplier": -1.0}, {"honest": 0}, {"delta": 1.0}, {"rounds": 0}],
    ids=str,
)
def test_noise_out_of_range_is_refused(changes: dict[str, float]) -> None:
    terms = {"clip": 0.5, "multiplier": 2.0, "honest": 4, "delta": 1e-5, "rounds": 30}
    given = {**as_json(layout="packed"), "noise": {**terms, **changes}}
    with pytest.raises(ManifestError, match="noise"):
        Manifest.from_bytes(rfc8785.dumps(given))
