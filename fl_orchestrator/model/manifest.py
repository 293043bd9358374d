"""The manifest of a federation: a description of its model and its training, as canonical JSON.

Its bytes (RFC 8785) are on IPFS, and their sha256 is on-chain. It is data: nothing in it is
executed or used as a path. Source: docs/protocol.md, sections 4 and 10.
"""

import hashlib
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import rfc8785
from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from fl_orchestrator.errors import ContentError, InputError
from fl_orchestrator.model.layout import (
    CHUNK_VALUES,
    MAX_DEPTH,
    MOMENTUM_NAME,
    Layout,
    minimal_depth,
)
from fl_orchestrator.model.parts.part import (
    MAX_SAFE_INTEGER,
    Count,
    Digest,
    Lineage,
    Name,
    Part,
    Real,
    Text,
    on_one_line,
)
from fl_orchestrator.model.protocol import BPS, CHUNK_NORM_LIMIT, MAX_UPDATES
from fl_orchestrator.model.rules import (
    LEARNING_RATE,
    MOMENTUM,
    SERVER,
    TRIM,
    RuleKind,
    ServerStep,
    UnknownRule,
    rule_named,
)

MAX_MANIFEST_BYTES: Final = 1 << 20
STATE_FRACTION_BITS: Final = 24
# A raw column with values of 10^6 has a variance of 10^12, which must fit the state; with this
# offset the state holds values up to 2^31 * 2^(64 - 24).
LEAST_OFFSET: Final = -64
MOST_OFFSET: Final = 96
MAX_NAME_BYTES: Final = 256
#: The largest standard deviation of one party's noise, in units of an update's integers.
MOST_NOISE: Final = 1 << 18
MAX_VALUES: Final = CHUNK_VALUES << MAX_DEPTH

_HINT: Final = "Compare it with the manifest keys in docs/protocol.md, section 10."


class ManifestError(ContentError):
    """A manifest that is malformed, not canonical, or describes something impossible."""


def _usable_tensor_name(name: str) -> str:
    if name == "__metadata__":
        raise ValueError("a tensor cannot be called __metadata__")
    if not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
        raise ValueError(f"a tensor's name has 1 to {MAX_NAME_BYTES} bytes of UTF-8")
    return on_one_line(name)


def _possible_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    # Count zeros as ones: else an empty tensor could have a dimension that no library supports.
    if len(shape) > 32 or prod(max(d, 1) for d in shape) > MAX_VALUES:
        raise ValueError(f"a tensor has at most 32 dimensions and {MAX_VALUES} values")
    return shape


TensorName = Annotated[str, AfterValidator(_usable_tensor_name)]
Shape = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False), AfterValidator(_possible_shape)
]


class TensorSpec(Part):
    """A tensor's name, shape and static offset o_l (extra fractional bits, -64..96)."""

    name: TensorName
    shape: Shape
    offset: Annotated[int, Field(ge=LEAST_OFFSET, le=MOST_OFFSET)] = 0


class LocalTensor(Part):
    """A tensor that stays at each site: ``position`` counts from 0 in the trainer's own list."""

    name: TensorName
    position: Annotated[int, Field(ge=0, le=MAX_VALUES)]
    shape: Shape


def _rule_kind(given: object) -> RuleKind:
    if isinstance(given, RuleKind):
        return given
    if not isinstance(given, str):
        raise ValueError("a rule's kind is a string")
    try:
        return rule_named(given)
    except UnknownRule as error:
        raise ValueError(str(error).rstrip(".")) from error


