"""Loading images from several files, from memory and from cameras."""

import os

import numpy as np

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.image_io import decode_image, read_image
from mmdetlike.datasets.transforms.load_image import LoadImageFromFile, LoadImageFromNDArray
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadMultiChannelImageFromFiles(LoadImageFromFile):
    """Read the files of ``img_path``, a list of paths, and put their channels one after the other into ``img``.

    Args:
        to_float32: See `LoadImageFromFile`, as all the others.
        color_type: See `LoadImageFromFile`.
        imdecode_backend: See `LoadImageFromFile`.
        backend_args: See `LoadImageFromFile`.
        ignore_empty: See `LoadImageFromFile`.
        size_mismatch: See `LoadImageFromFile`.
        value_range: See `LoadImageFromFile`.

    Raises:
        ImageError: A file is missing or no picture, or its size isn't that of the first.
        ConfigError: ``img_path`` isn't a list of paths.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = 'unchanged',
        imdecode_backend: str = 'cv2',
        backend_args: dict | None = None,
        ignore_empty: bool = False,
        size_mismatch: str = 'skip',
        value_range: tuple[float, float] | str | None = None,
    ) -> None:
        super().__init__(
            to_float32, color_type, imdecode_backend, backend_args, ignore_empty, size_mismatch, value_range
        )

    def transform(self, results: dict) -> dict | None:
        paths = results['img_path']
        if isinstance(paths, (str, os.PathLike)) or len(paths) == 0:
            raise ConfigError(f'LoadMultiChannelImageFromFiles needs a list of paths in img_path, got {paths!r}')
        try:
            img = np.concatenate(self.read_planes(paths, results.get('test_mode', False)), axis=2)
            # the size that annotations give is compared with that of the first file, which messages then name
            return {**self.set_image({**results, 'img_path': paths[0]}, img), 'img_path': paths}
        except ImageError:
            if self.ignore_empty:
                return None
            raise

    def read_planes(self, paths: list[str], is_test: bool) -> list[np.ndarray]:
        """The picture of each path, (h, w, c) each."""
        planes = []
        for path in paths:
            img = read_image(
                path, self.color_type, self.imdecode_backend, self.backend_args, self.value_range, strict=not is_test
            )
            planes.append(img[..., None] if img.ndim == 2 else img)
            if img.shape[:2] != planes[0].shape[:2]:
                raise ImageError(
                    str(path), f'its (h, w) is {img.shape[:2]}, but {planes[0].shape[:2]} that of {paths[0]}'
                )
        return planes


@TRANSFORMS.register_module()
class LoadImageFromWebcam(LoadImageFromNDArray):
    """Take the frame (h, w, 3), BGR, that a camera has put into ``img``; for arguments see `LoadImageFromFile`."""


@TRANSFORMS.register_module()
class InferencerLoader(BaseTransform):
    """Take a picture however it is given: as a path or URL, as the bytes of a file, as an array, or as a sample.

    Args:
        **loader_kwargs: Arguments of `LoadImageFromFile`.

    Raises:
        ConfigError: It is given in none of these ways.
        ImageError: It can't be read.
    """

    role = 'image'

    def __init__(self, **loader_kwargs) -> None:
        self.loader_kwargs = loader_kwargs
        self._from_file = LoadImageFromFile(**loader_kwargs)
        self._from_array = LoadImageFromNDArray(**loader_kwargs)

    def __call__(self, results: str | os.PathLike | bytes | np.ndarray | dict) -> dict | None:
        return self.transform(results)

    def transform(self, results: str | os.PathLike | bytes | np.ndarray | dict) -> dict | None:
        if isinstance(results, (bytes, bytearray)):
            loader = self._from_file
            img = decode_image(
                bytes(results), loader.color_type, loader.imdecode_backend, value_range=loader.value_range
            )
            return loader.set_image({'img_path': None}, img)
        if isinstance(results, (str, os.PathLike)):
            return self._from_file({'img_path': os.fspath(results)})
        if isinstance(results, np.ndarray):
            return self._from_array({'img': results})
        if isinstance(results, dict):
            return self._from_array(results) if results.get('img') is not None else self._from_file(results)
        raise ConfigError(
            f'InferencerLoader takes a path, the bytes of a file, an array or a dict, got {type(results).__name__}'
        )
