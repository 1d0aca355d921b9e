"""A function of ``torchvision.models.detection`` and its arguments -> our ``model``."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from mmdetlike.errors import ConfigError

from . import dense, regions
from .common import Arguments


@dataclass
class Recipe:
    """How a function's model is made.

    Attributes:
        build: ``Arguments`` and ``settings`` -> our ``model``.
        settings: The class of its further arguments.
        num_classes: Classes with background, by default.
        defaults: Arguments that have another default than ``settings`` and the sizes of pictures have.
    """

    build: Callable[..., dict]
    settings: type
    num_classes: int = 91
    defaults: dict = field(default_factory=dict)


RECIPES = {
    'fasterrcnn_resnet50_fpn': Recipe(regions.faster_rcnn, regions.RegionArguments),
    'fasterrcnn_resnet50_fpn_v2': Recipe(regions.faster_rcnn_v2, regions.RegionArguments),
    'fasterrcnn_mobilenet_v3_large_fpn': Recipe(
        regions.faster_rcnn_mobilenet, regions.RegionArguments, defaults=dict(rpn_score_thresh=0.05)
    ),
    'fasterrcnn_mobilenet_v3_large_320_fpn': Recipe(
        regions.faster_rcnn_mobilenet,
        regions.RegionArguments,
        defaults=dict(
            rpn_score_thresh=0.05,
            rpn_pre_nms_top_n_test=150,
            rpn_post_nms_top_n_test=150,
            min_size=320,
            max_size=640,
        ),
    ),
    'maskrcnn_resnet50_fpn': Recipe(regions.mask_rcnn, regions.RegionArguments),
    'maskrcnn_resnet50_fpn_v2': Recipe(regions.mask_rcnn_v2, regions.RegionArguments),
    'keypointrcnn_resnet50_fpn': Recipe(regions.keypoint_rcnn, regions.RegionArguments, num_classes=2),
    'retinanet_resnet50_fpn': Recipe(dense.retinanet, dense.RetinaArguments),
    'retinanet_resnet50_fpn_v2': Recipe(dense.retinanet_v2, dense.RetinaArguments),
    'fcos_resnet50_fpn': Recipe(dense.fcos, dense.FCOSArguments),
    'ssd300_vgg16': Recipe(dense.ssd300, dense.SSDArguments),
    'ssdlite320_mobilenet_v3_large': Recipe(
        dense.ssdlite320,
        dense.SSDArguments,
        defaults=dict(score_thresh=0.001, nms_thresh=0.55, detections_per_img=300, topk_candidates=300),
    ),
}
NOT_NUMBERS = ('weights', 'weights_backbone')
# they resize pictures, which is a matter of the data pipeline here, or only show progress
ELSEWHERE = ('min_size', 'max_size', 'progress')


def model_config(name: str, **arguments) -> dict:
    """Translate a function of ``torchvision.models.detection`` to our ``model``.

    Args:
        name: Its name, e.g. ``'maskrcnn_resnet50_fpn_v2'``.
        arguments: Those that it is called with. ``weights`` and ``weights_backbone``, None by default, name weights
            that the model starts from: nothing is fetched, but the backbone's norms are frozen as torchvision does.
            ``min_size`` and ``max_size`` belong to the data pipeline and change nothing here.

    Raises:
        ConfigError: The function or an argument is unknown here, or an argument is no number.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        raise ConfigError(f'torchvision.models.detection.{name} has no counterpart here: expected {", ".join(RECIPES)}')
    given = {'num_classes': recipe.num_classes, **recipe.defaults, **arguments}
    extras = [
        key for key in inspect.signature(recipe.build).parameters if key not in ('arguments', 'settings', 'regions')
    ]
    known = [field.name for part in (Arguments, recipe.settings) for field in dataclasses.fields(part)]
    unknown = sorted(set(given) - {*known, *extras, *ELSEWHERE})
    if unknown:
        raise ConfigError(f'{name} has no argument {", ".join(unknown)} here: expected {", ".join([*known, *extras])}')
    _check_numbers(name, given)
    common = Arguments(**_of(Arguments, given))
    settings = recipe.settings(**_of(recipe.settings, given))
    return recipe.build(common, settings, **{key: given[key] for key in extras if key in given})


def _check_numbers(name: str, given: dict) -> None:
    for key, value in given.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if key not in (*NOT_NUMBERS, *ELSEWHERE) and value is not None and not is_number:
            raise ConfigError(f'{name}: {key} must be a number, got {value!r}')
    if not isinstance(given['num_classes'], int) or given['num_classes'] < 2:
        raise ConfigError(f'{name}: num_classes must be 2 or more, with background, got {given["num_classes"]!r}')


def _of(part: type, given: dict) -> dict:
    """Those of the given arguments that are fields of a class."""
    names = {field.name for field in dataclasses.fields(part)}
    return {name: value for name, value in given.items() if name in names}
