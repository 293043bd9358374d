"""Trainers for PyTorch modules.

Equal weights, rows and seed give equal bits in every process on one kind of machine, one version of
PyTorch and one number of threads, if only deterministic operations are used; PyTorch warns of
others. The protocol does not need reproducible training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from fl_orchestrator.log import get_logger
from fl_orchestrator.training.dp_sgd import CannotProtect
from fl_orchestrator.training.torch.gradients import TorchDescent, require_rows_apart
from fl_orchestrator.training.torch.library import UnsupportedModule, load_torch
from fl_orchestrator.training.torch.rows import RowsLoop
from fl_orchestrator.training.trainer import (
    FloatArray,
    Metrics,
    Settings,
    WeightSpec,
    check_weights,
)

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader, Dataset

_log = get_logger(__name__)

#: Train a module in place, by a config; return the number of rows and metrics.
Train = Callable[["torch.nn.Module", dict[str, Any]], tuple[int, Metrics]]
#: Return the mean loss of a module, the number of rows, and metrics.
Test = Callable[["torch.nn.Module", dict[str, Any]], tuple[float, int, Metrics]]


class TorchTrainer:
    """A party's trainer: a PyTorch module and the party's own rows (see `Trainer`).

    The floating-point entries of the module's state are federated, by their names, in float32.
    Integers, such as `num_batches_tracked`, stay at the site and start every fit from the same
    values. With `only`, just the entries whose names match one of its patterns (as in shells) are
    federated: `only=["*lora_*"]` for adapters. All others keep their values; parameters among them
    are frozen.

    A state must be the same object in no two trainers: give each its own module.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        train: Train,
        test: Test,
        *,
        only: Sequence[str] = ("*",),
        threads: int | None = 1,
    ) -> None:
        """Train with functions of your own (see `of_rows` for a common loop).

        FedProx is theirs too: the config has the manifest's `proximalMu`, if there is one.
        `threads` is the number of threads in which PyTorch computes during a call; None leaves it
        as it is.

        Raises:
            TorchMissing: PyTorch is not installed.
            UnsupportedModule: nothing of the module is federated.
        """
        self._torch = load_torch()
        self.module = module
        self._train, self._test = train, test
        self._loop: RowsLoop | None = None
        self._threads = threads
        state = module.state_dict()
        self._names = [
            name
            for name, tensor in state.items()
            if tensor.is_floating_point() and any(fnmatchcase(name, each) for each in only)
        ]
        if not self._names:
            raise UnsupportedModule(
                "Nothing of this module is federated: no floating-point entry of its state has "
                f"a name like {', '.join(only)}.",
                "Give a module with parameters, or other patterns in `only`.",
            )
        for name, parameter in module.named_parameters():
            if name not in self._names:
                # Nobody sets them back: a fit would start where the one before has ended.
                parameter.requires_grad_(False)
        if cast := {str(state[name].dtype) for name in self._names} - {"torch.float32"}:
            _log.warning("the federation has float32 weights", model=", ".join(sorted(cast)))
        self._specs = [WeightSpec(name, tuple(state[name].shape)) for name in self._names]
        self._local = {
            name: tensor.detach().clone()
            for name, tensor in module.named_buffers()
            if name in state and name not in self._names
        }
        self._first = self._weights()

    @classmethod
    def of_rows(
        cls,
        module: torch.nn.Module,
        loss: Callable[[Any, Any], Any],
        optimizer: Callable[..., Any],
        rows: Dataset[Any] | DataLoader[Any],
        validation: Dataset[Any] | DataLoader[Any] | None = None,
        **options: Any,
    ) -> TorchTrainer:
        """Train on a data set, or a loader, of tuples (inputs ..., targets).

        `loss(outputs, targets)` is a mean over the batch. `optimizer(parameters, lr=rate)` makes a
        new optimizer for each fit, at the manifest's learning rate: `torch.optim.SGD`, or
        `functools.partial(torch.optim.SGD, momentum=0.9)`. A data set is shuffled, and loaded in
        batches of the manifest's size; a loader keeps its own batches. `options` are those of
        `TorchTrainer`.

        Raises:
            TorchMissing, UnsupportedModule: as the class.
        """
        loop = RowsLoop(
            load_torch(), loss, optimizer, rows, rows if validation is None else validation
        )
        trainer = cls(module, loop.train, loop.test, **options)
        trainer._loop = loop
        return trainer

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train from `weights`; the module keeps the trained values until the next call.

        Raises:
            BadTrainingConfig: a setting is unusable.
            BadWeights: `weights` are not this module's.
        """
        with self._prepared(weights, config):
            self.module.train()
            rows, metrics = self._train(self.module, dict(config))
        return self._weights(), rows, metrics

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        """Return the mean loss, the number and the metrics of the test rows.

        Raises:
            BadWeights: `weights` are not this module's.
        """
        with self._prepared(weights, config), self._torch.no_grad():
            self.module.eval()
            return self._test(self.module, dict(config))

    def require_rows_apart(self) -> None:
        """Raise CannotProtect if DP-SGD is not defined for the module, or for data in batches."""
        require_rows_apart(self._torch, self.module, self._rows_loop())

    def row_count(self) -> int:
        return len(self._rows_loop().rows)

    @contextmanager
    def descent(self, weights: list[FloatArray], config: dict[str, Any]) -> Iterator[TorchDescent]:
        """Train by single gradients (see `dp_sgd.Descending`); raises what `fit` does."""
        rate, loop = Settings.from_config(config).learning_rate, self._rows_loop()
        with self._prepared(weights, config):
            self.module.train()
            yield TorchDescent(self.module, loop, rate, self._names, weights, self._weights)

    def initial_weights(self) -> dict[str, FloatArray]:
        """The module's values when the trainer was made, by their names."""
        return dict(zip(self._names, self._first, strict=True))

    def architecture(self) -> str:
        """A digest of the module's layers and settings as PyTorch prints them."""
        return hashlib.sha256(repr(self.module).encode()).hexdigest()

    def _rows_loop(self) -> RowsLoop:
        if self._loop is None:
            raise CannotProtect(
                "A training function of your own does not show the gradients of single rows, "
                "which record-level privacy limits one by one.",
                "Use TorchTrainer.of_rows with a data set.",
            )
        return self._loop

    def _weights(self) -> list[FloatArray]:
        state = self.module.state_dict()
        return [
            np.array(state[name].detach().to("cpu", self._torch.float32).numpy(), np.float32)
            for name in self._names
        ]

    @contextmanager
    def _prepared(self, weights: list[FloatArray], config: dict[str, Any]) -> Iterator[None]:
        """Set weights, local state, random state and threads; put the last two back afterwards."""
        check_weights(weights, self._specs)
        torch, seed = self._torch, Settings.from_config(config).seed
        state = self.module.state_dict()
        with torch.no_grad():
            for name, value in zip(self._names, weights, strict=True):
                # Rounding may make a variance slightly negative; its root would then be NaN.
                usable = np.maximum(value, 0) if name.endswith("running_var") else value
                state[name].copy_(torch.from_numpy(np.array(usable)))
            for name, tensor in self._local.items():
                state[name].copy_(tensor)
        threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
        with torch.random.fork_rng():
            try:
                if self._threads is not None:
                    torch.set_num_threads(self._threads)
                torch.use_deterministic_algorithms(True, warn_only=True)
                torch.manual_seed(seed)
                yield
            finally:
                torch.use_deterministic_algorithms(strict)
                torch.set_num_threads(threads)
