"""The type that a loader returns, and the reading of data files.

The size of every file is checked before it is read. Its sha256 is compared with the one recorded
next to its loader before it is parsed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path

from fl_orchestrator.errors import TrainingError, install_hint
from fl_orchestrator.training.data import Indices, Rows

CHECKOUT = Path(__file__).parents[3]
DEFAULT_DATA_DIR = CHECKOUT.parent / "shared" / "data"


class DataSetMissing(TrainingError):
    """The file of a data set does not exist at the expected path."""


class DataSetAltered(TrainingError):
    """The file of a data set is not the published one that its loader expects."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set with a fixed split into training and test rows; features are not scaled.

    `groups` and `test_groups` map the name of a natural column (`hospital`) to each row's group
    number, and `group_names` maps it to the names of these groups.
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
    """A file of a data set: its path in the data directory, its size in bytes and its sha256."""

    path: str
    size: int
    sha256: str

    def read(self, root: Path) -> bytes:
        """Read the file, and check its size and sha256.

        Raises:
            DataSetMissing: there is no such file.
            DataSetAltered: its size or sha256 differs.
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
    """Directory of the data files in the scikit-learn package, found without importing it.

    Raises:
        DataSetMissing: scikit-learn is not installed.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DataSetMissing(
            "This data set is part of scikit-learn, which is not installed.",
            install_hint("demo"),
        )
    return Path(package.submodule_search_locations[0]) / "datasets" / "data"
