"""torchvision's detectors: functions of ``torchvision.models.detection`` and their checkpoints."""

from .model import model_config
from .weights import convert_state_dict

__all__ = ['convert_state_dict', 'model_config']
