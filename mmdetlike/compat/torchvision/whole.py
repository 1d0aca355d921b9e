"""``torchvision://maskrcnn_resnet50_fpn_v2`` -> a config of ours that trains, tests and predicts."""

from urllib.parse import parse_qsl

from mmdetlike.datasets.coco import CocoDataset
from mmdetlike.errors import ConfigError

from .model import RECIPES, model_config
from .training import running

SCHEME = 'torchvision://'
# what the newest weights of every detector are called
PUBLISHED = 'COCO_V1'
CONSTANTS = {'None': None, 'True': True, 'False': False}
# torchvision's own defaults
SIZES = dict(min_size=800, max_size=1333)
# with background
COCO_CLASSES = 91
UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


def parse_name(name: str) -> tuple[str, dict]:
    """Function and arguments of ``torchvision://fcos_resnet50_fpn?score_thresh=0.3&num_classes=5``.

    Raises:
        ConfigError: An argument is neither a number nor a name, or is given twice.
    """
    function, _, query = name.removeprefix(SCHEME).partition('?')
    given = parse_qsl(query, keep_blank_values=True)
    arguments = {key: _value(value) for key, value in given}
    if len(arguments) < len(given):
        raise ConfigError(f'{name} gives an argument twice')
    return function, arguments


def _value(text: str) -> int | float | str | bool | None:
    if text in CONSTANTS:
        return CONSTANTS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if not text.replace('.', '_').isidentifier():
        raise ConfigError(f'arguments after ? must be numbers or names of weights, got {text!r}')
    return text


def whole_config(name: str, **arguments) -> dict:
    """A config of a function of ``torchvision.models.detection``, which trains and tests as torchvision's scripts do.

    Args:
        name: Of the function.
        arguments: Those that it is called with; see ``model_config``.

    Raises:
        ConfigError: The function or an argument is unknown here.
    """
    model = model_config(name, **arguments)
    sizes = {**SIZES, **RECIPES[name].defaults, **arguments}
    resize = [dict(type='Resize', scale=(sizes['max_size'], sizes['min_size']), keep_ratio=True)]
    if model['data_preprocessor']['type'] == 'FixedSizeDataPreprocessor':
        resize = []  # which the model does itself
    predicts = {part for part in ('mask', 'keypoint') if f'{part}_head' in model.get('roi_head', {})}
    return dict(default_scope='mmdetlike', model=model, **running(name, predicts, _classes(name, arguments), resize))


def _classes(name: str, arguments: dict) -> dict:
    """Names of the published models' classes; nothing where there is another number of classes."""
    number = arguments.get('num_classes', RECIPES[name].num_classes)
    if number == COCO_CLASSES:
        return dict(classes=_coco_by_id())
    if 'keypoint' in name and number == RECIPES[name].num_classes:
        return dict(classes=('person',))
    return {}


def _coco_by_id() -> tuple[str, ...]:
    """Names of COCO's category numbers 1 to 90, ten of which name nothing."""
    names = iter(CocoDataset.METAINFO['classes'])
    return tuple(f'unused_{i}' if i in UNUSED_IDS else next(names) for i in range(1, 91))
