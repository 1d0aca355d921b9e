from .anchor_head import AnchorHead
from .dense_head import DenseHead, DenseTargets, FlatPredictions
from .retina_head import RetinaHead
from .retina_sepbn_head import RetinaSepBNHead
from .rpn_head import RPNHead

__all__ = ['AnchorHead', 'DenseHead', 'DenseTargets', 'FlatPredictions', 'RPNHead', 'RetinaHead', 'RetinaSepBNHead']