class RuleSpec(Part):
    """The aggregation rule and its parameters; parameters of other rules must be 0.

    What the server does with a rule's step, and clipping, are left out where they are the default.
    """

    kind: Annotated[
        RuleKind, PlainValidator(_rule_kind), PlainSerializer(lambda kind: kind.label)
    ] = RuleKind.WEIGHTED_MEAN
    trim_bps: Annotated[int, Field(ge=0, le=TRIM.most)] = 0
    server_learning_rate_bps: (
        Annotated[int, Field(ge=LEARNING_RATE.least, le=LEARNING_RATE.most)] | None
    ) = None
    server_momentum_bps: Annotated[int, Field(ge=1, le=MOMENTUM.most)] | None = None
    chunk_norm_limit: Annotated[int, Field(ge=1, lt=CHUNK_NORM_LIMIT)] | None = None

    @classmethod
    def of(cls, kind: RuleKind, **parameters: int) -> Self:
        """The rule with these parameters, and defaults for the rest. Raises ValueError."""
        fields = {parameter.field: parameter.default for parameter in kind.parameters}
        fields |= parameters
        for parameter in SERVER:
            if fields.get(parameter.field) == parameter.default:
                del fields[parameter.field]
        return cls(kind=kind, **fields)

    @property
    def server(self) -> ServerStep:
        """How the server applies the rule's step."""
        rate, momentum = self.server_learning_rate_bps, self.server_momentum_bps
        return ServerStep(
            LEARNING_RATE.default if rate is None else rate,
            MOMENTUM.default if momentum is None else momentum,
        )

    @model_validator(mode="after")
    def _has_only_its_own_parameters(self) -> Self:
        own = {parameter.field for parameter in self.kind.parameters}
        for field in {parameter.field for kind in RuleKind for parameter in kind.parameters} - own:
            if getattr(self, field):
                raise ValueError(f"{to_camel(field)} must be 0 with the rule {self.kind.label}")
        # A manifest says one thing in one way.
        if self.server_learning_rate_bps == LEARNING_RATE.default:
            raise ValueError(f"leave serverLearningRateBps out where it is {LEARNING_RATE.default}")
        return self

    def __str__(self) -> str:
        given = [p for p in SERVER if getattr(self, p.field) is not None]
        shown = [(p.option, getattr(self, p.field)) for p in (*self.kind.parameters, *given)]
        words = [f"{option.replace('-', ' ')} {bps / BPS:g}" for option, bps in shown]
        words += [f"chunk norm limit {n:,}" for n in [self.chunk_norm_limit] if n is not None]
        parameters = ", ".join(words)
        return f"{self.kind.label} ({parameters})" if parameters else self.kind.label


class TrainingSpec(Part):
    """How a party trains locally in each round. The names are looked up, never evaluated.

    ``classes`` are the labels of a classifier in the order of its outputs, where a trainer needs
    them: a party may have rows of some classes only. ``proximal_mu`` is FedProx's mu.
    """

    epochs: Count
    batch_size: Count
    learning_rate: Annotated[Real, Field(gt=0)]
    optimizer: Name
    loss: Name
    metrics: Annotated[tuple[Name, ...], Field(strict=False, max_length=64)] = ()
    classes: Annotated[tuple[Name, ...], Field(strict=False, min_length=2)] | None = None
    proximal_mu: Annotated[Real, Field(gt=0)] | None = None


class Features(Part):
    """Fixed feature scales: a party feeds its model (x - mean) / scale, column by column."""

    mean: Annotated[tuple[Real, ...], Field(strict=False)]
    scale: Annotated[tuple[Annotated[Real, Field(gt=0)], ...], Field(strict=False)]

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if len(self.mean) != len(self.scale):
            raise ValueError("mean and scale must have the same length")
        return self


class NoiseSpec(Part):
    """Noise on the sums of a private federation, for privacy of whole parties (section 12.8).

    An update's L2 norm is at most ``clip`` before it is scaled by 2^e. Each party adds a part of
    the noise, so that the parts of ``honest`` parties have the standard deviation ``multiplier *
    clip`` together. ``rounds`` is how many sums may be opened; epsilon is at ``delta``.
    """

    clip: Annotated[Real, Field(gt=0)]
    multiplier: Annotated[Real, Field(gt=0)]
    honest: Annotated[int, Field(ge=1, le=MAX_UPDATES)]
    delta: Annotated[Real, Field(gt=0, lt=1)]
    rounds: Count

    def norm(self, fraction_bits: int) -> float:
        """The largest L2 norm of an update, in units of its integers."""
        return self.clip * 2.0**fraction_bits

    def variance(self, fraction_bits: int) -> float:
        """The variance of what one party adds to each value."""
        return (self.multiplier * self.norm(fraction_bits)) ** 2 / self.honest


