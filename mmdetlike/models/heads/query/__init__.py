"""Heads that predict one object for each query of a transformer."""

from .base import QueryHead
from .common import InitialQueries, QueryContext, QueryOutputs, QueryTargets
from .conditional_detr_head import ConditionalDETRHead
from .dab_detr_head import DABDETRHead
from .ddq_detr_head import DDQDETRHead
from .deformable_detr_head import DeformableDETRHead, DINOHead, RTDETRHead
from .denoising import CdnQueryGenerator, DenoisingQueries
from .detr_head import DETRHead
from .dfine_head import DFINEHead
from .distinct import DDQOutputs, DDQQueries, DistinctQueries, distinct
