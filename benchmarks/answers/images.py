"""Answers that are images: one array of pixels for each sample."""

import dataclasses
from typing import ClassVar

import numpy as np

from stemtwin.benchmarks.answers.arrays import ArrayAnswers
from stemtwin.benchmarks.answers.form import ANSWERS, Field


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageEstimate:
    """Estimated image of one sample.

    Parameters
    ----------
    image : ndarray
        Values of the pixels.
    sigma : ndarray, optional
        Standard deviation of each pixel, same shape; None if not given.
    """

    image: np.ndarray
    sigma: np.ndarray | None = None


@ANSWERS.register("images", "images with an optional standard deviation of each pixel")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageAnswers(ArrayAnswers):
    """Form of answers that are images.

    Parameters
    ----------
    dims : tuple of str or int
        Dimensions of the image: names of dimensions of the data, or lengths.
    unit, text : str
        Unit and description of the values.
    low, high : float, optional
        Bounds of the values.
    sigma : bool
        True if answers are allowed to give a standard deviation; a given standard deviation is scored.
    """

    dims: tuple[str | int, ...] = ("y", "x")
    unit: str = ""
    text: str = "image"
    low: float | None = None
    high: float | None = None
    sigma: bool = False
    kind: str = dataclasses.field(default="images", init=False)
    answer: ClassVar[type] = ImageEstimate

    @property
    def fields(self) -> tuple[Field, ...]:
        """Arrays that the task requests."""
        image = Field(name="image", dtype="float", unit=self.unit, text=self.text, low=self.low, high=self.high, dims=self.dims)
        told = "standard deviation of each pixel"
        sigma = Field(name="sigma", dtype="float", unit=self.unit, text=told, low=0.0, dims=self.dims, optional=True)
        return (image, sigma) if self.sigma else (image,)
