"""Samples for training as tensors of PyTorch; imported by :func:`stemtwin.datasets.training.torch_dataset` alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.utils.data import Dataset  # pyright: ignore[reportMissingImports]

from stemtwin.datasets.training import TrainingSamples


class TorchSamples(Dataset):
    """A map-style dataset of PyTorch over samples.

    Parameters
    ----------
    samples : TrainingSamples
        The samples, as numpy arrays.
    """

    def __init__(self, samples: TrainingSamples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return a sample: tensors in the types of the card, and texts."""
        return _tensors(self.samples[row])

    def collate(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a batch of samples; see :meth:`stemtwin.datasets.training.TrainingSamples.collate`."""
        arrays = [{name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in sample.items()} for sample in samples]
        return _tensors(self.samples.collate(arrays))


def _tensors(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays as tensors, whatever else as it is."""
    return {name: torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value for name, value in values.items()}
