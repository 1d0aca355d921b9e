"""``torchvision://maskrcnn_resnet50_fpn_v2`` -> a config of ours that predicts."""

from urllib.parse import parse_qsl

from mmdetlike.datasets.coco import CocoDataset
from mmdetlike.errors import ConfigError

from .model import RECIPES, model_config

SCHEME = 'torchvision://'
# what the newest weights of every detector are called
PUBLISHED = 'COCO_V1'
# torchvision's own defaults
SIZES = dict(min_size=800, max_size=1333)
# with background
COCO_CLASSES = 91
UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')


def parse_name(name: str) -> tuple[str, dict]:
    """Function and arguments of ``torchvision://fcos_resnet50_fpn?score_thresh=0.3&num_classes=5``.

    Raises:
        ConfigError: An argument is neither a number nor a name.
    """
    function, _, query = name.removeprefix(SCHEME).partition('?')
    return function, {key: _number(value) for key, value in parse_qsl(query, keep_blank_values=True)}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if not text.replace('.', '_').isidentifier():
        raise ConfigError(f'arguments after ? must be numbers or names of weights, got {text!r}')
    return text


def whole_config(name: str, **arguments) -> dict:
    """Model and test pipeline of a function of ``torchvision.models.detection``; see ``model_config``."""
    model = model_config(name, **arguments)
    sizes = {**SIZES, **RECIPES[name].defaults, **arguments}
    resize = [dict(type='Resize', scale=(sizes['max_size'], sizes['min_size']), keep_ratio=True)]
    if model['data_preprocessor']['type'] == 'FixedSizeDataPreprocessor':
        resize = []  # which the model does itself
    pipeline = [dict(type='LoadImageFromFile'), *resize, dict(type='PackDetInputs', meta_keys=META_KEYS)]
    return dict(
        default_scope='mmdetlike',
        model=model,
        test_dataloader=dict(dataset=dict(**_classes(name, arguments), pipeline=pipeline)),
    )


def _classes(name: str, arguments: dict) -> dict:
    """The dataset whose class names are the published models'; nothing where there is another number of classes."""
    number = arguments.get('num_classes', RECIPES[name].num_classes)
    if number == COCO_CLASSES:
        return dict(type='CocoDataset', metainfo=dict(classes=_coco_by_id()))
    if 'keypoint' in name and number == RECIPES[name].num_classes:
        return dict(type='CocoDataset', metainfo=dict(classes=('person',)))
    return {}


def _coco_by_id() -> tuple[str, ...]:
    """Names of COCO's category numbers 1 to 90, ten of which name nothing."""
    names = iter(CocoDataset.METAINFO['classes'])
    return tuple(f'unused_{i}' if i in UNUSED_IDS else next(names) for i in range(1, 91))