class Manifest(Part):
    """Everything about a federation's model that is not on-chain. Raises ManifestError."""

    version: Literal[1] = 1
    name: Name
    purpose: Text = ""
    tensors: Annotated[tuple[TensorSpec, ...], Field(strict=False, min_length=1)]
    update_fraction_bits: Annotated[int, Field(ge=0, le=STATE_FRACTION_BITS)] = 15
    depth: Annotated[int, Field(ge=0, le=MAX_DEPTH)]
    rule: RuleSpec = RuleSpec()
    samples_per_weight: Annotated[int, Field(ge=1, le=MAX_SAFE_INTEGER)] = 1
    training: TrainingSpec
    features: Features | None = None
    architecture: Digest | None = None
    layout_kind: Annotated[Literal["packed"] | None, Field(alias="layout")] = None
    noise: NoiseSpec | None = None
    lineage: Lineage | None = None
    local: Annotated[tuple[LocalTensor, ...], Field(strict=False, min_length=1)] | None = None
    data_schema: Annotated[Text, Field(alias="schema")] = ""

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise ManifestError(_explain(error), _HINT) from None

    @model_validator(mode="after")
    def _the_model_fits(self) -> Self:
        # Raise ManifestError, not ValueError: this runs outside of the validator that translates.
        named: list[TensorSpec | LocalTensor] = [*self.tensors, *(self.local or ())]
        if len({tensor.name for tensor in named}) != len(named):
            raise ManifestError("Two tensors of the manifest have the same name.", _HINT)
        positions = [tensor.position for tensor in self.local or ()]
        if positions != sorted(set(positions)) or max(positions, default=0) >= len(named):
            raise ManifestError(
                "The manifest's local tensors are not in the order of their positions.", _HINT
            )
        if self.layout.momentum and any(t.name == MOMENTUM_NAME for t in named):
            raise ManifestError(f"A tensor cannot be called {MOMENTUM_NAME} with momentum.", _HINT)
        if self.layout.parameters == 0:
            raise ManifestError("The manifest's model has no parameters.", _HINT)
        needed = minimal_depth(self.layout.chunks)
        if needed > self.depth:
            raise ManifestError(
                f"The manifest's model of {self.layout.chunks} chunks does not fit a tree of "
                f"depth {self.depth}.",
                f"Set depth to {needed} or more.",
            )
        if self.is_private and self.rule.chunk_norm_limit is not None:
            raise ManifestError("Nobody can clip chunks of a private federation's updates.", _HINT)
        if self.noise is not None:
            self._require_usable_noise(self.noise)
        return self

    def _require_usable_noise(self, noise: NoiseSpec) -> None:
        if not self.is_private:
            raise ManifestError(
                "Only a private federation can have noise on its sums.",
                'Leave out noise, or set layout to "packed".',
            )
        if noise.variance(self.update_fraction_bits) > MOST_NOISE**2:
            raise ManifestError(
                f"Noise of more than {MOST_NOISE:,} units does not fit a sum.",
                "Choose a smaller clip or multiplier, or fewer fraction bits.",
            )

    @cached_property
    def layout(self) -> Layout:
        """Where each tensor lies in a vector of this model."""
        tensors = ((t.name, t.shape, t.offset) for t in self.tensors)
        momentum = self.rule.server.has_momentum
        return Layout.of(tensors, self.depth, packed=self.is_private, momentum=momentum)

    @property
    def model_tensors(self) -> tuple[TensorSpec | LocalTensor, ...]:
        """All tensors of the trainer's model, also those that stay at a site, in its order."""
        tensors: list[TensorSpec | LocalTensor] = list(self.tensors)
        for tensor in self.local or ():
            tensors.insert(tensor.position, tensor)
        return tuple(tensors)

    @property
    def is_private(self) -> bool:
        """Whether it describes a private federation: only those have a packed layout."""
        return self.layout_kind == "packed"

    def to_bytes(self) -> bytes:
        """Return the canonical JSON (RFC 8785, UTF-8). Raises ManifestError."""
        try:
            data = rfc8785.dumps(self.model_dump(exclude_none=True))
        except rfc8785.CanonicalizationError as error:
            raise ManifestError(f"The manifest has no canonical JSON: {error}.") from error
        if len(data) > MAX_MANIFEST_BYTES:
            raise ManifestError(f"The manifest is longer than {MAX_MANIFEST_BYTES} bytes.")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse canonical JSON; any other spelling of the same JSON is refused.

        Raises ManifestError for more than ``MAX_MANIFEST_BYTES``, malformed JSON, unknown or
        missing keys, values out of range, and JSON that is not byte for byte canonical.
        """
        if len(data) > MAX_MANIFEST_BYTES:
            raise ManifestError(f"The manifest is longer than {MAX_MANIFEST_BYTES} bytes.")
        try:
            manifest = cls.model_validate_json(data, by_alias=True, by_name=False)
        except ValidationError as error:
            raise ManifestError(_explain(error), _HINT) from None
        if manifest.to_bytes() != data:
            raise ManifestError(
                "The manifest is not canonical JSON.",
                "Write it as RFC 8785 says: sorted keys, no spaces; and include every key.",
            )
        return manifest

    @cached_property
    def digest(self) -> bytes:
        """The sha256 of the canonical JSON: the contract's ``manifestDigest``."""
        return hashlib.sha256(self.to_bytes()).digest()


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file. Raises ManifestError and InputError."""
    try:
        with path.open("rb") as file:
            return Manifest.from_bytes(file.read(MAX_MANIFEST_BYTES + 1))
    except OSError as error:
        raise InputError(
            f"The manifest {path} cannot be read: {error.strerror}.", "Check --manifest."
        ) from error


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the manifest"
    return f"The manifest is not valid: {where}: {first['msg']}."
