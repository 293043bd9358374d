"""Takes part with an unmodified Flower `ClientApp`, without SuperLink and without telemetry.

`flower_trainer` is the entry. flwr is imported only when it is called (the extra `flower`).
"""

from fl_orchestrator.training.flower.apps import BadFlowerApp, FlowerMissing
from fl_orchestrator.training.flower.trainer import FlowerFailed, FlowerTrainer, flower_trainer

__all__ = ["BadFlowerApp", "FlowerFailed", "FlowerMissing", "FlowerTrainer", "flower_trainer"]
