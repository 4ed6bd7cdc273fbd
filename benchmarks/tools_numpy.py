"""A tool whose module imports numpy, as one that takes arrays does."""

import numpy as np


def echo(value):
    assert isinstance(value, np.ndarray)
    return value
