"""What a loader returns, and how it reads a file that it did not write.

Every file is read only after its size was looked at, and parsed only after its sha256 was compared
with the one recorded next to its loader.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path

from fl_orchestrator.errors import TrainingError
from fl_orchestrator.training.data import Indices, Rows

CHECKOUT = Path(__file__).parents[3]
DEFAULT_DATA_DIR = CHECKOUT.parent / "shared" / "data"


class DataSetMissing(TrainingError):
    """A data set's file is not where it is looked for."""


class DataSetAltered(TrainingError):
    """A data set's file is not the one that its loader was written for."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set, split once and for all into training and test rows, features unscaled.

    `groups` and `test_groups` map a natural column (`hospital`) to each row's group number, and
    `group_names` to what those numbers stand for.
    """

    name: str
    train: Rows
    test: Rows
    classes: int
    feature_names: tuple[str, ...]
    licence: str
    source: str
    groups: dict[str, Indices] = field(default_factory=dict)
    test_groups: dict[str, Indices] = field(default_factory=dict)
    group_names: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a data set: its place below the data directory, its size and its sha256."""

    path: str
    size: int
    sha256: str

    def read(self, root: Path) -> bytes:
        """The file's bytes, known to be the expected ones.

        Raises:
            DataSetMissing: there is no such file.
            DataSetAltered: its size or sha256 is another.
        """
        path = root / self.path
        if not path.is_file():
            raise DataSetMissing(
                f"The data file {path} does not exist.",
                f"Put {self.path} into a directory and set FLO_DATA_DIR to that directory; "
                "docs/data.md says where each file comes from.",
            )
        if path.stat().st_size == self.size:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == self.sha256:
                return content
        raise DataSetAltered(
            f"The data file {path} is not the published one: its size or sha256 differs.",
            f"Replace it by the file of {self.size} bytes with sha256 {self.sha256}.",
        )


def data_dir() -> Path:
    """Directory of the data files: FLO_DATA_DIR, else ../shared/data beside the checkout."""
    return Path(os.environ.get("FLO_DATA_DIR") or DEFAULT_DATA_DIR)


def scikit_learn_dir() -> Path:
    """Directory of the data files that scikit-learn brings, found without importing it.

    Raises:
        DataSetMissing: scikit-learn is not installed.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DataSetMissing(
            "This data set comes with scikit-learn, which is not installed.",
            "Install it with: pip install 'fl-orchestrator[demo]'.",
        )
    return Path(package.submodule_search_locations[0]) / "datasets" / "data"
