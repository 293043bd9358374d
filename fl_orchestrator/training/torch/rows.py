"""The common way to train a module: epochs over a data set or a loader."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.training.torch.library import UnsupportedModule
from fl_orchestrator.training.trainer import TEST_BATCH, Metrics, Settings

if TYPE_CHECKING:
    import torch


class RowsLoop:
    """The common loop over a data set or a loader."""

    def __init__(
        self,
        torch: Any,
        loss: Callable[[Any, Any], Any],
        optimizer: Callable[..., Any],
        rows: Any,
        test: Any,
    ) -> None:
        self._torch, self.loss, self.optimizer = torch, loss, optimizer
        self.rows, self._test = rows, test

    def train(self, module: torch.nn.Module, config: dict[str, Any]) -> tuple[int, Metrics]:
        settings = Settings.from_config(config)
        parameters = [each for each in module.parameters() if each.requires_grad]
        optimizer = self.optimizer(parameters, lr=settings.learning_rate)
        pull = self._proximal(parameters, settings)
        loader = self._loader(self.rows, settings.batch_size, settings.seed)
        losses: list[float] = []
        rows = epochs = 0
        while epochs < settings.epochs if settings.steps is None else len(losses) < settings.steps:
            left = None if settings.steps is None else settings.steps - len(losses)
            before = len(losses)
            for inputs, targets in islice(self._batches(module, loader), left):
                optimizer.zero_grad()
                loss = self.loss(module(*inputs), targets)
                loss.backward()
                optimizer.step()
                pull()
                losses.append(float(loss.detach()))
                rows += len(targets) if epochs == 0 else 0
            if len(losses) == before:
                raise UnsupportedModule("The loader gives no rows.", "Give a loader with rows.")
            epochs += 1
        known = getattr(loader.dataset, "__len__", None)
        return known() if known else rows, {"loss": float(np.mean(losses))}

    def _proximal(self, parameters: list[Any], settings: Settings) -> Callable[[], None]:
        """What takes a proximal step (see `Settings.proximal_share`)."""
        started = parameters if settings.proximal_mu else []
        pairs = [(each, each.detach().clone()) for each in started]

        def pull() -> None:
            with self._torch.no_grad():
                for each, start in pairs:
                    each.lerp_(start, 1.0 - settings.proximal_share)

        return pull

    def test(self, module: torch.nn.Module, config: dict[str, Any]) -> tuple[float, int, Metrics]:  # noqa: ARG002
        total, rows, right, of_classes = 0.0, 0, 0, False
        loader = self._loader(self._test, TEST_BATCH, seed=None)
        for inputs, targets in self._batches(module, loader):
            outputs = module(*inputs)
            total += float(self.loss(outputs, targets)) * len(targets)
            rows += len(targets)
            if outputs.ndim == 2 and targets.ndim == 1 and not targets.is_floating_point():
                of_classes = True
                right += int((outputs.argmax(1) == targets).sum())
        if not rows:
            return math.nan, 0, {}
        return total / rows, rows, {"accuracy": right / rows} if of_classes else {}

    def chosen(self, module: torch.nn.Module, rows: NDArray[np.int64]) -> tuple[list[Any], Any]:
        """These rows of the data set, as one batch of inputs and targets."""
        subset = self._torch.utils.data.Subset(self.rows, rows.tolist())
        return next(self._batches(module, self._loader(subset, len(rows), seed=None)))

    def _loader(self, rows: Any, batch: int, seed: int | None) -> Any:
        """A loader that shuffles by `seed`, if there is one; the user's own one keeps its way."""
        data = self._torch.utils.data
        if not isinstance(rows, data.DataLoader):
            return data.DataLoader(rows, batch_size=batch, shuffle=seed is not None)
        for generator in (rows.generator, getattr(rows.sampler, "generator", None)):
            if generator is not None and seed is not None:
                generator.manual_seed(seed)
        return rows

    def _batches(self, module: torch.nn.Module, loader: Any) -> Iterator[tuple[list[Any], Any]]:
        """Inputs and targets of each batch, where the module is."""
        where = next(module.parameters()).device
        for batch in loader:
            if not isinstance(batch, list | tuple) or len(batch) < 2:
                raise UnsupportedModule(
                    f"The loader gives a {type(batch).__name__}, not a tuple (inputs, targets).",
                    "Give TorchTrainer train and test functions of your own.",
                )
            *inputs, targets = (part.to(where) for part in batch)
            yield inputs, targets
