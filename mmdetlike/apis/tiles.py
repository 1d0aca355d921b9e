"""Predicting large pictures tile by tile, read by windows where their format allows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mmdetlike.apis.drawing import Outcome
from mmdetlike.apis.inference import predict_batch
from mmdetlike.apis.pipeline import InferencePipeline
from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms import tiff
from mmdetlike.engine.tiling import Tiling, Window
from mmdetlike.structures import DetDataSample

WINDOWED = ('.tif', '.tiff')
# the whole picture is read in no more pixels than this along its longer side: detectors see it smaller still
WHOLE_SIDE = 4096
# of decoded blocks of a file: enough for the row of blocks that neighboring tiles share
CACHED_BYTES = 128_000_000


class TiffFile:
    """A TIFF file of which windows are read, so that the whole picture is never in memory; needs ``rasterio``.

    Args:
        path: Of the file.
        dataset: Opened by ``rasterio``.
    """

    def __init__(self, path: Path, dataset) -> None:
        self.path, self.dataset = path, dataset
        self.shape = (dataset.height, dataset.width)

    def read(self, window: Window) -> np.ndarray:
        """The pixels (h, w, 3) uint8, BGR, of a window; of one that is larger than `WHOLE_SIDE`, every few of them.

        Raises:
            ImageError: The file is damaged.
        """
        import rasterio

        height = window.bottom - window.top
        width = window.right - window.left
        shrink = min(1.0, WHOLE_SIDE / max(height, width))
        size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        rows = (window.top, window.bottom)
        columns = (window.left, window.right)
        try:
            # by default GDAL keeps what it has decoded in up to a twentieth of the machine's memory
            with rasterio.Env(GDAL_CACHEMAX=CACHED_BYTES):
                pixels = self.dataset.read([3, 2, 1], window=(rows, columns), out_shape=(3, *size))
        except rasterio.errors.RasterioError as error:
            raise ImageError(str(self.path), f'rows {rows} cannot be read: {error}') from error
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))


class PictureInMemory:
    """A picture that is decoded already.

    Args:
        pixels: (h, w, c).
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.shape = pixels.shape[:2]

    def read(self, window: Window) -> np.ndarray:
        """The pixels (h, w, c) of a window."""
        return np.ascontiguousarray(self.pixels[window.top : window.bottom, window.left : window.right])


def open_windows(image) -> TiffFile | None:
    """A file to be read by windows; None unless it is TIFF of three colors of 8 bits and ``rasterio`` is there.

    None also for a file that is to be shown turned: windows would be of the picture as it is stored.
    """
    if not isinstance(image, (str, Path)) or Path(image).suffix.lower() not in WINDOWED:
        return None
    try:
        import rasterio
    except ImportError:
        return None
    try:
        dataset = rasterio.open(image)
    except rasterio.errors.RasterioError:  # the loader of the pipeline says what is wrong
        return None
    kinds = set(dataset.dtypes)
    colors = [color.name for color in dataset.colorinterp[:3]]
    if kinds != {'uint8'} or colors != ['red', 'green', 'blue'] or tiff.is_turned(image):
        return None
    if len(dataset.subdatasets) > 1:
        tiff.tell_pages(str(image), len(dataset.subdatasets))
    return TiffFile(Path(image), dataset)


def predict_tiled(
    model: nn.Module, tiling: Tiling, pipeline: InferencePipeline, results: dict, batch_size: int
) -> DetDataSample:
    """The sample of a picture with the objects of all its tiles.

    Args:
        model: A detector.
        tiling: How the picture is cut.
        pipeline: Its steps prepare each tile.
        results: The loaded picture, ``img`` being an array or a `TiffFile`.
        batch_size: Tiles that go through the model at once.

    Raises:
        ImageError: The file is damaged.
        ConfigError: The detector predicts what can't be joined.
    """
    source = results['img'] if isinstance(results['img'], TiffFile) else PictureInMemory(results['img'])

    def read(window: Window) -> dict:
        pixels = source.read(window)
        tile = pipeline.rest({**results, **pipeline.load(pixels, 'bgr'), 'img_path': results.get('img_path')})
        tile['window'] = window
        return tile

    def predict(batch: list[dict]) -> list[DetDataSample]:
        samples = predict_batch(model, batch)
        for sample, tile in zip(samples, batch):
            stretch(sample, tile['window'])
        return samples

    sample = DetDataSample(metainfo=dict(img_path=results.get('img_path'), img_id=0, ori_shape=tuple(source.shape)))
    sample.pred_instances = tiling.predict(source.shape, read, predict, batch_size)
    return sample


def tiled_outcome(
    model: nn.Module, tiling: Tiling, pipeline: InferencePipeline, batch_size: int, outcome: Outcome, results: dict
) -> Outcome:
    """The outcome with what `predict_tiled` finds; only when tiles are read is it seen whether a file is whole."""
    try:
        return replace(outcome, sample=predict_tiled(model, tiling, pipeline, results, batch_size))
    except ImageError as error:
        return replace(outcome, error=error)


def stretch(sample: DetDataSample, window: Window) -> None:
    """Bring boxes and keypoints to the size of their window, where it was read in fewer pixels; masks stay small."""
    size = (window.bottom - window.top, window.right - window.left)
    read_size = tuple(sample.ori_shape[:2])
    found = sample.get('pred_instances')
    if read_size == size or found is None:
        return
    factors = torch.tensor([size[1] / read_size[1], size[0] / read_size[0]], device=found.bboxes.device)
    found.bboxes = found.bboxes * factors.repeat(2)
    if 'keypoints' in found:
        found.keypoints = found.keypoints * factors


def tiled_loader(load: Callable[[], dict], image, by_windows: bool) -> dict:
    """A picture as `predict_tiled` takes it: by windows if wanted and possible, else as ``load`` returns it."""
    source = open_windows(image) if by_windows else None
    return load() if source is None else dict(img=source, img_path=str(image), img_id=0)
