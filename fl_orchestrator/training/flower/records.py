"""Between the arrays of a federation and the messages and records of Flower.

`Message(metadata=…)` and the serialisation of records are not part of Flower's public interface:
the extra `flower` pins the versions that were tried.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import TrainingError
from fl_orchestrator.training.flower.apps import Scalar

#: Flower's names in the messages of its own strategies.
ARRAYS: Final = "arrays"
CONFIG: Final = "config"
NUM_EXAMPLES: Final = "num-examples"
_TTL_SECONDS: Final = 43_200.0
_SERVER: Final = 1

Arrays = dict[str, NDArray[Any]]


class FlowerFailed(TrainingError):
    """A Flower app answered with an error, or with something that is no model or no metrics."""


def message_of(content: Any, kind: str, node_id: int, group: int) -> Any:
    """A message as a SuperLink would deliver it; ``group`` is the round."""
    from flwr.app import Message, Metadata

    metadata = Metadata(
        run_id=1,
        message_id=f"{kind}-{group}",
        src_node_id=_SERVER,
        dst_node_id=node_id,
        reply_to_message_id="",
        group_id=str(group),
        created_at=time.time(),
        ttl=_TTL_SECONDS,
        message_type=kind,
    )
    return Message(metadata=metadata, content=content)


def instruction(
    arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Scalar], kind: str, legacy: bool
) -> Any:
    """The content of a message to train or to evaluate; ``legacy`` for a client_fn."""
    from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

    if not legacy:
        record = ArrayRecord({name: Array(array) for name, array in arrays.items()})
        return RecordDict({ARRAYS: record, CONFIG: ConfigRecord(dict(config))})
    from flwr.common import EvaluateIns, FitIns, ndarrays_to_parameters
    from flwr.compat.common import recorddict_compat as compat

    parameters = ndarrays_to_parameters(list(arrays.values()))
    if kind == "train":
        return compat.fitins_to_recorddict(FitIns(parameters, dict(config)), keep_input=True)
    return compat.evaluateins_to_recorddict(EvaluateIns(parameters, dict(config)), keep_input=True)


def content_of(reply: Any, kind: str) -> Any:
    """The records of a reply. Raises FlowerFailed for an error and for what is no message."""
    from flwr.app import Message, RecordDict

    if not isinstance(reply, Message):
        raise FlowerFailed(f"The Flower app's {kind} returned {type(reply).__name__}, no Message.")
    if reply.has_error():
        raise FlowerFailed(
            f"The Flower app's {kind} answered with error {reply.error.code}: "
            f"{reply.error.reason}.",
            "Look for the error in the app's own output.",
        )
    if not isinstance(reply.content, RecordDict):
        raise FlowerFailed(f"The Flower app's {kind} answered without records.")
    return reply.content


def arrays_in(content: Any, names: Sequence[str]) -> list[NDArray[Any]]:
    """The arrays of a reply in the model's order.

    They are taken by name if the names are the model's. Otherwise, as with a Keras app, whose names
    are "0", "1", …, they are taken in their order.

    Raises:
        FlowerFailed: not exactly one ArrayRecord, or another number of arrays.
    """
    records = list(content.array_records.values())
    if len(records) != 1:
        raise FlowerFailed(
            f"The Flower app's train answered with {len(records)} ArrayRecords, not one.",
            "Put the whole model into one ArrayRecord.",
        )
    found = {name: array.numpy() for name, array in records[0].items()}
    if set(found) == set(names):
        return [found[name] for name in names]
    if len(found) != len(names) or (set(found) & set(names)):
        raise FlowerFailed(
            f"The Flower app's train answered with {len(found)} arrays, which are not those of the "
            f"model of {len(names)}.",
            "It must return every tensor that it was given, by the same names or in the same "
            "order.",
        )
    return list(found.values())


def metrics_in(content: Any) -> dict[str, float]:
    """All single numbers of a reply's MetricRecords. Lists are left out."""
    return {
        name: value
        for record in content.metric_records.values()
        for name, value in record.items()
        if not isinstance(value, list)
    }


def fit_result(content: Any, legacy: bool, names: Sequence[str]) -> tuple[Any, int, Any]:
    """Arrays, number of examples and metrics of a reply to `train`. Raises FlowerFailed."""
    if legacy:
        from flwr.common import parameters_to_ndarrays
        from flwr.compat.common.recorddict_compat import recorddict_to_fitres

        result = recorddict_to_fitres(content, keep_input=True)
        arrays = parameters_to_ndarrays(result.parameters)
        return arrays, result.num_examples, dict(result.metrics)
    metrics = metrics_in(content)
    return arrays_in(content, names), _examples(metrics, "train"), metrics


def evaluate_result(content: Any, legacy: bool, loss_names: Sequence[str]) -> tuple[Any, int, Any]:
    """Loss, number of examples and metrics of a reply to `evaluate`. Raises FlowerFailed."""
    if legacy:
        from flwr.compat.common.recorddict_compat import recorddict_to_evaluateres

        result = recorddict_to_evaluateres(content)
        return result.loss, result.num_examples, dict(result.metrics)
    metrics = metrics_in(content)
    rows = _examples(metrics, "evaluate")
    loss = next((metrics.pop(name) for name in loss_names if name in metrics), None)
    if loss is None:
        raise FlowerFailed(
            f"The Flower app's evaluate has no loss among {', '.join(metrics) or 'no metrics'}.",
            f"Name it {loss_names[0]}.",
        )
    return loss, rows, metrics


def _examples(metrics: dict[str, float], kind: str) -> int:
    if NUM_EXAMPLES not in metrics:
        raise FlowerFailed(
            f"The Flower app's {kind} did not say on how many examples.",
            f"Put {NUM_EXAMPLES!r} into its MetricRecord, as Flower's own strategies need it.",
        )
    return metrics.pop(NUM_EXAMPLES)  # type: ignore[return-value]


def state_bytes(state: Any) -> NDArray[np.uint8] | None:
    """A context's state as bytes; None if it has no record."""
    from flwr.common.serde import recorddict_to_proto

    if not len(state):
        return None
    data: bytes = recorddict_to_proto(state).SerializeToString(deterministic=True)
    return np.frombuffer(data, np.uint8)


def state_from(data: NDArray[np.uint8] | None) -> Any:
    """The state that `state_bytes` wrote; an empty one for None. Raises FlowerFailed."""
    from flwr.app import RecordDict
    from flwr.common.serde import recorddict_from_proto
    from flwr.proto.recorddict_pb2 import RecordDict as Proto
    from google.protobuf.message import DecodeError

    if data is None:
        return RecordDict()
    proto = Proto()
    try:
        proto.ParseFromString(data.tobytes())
    except DecodeError as error:
        raise FlowerFailed("The saved state of the Flower app cannot be read.") from error
    return recorddict_from_proto(proto)
