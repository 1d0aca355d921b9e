"""Detectron2's configs and checkpoints."""

from .files import is_detectron2_config, read_config
from .model import model_config
from .pickles import read_pickle
from .segmentation import semantic_labels
from .weights import convert_state_dict
from .whole import whole_config
from .zoo import SCHEME, is_zoo_name, zoo_address, zoo_config, zoo_names

__all__ = [
    'SCHEME',
    'convert_state_dict',
    'is_detectron2_config',
    'is_zoo_name',
    'model_config',
    'read_config',
    'read_pickle',
    'semantic_labels',
    'whole_config',
    'zoo_address',
    'zoo_config',
    'zoo_names',
]
