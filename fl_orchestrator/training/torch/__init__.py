"""Trainers for PyTorch."""

from fl_orchestrator.training.torch.library import TorchMissing, UnsupportedModule, load_torch
from fl_orchestrator.training.torch.trainer import TorchTrainer

__all__ = ["TorchMissing", "TorchTrainer", "UnsupportedModule", "load_torch"]
