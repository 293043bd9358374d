"""Trainers for scikit-learn."""

from fl_orchestrator.training.sklearn.estimators import UnsupportedEstimator
from fl_orchestrator.training.sklearn.trainer import SklearnMissing, SklearnTrainer

__all__ = ["SklearnMissing", "SklearnTrainer", "UnsupportedEstimator"]
