"""Levels of the U-Nets: blocks of two convolutions on successively halved resolutions, with skip connections between encoder and decoder."""

from collections.abc import Sequence
from typing import Any


def levels(inputs: int, widths: Sequence[int]) -> Any:
    """Return the levels as a torch module that maps inputs (n, inputs, y, x) to features (n, widths[0], y, x).

    Parameters
    ----------
    inputs : int
        Number of maps.
    widths : sequence of int
        Channels at each resolution, the finest first; y and x are multiples of 2**(len(widths) - 1).
    """
    import torch  # pyright: ignore[reportMissingImports] - only where networks are trained
    from torch import nn  # pyright: ignore[reportMissingImports]

    def block(into: int, out: int) -> Any:
        """Return two convolutions of 3 x 3, each with its activation."""
        parts = [nn.Conv2d(into, out, 3, padding=1), nn.SiLU(), nn.Conv2d(out, out, 3, padding=1), nn.SiLU()]
        return nn.Sequential(*parts)

    class _Levels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(block(into, out) for into, out in zip((inputs, *widths[:-1]), widths, strict=True))
            self.up = nn.ModuleList(block(widths[i + 1] + widths[i], widths[i]) for i in range(len(widths) - 1))

        def forward(self, x: Any) -> Any:
            """Return the features of maps."""
            kept = []
            for number, part in enumerate(self.down):
                x = part(x if number == 0 else nn.functional.avg_pool2d(x, 2))
                kept.append(x)
            for number in reversed(range(len(self.up))):
                x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
                x = self.up[number](torch.cat([x, kept[number]], dim=1))
            return x

    return _Levels()
