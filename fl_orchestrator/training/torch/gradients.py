"""The gradients of single rows of a PyTorch module, for DP-SGD (see `dp_sgd`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.training.dp_sgd import Array, CannotProtect, clipped_sum
from fl_orchestrator.training.torch.library import load_torch
from fl_orchestrator.training.torch.rows import RowsLoop
from fl_orchestrator.training.trainer import FloatArray

if TYPE_CHECKING:
    import torch

_WEIGHTED_MEANS: Final = ("CrossEntropyLoss", "NLLLoss")


def require_rows_apart(torch: Any, module: torch.nn.Module, loop: RowsLoop) -> None:
    """Refuse a module in which one row's gradient depends on other rows, or cannot be had.

    Raises:
        CannotProtect: with the name of the layer, or with what PyTorch says.
    """
    rows = loop.rows
    data = torch.utils.data
    batched = isinstance(rows, data.DataLoader | data.IterableDataset)
    if batched or not hasattr(rows, "__len__"):
        raise CannotProtect(
            "The data come in batches, but record-level privacy draws single rows.",
            "Give the trainer a data set with a length, not a loader.",
        )
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            raise CannotProtect(
                f"The layer {name} normalises each row by the others of its batch, so the gradient "
                "of a single row is not defined, and its moving averages have no noise.",
                "Use GroupNorm or LayerNorm instead of BatchNorm.",
            )
    if type(loop.loss).__name__ in _WEIGHTED_MEANS and loop.loss.weight is not None:  # type: ignore[attr-defined]
        raise CannotProtect(
            f"{type(loop.loss).__name__} divides by the weights of a batch's classes, so that the "
            "weight of a single row has no effect.",
            "Leave out the weight, or write a loss that multiplies each row's own by it.",
        )
    if len(rows):
        with torch.random.fork_rng():
            row_gradients(module, loop, np.arange(1))


def row_gradients(
    module: torch.nn.Module, loop: RowsLoop, rows: NDArray[np.int64]
) -> dict[str, Any]:
    """The gradients of these rows' losses by parameter: (rows, *shape).

    Rows are vectorised: each is a batch of one, and no operation sees two of them.

    Raises:
        CannotProtect: PyTorch cannot compute the module, or its loss, in this way.
    """
    func = load_torch().func
    every = dict(module.named_parameters())
    trained = {name: each.detach() for name, each in every.items() if each.requires_grad}
    fixed = {name: each.detach() for name, each in every.items() if not each.requires_grad}
    fixed |= dict(module.named_buffers())

    def loss_of(values: dict[str, Any], inputs: list[Any], target: Any) -> Any:
        batch = tuple(part[None] for part in inputs)
        outputs = func.functional_call(module, {**values, **fixed}, batch)
        return loop.loss(outputs, target[None])

    inputs, targets = loop.chosen(module, rows)
    each_row = func.vmap(func.grad(loss_of), in_dims=(None, 0, 0), randomness="different")
    try:
        found: dict[str, Any] = each_row(trained, inputs, targets)
    except (RuntimeError, ValueError) as error:
        raise CannotProtect(
            "PyTorch cannot compute the gradients of single rows of this module: "
            f"{str(error).strip().splitlines()[0]}",
            "Leave out layers that change their state, such as running averages, and branches that "
            "depend on values (docs/privacy.md).",
        ) from error
    return found


class TorchDescent:
    """One training of a module by single gradients.

    Weights that are not trained stay as they were, whatever their layers do with rows.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        loop: RowsLoop,
        rate: float,
        names: Sequence[str],
        start: list[FloatArray],
        now: Callable[[], list[FloatArray]],
    ) -> None:
        """`names` are those of the federated weights, whose values are `start` and `now()`."""
        self._torch, self._module, self._loop = load_torch(), module, loop
        self._names, self._start, self._now = names, start, now
        self._trained = {
            name: each for name, each in module.named_parameters() if each.requires_grad
        }
        self._optimizer = loop.optimizer(list(self._trained.values()), lr=rate)

    def clipped_sum(self, rows: NDArray[np.int64], clip_norm: float) -> list[Array]:
        """The sum over rows, for all weights; zero for those that are not trained."""
        found = row_gradients(self._module, self._loop, rows)
        parts = [each.to("cpu", self._torch.float64).numpy() for each in found.values()]
        sums = dict(zip(found, clipped_sum(parts, clip_norm), strict=True))
        return [
            sums.get(name, np.zeros(array.shape))
            for name, array in zip(self._names, self._start, strict=True)
        ]

    def move(self, gradient: list[Array]) -> None:
        given = dict(zip(self._names, gradient, strict=True))
        for name, each in self._trained.items():
            each.grad = self._torch.from_numpy(given[name]).to(each.device, each.dtype)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def weights(self) -> list[FloatArray]:
        moved = {each.data_ptr() for each in self._trained.values()}
        state = self._module.state_dict()
        # One tensor may have several names.
        return [
            after if state[name].data_ptr() in moved else before
            for name, after, before in zip(self._names, self._now(), self._start, strict=True)
        ]
