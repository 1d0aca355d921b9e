"""Transforms that load a sample's image."""

import copy

import numpy as np

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms import jpeg
from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.depth import check_value_range, to_eight_bits
from mmdetlike.datasets.transforms.image_io import TURNED, check_decoder, decode_image, read_content
from mmdetlike.datasets.transforms.recorded_size import RecordedSize, follow_reduction
from mmdetlike.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageFromFile(BaseTransform):
    """Read the image at ``img_path`` into ``img``; sets ``img_shape``, ``ori_shape`` and ``scale_factor``.

    A dataset whose pictures have no files of their own hands their content over as ``img_bytes``, and ``img_path`` is
    then what messages call the picture.

    Args:
        to_float32: Convert the pixels to float32, still 0 to 255.
        color_type: 'color' for (h, w, 3) uint8 BGR whatever the file holds; 'grayscale' for (h, w); 'unchanged' for
            (h, w, c) as stored, of any depth: gray levels, BGR or BGRA; see `decode_image` for the others.
        imdecode_backend: 'cv2' or 'pillow'; what OpenCV cannot read is tried with Pillow.
        backend_args: Where files are, as ``mmengine.fileio`` takes it.
        ignore_empty: Give the sample up (return None) instead of raising.
        size_mismatch: What happens if the picture isn't of the ``height`` and ``width`` that its annotations give.
            'skip': in training the sample is left out with a warning that names it; in testing, where each picture
            must be predicted, there is only the warning. 'rescale': with a warning, boxes, masks and keypoints are
            scaled to the picture in training, and predictions to the annotations in testing; a picture whose width and
            height are exchanged is turned, not scaled, and treated as by 'skip'. 'ignore': annotations are taken as
            they are. 'error': raise `DataError`, which stops.
        value_range: In files of more than 8 bits, the values (lower, upper) that become 0 and 255; 'file' for the least
            and the largest of each file; None for 0 to 65535 in files of 16 bits and for a guess in others, with one
            warning. Files of 8 bits, and what is loaded 'unchanged', stay as they are.
        needed_size: (w, h), or one number for both, that later steps need: the ``scale`` of `Resize` with
            ``keep_ratio``, the largest one where it is drawn. JPEG files are decoded at 1/2, 1/4 or 1/8 of their size
            if both sides are still as long, in a fraction of the time; in training boxes and masks follow. The result
            of `Resize` then differs a little: in its size by a pixel, and by what a bilinear `Resize` leaves out where
            it shrinks more than by half. None decodes all pixels.

    A JPEG or TIFF file that is damaged inside is broken in training; in testing there is a warning.

    Raises:
        ImageError: The file is missing, truncated or no picture, or (`ImageSizeError`) to be skipped for its size.
        DataError: The sizes differ and ``size_mismatch`` is 'error'.
        ValueError: ``needed_size`` isn't a size, or is given for what is loaded 'unchanged'.
    """

    needs = ('img_path',)
    role = 'image'

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = 'color',
        imdecode_backend: str = 'cv2',
        backend_args: dict | None = None,
        ignore_empty: bool = False,
        size_mismatch: str = 'skip',
        value_range: tuple[float, float] | str | None = None,
        needed_size: int | tuple[int, int] | None = None,
    ) -> None:
        check_decoder(color_type, imdecode_backend)
        self.needed_size = _check_needed_size(needed_size, color_type)
        self.to_float32 = to_float32
        self.color_type = color_type
        self.imdecode_backend = imdecode_backend
        self.backend_args = copy.copy(backend_args)
        self.ignore_empty = ignore_empty
        self.size_mismatch = size_mismatch
        self.value_range = check_value_range(value_range)
        self._recorded_size = RecordedSize(size_mismatch, color_type in TURNED, backend_args)

    def transform(self, results: dict) -> dict | None:
        path = results['img_path']
        try:
            content = results.pop('img_bytes', None)
            if content is None:
                content = read_content(path, self.backend_args)
            strict = not results.get('test_mode', False)
            size = self._reducible_size(content)
            reduction = 1 if size is None else jpeg.reduction_for(size, self.needed_size)
            decoder = (self.color_type, self.imdecode_backend)
            img = decode_image(content, *decoder, path, self.value_range, strict, reduction)
            return self.set_image(results, img, size)
        except ImageError:
            if self.ignore_empty:
                return None
            raise

    def _reducible_size(self, content: bytes) -> tuple[int, int] | None:
        """(h, w) of a whole JPEG picture, turned as it will be, if it may be decoded at a part of that; else None."""
        if self.needed_size is None or not content.startswith(jpeg.START):
            return None
        size = jpeg.stored_size(content)
        if size is None or self.color_type not in TURNED or jpeg.read_orientation(content) not in jpeg.TURNS:
            return size
        return size[::-1]

    def set_image(self, results: dict, img: np.ndarray, whole_size: tuple[int, int] | None = None) -> dict:
        """Put the loaded ``img`` (h, w) or (h, w, c) into the sample, with all that is known of it.

        Args:
            results: The sample.
            img: The picture.
            whole_size: (h, w) of the picture in its file, where it may be larger than ``img``.
        """
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results['img_shape'] = results['ori_shape'] = whole_size or img.shape[:2]
        results['scale_factor'] = (1.0, 1.0)
        self._recorded_size.compare(results)
        if results['img_shape'] != img.shape[:2]:
            follow_reduction(results, img.shape[:2])
        return results


@TRANSFORMS.register_module()
class LoadImageFromNDArray(LoadImageFromFile):
    """Take ``img`` as an array (h, w, 3) that is there already, and set what `LoadImageFromFile` sets.

    Whole numbers above 255 are scaled to 8 bits as in files, unless ``color_type`` is 'unchanged'.
    """

    needs = ('img',)

    def transform(self, results: dict) -> dict:
        img = results['img']
        if not isinstance(img, np.ndarray) or img.ndim not in (2, 3) or not img.size:
            found = getattr(img, 'shape', type(img))
            raise ImageError('given as an array', f'expected a picture (h, w) or (h, w, c), got {found}')
        results.setdefault('img_path', None)
        if self.color_type != 'unchanged' and _is_deep(img):
            img = to_eight_bits(img, self.value_range)
        return self.set_image(results, img)


def _is_deep(img: np.ndarray) -> bool:
    """Whether an array holds whole numbers of more than 8 bits; floating point may come from another step."""
    return img.dtype != np.uint8 and img.dtype.kind in 'iu' and img.size > 0 and img.max() > 255


def _check_needed_size(needed: int | tuple[int, int] | None, color_type: str) -> tuple[int, int] | None:
    if needed is None:
        return None
    sides = tuple(needed) if isinstance(needed, (list, tuple)) else (needed, needed)
    if len(sides) != 2 or not all(isinstance(side, (int, float)) and side > 0 for side in sides):
        raise ValueError(f'needed_size={needed!r}: expected a positive number of pixels, or two, (w, h).')
    if color_type == 'unchanged':
        raise ValueError("needed_size is given, but color_type='unchanged' loads pictures as they are stored.")
    return sides
