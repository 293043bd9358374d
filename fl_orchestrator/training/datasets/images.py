"""Loaders of image data sets: MNIST and the 8 x 8 digits. Features are unscaled pixels."""

from __future__ import annotations

import gzip
import io

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.training.data import Rows, stratified_split
from fl_orchestrator.training.datasets.dataset import (
    DataFile,
    Dataset,
    DataSetAltered,
    data_dir,
    scikit_learn_dir,
)

DIGITS = DataFile(
    "digits.csv.gz", 57_523, "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
)
MNIST = {
    "train images": DataFile(
        "mnist/train-images-idx3-ubyte.gz",
        9_630_610,
        "7ff28fd295f802eefc6d40e461175dfe4b969b1842b2abc8c6dc8c20711cf79f",
    ),
    "train labels": DataFile(
        "mnist/train-labels-idx1-ubyte.gz",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "test images": DataFile(
        "mnist/t10k-images-idx3-ubyte.gz",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "test labels": DataFile(
        "mnist/t10k-labels-idx1-ubyte.gz",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}


def load_digits() -> Dataset:
    """1,797 images of digits, 8 x 8 pixels from 0 to 16; a fixed quarter is the test set."""
    packed = DIGITS.read(scikit_learn_dir())
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",")
    rows = Rows(table[:, :-1].astype(np.float32), table[:, -1].astype(np.int32))
    train, test = stratified_split(rows.y, test_fraction=0.25)
    return Dataset(
        name="digits",
        train=rows.take(train),
        test=rows.take(test),
        classes=10,
        feature_names=tuple(f"pixel {i // 8},{i % 8}" for i in range(64)),
        licence="CC BY 4.0 (UCI Machine Learning Repository, id 80)",
        source="Alpaydin, E., Kaynak, C. (1998). Optical Recognition of Handwritten Digits. UCI. "
        "DOI 10.24432/C50P49. Test part, as distributed with scikit-learn.",
    )


def load_mnist() -> Dataset:
    """60,000 training and 10,000 test images of digits, 28 x 28 pixels from 0 to 255."""
    train = Rows(_images("train images", 60_000), _labels("train labels", 60_000))
    test = Rows(_images("test images", 10_000), _labels("test labels", 10_000))
    return Dataset(
        name="mnist",
        train=train,
        test=test,
        classes=10,
        feature_names=tuple(f"pixel {i // 28},{i % 28}" for i in range(784)),
        licence="CC BY-SA 3.0, copyright Yann LeCun and Corinna Cortes",
        source="LeCun, Y., Bottou, L., Bengio, Y., Haffner, P. (1998). Gradient-based learning "
        "applied to document recognition. Proc. IEEE 86(11):2278-2324.",
    )


def _images(part: str, count: int) -> NDArray[np.float32]:
    return _idx(part, (count, 28, 28)).reshape(count, 784).astype(np.float32)


def _labels(part: str, count: int) -> NDArray[np.int32]:
    return _idx(part, (count,)).astype(np.int32)


def _idx(part: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read an IDX file of bytes: 0x0000 08 <dimensions>, sizes as big-endian uint32, the values."""
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    expected = len(header) + int(np.prod(shape))
    with gzip.open(io.BytesIO(MNIST[part].read(data_dir()))) as file:
        content = file.read(expected + 1)
    if len(content) != expected or not content.startswith(header):
        raise DataSetAltered(
            f"The file of MNIST's {part} is not an IDX file of shape {shape}.",
            "Replace it by the published one.",
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
