"""Losses: each computes a value for every element, ``Loss`` weights and reduces them."""

from .accuracy import Accuracy, accuracy
from .associative_embedding_loss import AssociativeEmbeddingLoss
from .cross_entropy_loss import CrossEntropyLoss, HardPixelLoss, check_class_weight, one_hot_labels
from .dice_loss import DiceLoss
from .focal_loss import FocalLoss, GaussianFocalLoss
from .gfocal_loss import DistributionFocalLoss, QualityFocalLoss, VarifocalLoss
from .ghm_loss import GHMC, GHMR
from .iou_loss import BoundedIoULoss, CIoULoss, DIoULoss, EIoULoss, GIoULoss, IoULoss, SIoULoss
from .kd_loss import DecoupledDistillationFocalLoss, KnowledgeDistillationKLDivLoss
from .reduction import Loss, weight_reduce_loss, weighted_loss
from .seesaw_loss import SeesawLoss
from .smooth_l1_loss import BalancedL1Loss, HuberLoss, L1Loss, MSELoss, SmoothL1Loss
from .vast_classes import CrossEntropyCustomLoss, FederatedLoss, FocalCustomLoss
