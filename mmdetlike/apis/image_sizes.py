"""How large the images of a detector are after its test pipeline."""

from collections.abc import Callable, Iterable

import numpy as np
from mmengine.config import Config
from torch import nn

from mmdetlike.apis.pipeline import build_pipeline, dataset_config
from mmdetlike.datasets.picture_size import picture_size
from mmdetlike.errors import ConfigError, UserError
from mmdetlike.registry import DATASETS
from mmdetlike.utils.config import located
from mmdetlike.utils.setup_env import register_all_modules

# height and width of pictures whose images show what a pipeline makes of wide, tall and square ones
PROBES = ((480, 640), (640, 480), (640, 640), (300, 1200), (1200, 300))
# how many times larger pictures are that show whether a pipeline has a size of its own
ENLARGEMENT = 3
# pictures of a test set that are looked at
MOST_PICTURES = 5000


def size_of_images(model: nn.Module) -> tuple[int, int]:
    """Height and width that images of every picture fit into after the test pipeline of a detector.

    Where the pipeline has no size of its own, as it leaves pictures as they are or resizes them by a factor, pictures
    are those of the test set, or of the first one where there are several.

    Args:
        model: From ``init_detector``.

    Raises:
        ConfigError: There is no test pipeline, or it has no size of its own and the test set can't be read.
    """
    pipeline = build_pipeline(model.cfg)
    divisor = getattr(model.data_preprocessor, 'pad_size_divisor', 1)
    size = _fitting_size(pipeline, PROBES, divisor)
    enlarged = [(height * ENLARGEMENT, width * ENLARGEMENT) for height, width in PROBES]
    size_of_enlarged = _fitting_size(pipeline, enlarged, divisor)
    # a pipeline that shrinks alone makes somewhat more of larger pictures, up to its own size
    if max(size_of_enlarged) < ENLARGEMENT * max(size) / 2:
        return size_of_enlarged
    return _fitting_size(pipeline, [_largest_sides(model.cfg)], divisor)


def _fitting_size(pipeline: Callable, sizes: Iterable[tuple[int, int]], divisor: int) -> tuple[int, int]:
    """Height and width, multiples of ``divisor``, that images of pictures of these (height, width) fit into."""
    shapes = [pipeline(np.zeros((*size, 3), np.uint8))['inputs'].shape[-2:] for size in sizes]
    height, width = (-(-max(sides) // divisor) * divisor for sides in zip(*shapes))
    return height, width


def _largest_sides(cfg: Config) -> tuple[int, int]:
    """The largest height and the largest width among pictures of the test set.

    Raises:
        ConfigError: It can't be read.
    """
    register_all_modules(init_default_scope_=False)
    try:
        with located(cfg):
            dataset = DATASETS.build(dict(dataset_config(cfg), pipeline=[]))
        if not hasattr(dataset, 'get_data_info'):
            raise ConfigError(f'{type(dataset).__name__} has no get_data_info')
        infos = [dataset.get_data_info(index) for index in range(min(len(dataset), MOST_PICTURES))]
        sizes = [_size_of_picture(info) for info in infos]
    except (OSError, UserError) as error:
        raise ConfigError(_no_size(cfg, str(error).splitlines()[0].rstrip('.'))) from error
    if not sizes:
        raise ConfigError(_no_size(cfg, 'it has no pictures'))
    height, width = (max(sides) for sides in zip(*sizes))
    return height, width


def _size_of_picture(info: dict) -> tuple[int, int]:
    """Height and width of a picture from its data info, or else from its file."""
    if 'height' in info and 'width' in info:
        return info['height'], info['width']
    width, height = picture_size(info['img_path'])
    return height, width


def _no_size(cfg: Config, reason: str) -> str:
    return (
        f'the test pipeline of {cfg.filename or "the config"} resizes pictures to no size of its own, and the size of '
        f'those of the test set is not known ({reason}): give --size H W'
    )
