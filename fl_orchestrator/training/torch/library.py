"""PyTorch itself, which need not be installed."""

from __future__ import annotations

from typing import Any

from fl_orchestrator.errors import InputError, TrainingError


class TorchMissing(TrainingError):
    """PyTorch cannot be imported."""


class UnsupportedModule(InputError):
    """A module, or rows, that this trainer cannot train."""


def load_torch() -> Any:
    """Import PyTorch. Raises TorchMissing."""
    try:
        import torch
        import torch.utils.data
    except ImportError as error:
        raise TorchMissing(
            f"PyTorch cannot be imported: {error}.",
            "Install it as pytorch.org says for your machine; the package is called torch.",
        ) from error
    return torch
