"""Datasets: observations as stored, their fixed splits, and batches of them."""

from pyrovae.data.arrays import from_arrays as from_arrays
from pyrovae.data.arrays import from_splits as from_splits
from pyrovae.data.batch import Batch as Batch
from pyrovae.data.binarise import binarise as binarise
from pyrovae.data.dataset import Dataset as Dataset
from pyrovae.data.dataset import KnownFactors as KnownFactors
from pyrovae.data.dataset import Splits as Splits
from pyrovae.data.named import load_data as load_data
