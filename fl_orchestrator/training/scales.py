"""Feature scales that are public constants, written into the manifest of a federation.

They come from the documentation of the data sets; where it has none, they are round numbers. They
are not computed from the parties' rows. In the demonstration they replace values that are public in
practice: reference ranges of a laboratory, the rating plate of a machine.
"""

from __future__ import annotations

from fl_orchestrator.training.data import FeatureScale
from fl_orchestrator.training.datasets.tables import AI4I_FEATURES, CREDIT_GERMAN_FEATURES

# Smallest and largest value of each measurement, from the table of summary statistics in the data
# set's description in scikit-learn (breast_cancer.rst). They were measured on these rows.
_BREAST_CANCER_RANGES = (
    # mean
    *((6.981, 28.11), (9.71, 39.28), (43.79, 188.5), (143.5, 2501.0), (0.053, 0.163)),
    *((0.019, 0.345), (0.0, 0.427), (0.0, 0.201), (0.106, 0.304), (0.05, 0.097)),
    # standard error
    *((0.112, 2.873), (0.36, 4.885), (0.757, 21.98), (6.802, 542.2), (0.002, 0.031)),
    *((0.002, 0.135), (0.0, 0.396), (0.0, 0.053), (0.008, 0.079), (0.001, 0.03)),
    # worst
    *((7.93, 36.04), (12.02, 49.54), (50.41, 251.2), (185.2, 4254.0), (0.071, 0.223)),
    *((0.027, 1.058), (0.0, 1.252), (0.0, 0.291), (0.156, 0.664), (0.055, 0.208)),
)

# Round numbers for typical loans and borrowers, in months and marks. The ranges of attributes 8,
# 11, 16 and 18 are in german.doc.
_CREDIT_GERMAN = {
    "months": (24.0, 12.0),
    "amount": (3000.0, 3000.0),
    "instalment rate": (2.5, 1.0),
    "residence": (2.5, 1.0),
    "age": (35.0, 12.0),
    "credits": (1.5, 0.5),
    "dependants": (1.5, 0.5),
}

# From the data set's description (Matzka 2020): air at 300 K, standard deviation 2 K; the process
# 10 K above; torque 40 Nm, standard deviation 10 Nm; a tool is replaced after at most 240 minutes.
# It does not give the speed in rpm; 1,500 is a common rating.
_AI4I = {
    "Air temperature [K]": (300.0, 2.0),
    "Process temperature [K]": (310.0, 2.0),
    "Rotational speed [rpm]": (1500.0, 200.0),
    "Torque [Nm]": (40.0, 10.0),
    "Tool wear [min]": (120.0, 60.0),
}


def _by_name(names: tuple[str, ...], known: dict[str, tuple[float, float]]) -> FeatureScale:
    """Build the scales by feature name. Features not in `known` are indicators, left unscaled."""
    constants = [known.get(name, (0.0, 1.0)) for name in names]
    return FeatureScale(*zip(*constants, strict=True))


# The measurements are skewed: most values lie in the lower half of the range.
BREAST_CANCER = FeatureScale(
    mean=tuple(low + (high - low) / 4 for low, high in _BREAST_CANCER_RANGES),
    scale=tuple((high - low) / 6 for low, high in _BREAST_CANCER_RANGES),
)
CREDIT_GERMAN = _by_name(CREDIT_GERMAN_FEATURES, _CREDIT_GERMAN)
AI4I = _by_name(AI4I_FEATURES, _AI4I)
DIGITS = FeatureScale(mean=(0.0,), scale=(16.0,))
# The mean pixel of MNIST's training images is 33 (0.1307 of 255, as most tutorials have it).
# With centred pixels, the 2NN needs five rounds fewer to reach 97 %.
MNIST = FeatureScale(mean=(33.0,), scale=(255.0,))
