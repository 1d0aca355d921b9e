"""A data set that is drawn: scenes are laid out and painted (``render``, ``paint``), ``dataset`` hands them on."""

from .dataset import LoadShapesImage, ShapesDataset

__all__ = ['LoadShapesImage', 'ShapesDataset']
