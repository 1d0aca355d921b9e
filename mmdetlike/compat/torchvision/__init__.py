"""torchvision's detectors: functions of ``torchvision.models.detection`` and their checkpoints."""

from .model import model_config
from .weights import convert_state_dict
from .whole import PUBLISHED, SCHEME, parse_name, whole_config

__all__ = ['PUBLISHED', 'SCHEME', 'convert_state_dict', 'model_config', 'parse_name', 'whole_config']
