"""A map between images that a grid of sampling points gives, for pixels alone."""

import numpy as np
import torch
import torch.nn.functional as F

INTERPOLATIONS = ('bilinear', 'nearest', 'bicubic')


class GridWarp:
    """Move the pixels of an image as a grid says, for instance to undo the distortion of a lens.

    It maps images and label maps. Points and boxes can't follow, for a grid tells where a new pixel comes from and not
    where an old one goes: map the masks as label maps and take the boxes from them.

    Args:
        grid: (h, w, 2): for each pixel of the new image the point (x, y) of the old one that it shows; -1 is the left
            or upper side of the old image, 1 the right or lower side.
        interpolation: 'bilinear', 'nearest' or 'bicubic', of images.

    Raises:
        ValueError: The grid has another shape or holds what is no number, or ``interpolation`` is unknown.
    """

    def __init__(self, grid: np.ndarray, interpolation: str = 'bilinear') -> None:
        grid = np.asarray(grid, dtype=np.float64)
        if grid.ndim != 3 or grid.shape[2] != 2:
            raise ValueError(f'GridWarp needs a grid of shape (h, w, 2), got one of shape {grid.shape}.')
        if np.isnan(grid).any():
            raise ValueError('GridWarp: the grid holds NaN.')
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f'interpolation must be one of {INTERPOLATIONS}, got {interpolation!r}')
        self.grid = torch.from_numpy(np.ascontiguousarray(grid))
        self.interpolation = interpolation

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the new image."""
        return tuple(self.grid.shape[:2])

    def image(self, img: np.ndarray) -> np.ndarray:
        """Map an image (H, W) or (H, W, c) of any type; points outside of it show its edge."""
        return self._sample(img, self.interpolation)

    def label_map(self, seg: np.ndarray) -> np.ndarray:
        """Map a label map or mask (H, W): each new pixel takes the value of the nearest old one."""
        return self._sample(seg, 'nearest')

    def _sample(self, img: np.ndarray, interpolation: str) -> np.ndarray:
        channels = img if img.ndim == 3 else img[..., None]
        # float64 holds every label and every 16 bit value exactly
        batch = torch.from_numpy(channels.astype(np.float64)).permute(2, 0, 1)[None]
        moved = F.grid_sample(batch, self.grid[None], interpolation, padding_mode='border', align_corners=False)
        values = moved[0].permute(1, 2, 0).numpy().reshape(self.size + img.shape[2:])
        if np.issubdtype(img.dtype, np.integer):
            limits = np.iinfo(img.dtype)
            values = values.round().clip(limits.min, limits.max)  # bicubic overshoots
        return values.astype(img.dtype)
