"""Samples for training as PyTorch tensors; :func:`stemtwin.datasets.training.torch_dataset` imports this module."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.utils.data import Dataset  # pyright: ignore[reportMissingImports]

from stemtwin.datasets.training import TrainingSamples


class TorchSamples(Dataset):
    """Map-style PyTorch dataset of samples for training.

    Parameters
    ----------
    samples : TrainingSamples
        Samples as numpy arrays.
    """

    def __init__(self, samples: TrainingSamples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return a sample as a dictionary by column name, whose values are tensors in the card's types, or texts."""
        return _tensors(self.samples[row])

    def collate(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a batch of samples; see :meth:`stemtwin.datasets.training.TrainingSamples.collate`."""
        arrays = [{name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in sample.items()} for sample in samples]
        return _tensors(self.samples.collate(arrays))


def _tensors(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary with its arrays as tensors and all other values unchanged."""
    return {name: torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value for name, value in values.items()}
