"""The region head of CrowdDet: Detection in Crowded Scenes: One Proposal, Multiple Predictions, arXiv 2003.09163."""

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .bbox_heads import MultiInstanceBBoxHead
from .standard_roi_head import StandardRoIHead


@MODELS.register_module()
class MultiInstanceRoIHead(StandardRoIHead):
    """A region head that predicts several objects for each proposal.

    Args:
        num_instance: Objects of one proposal.
        kwargs: See ``StandardRoIHead``; ``bbox_head`` is a ``MultiInstanceBBoxHead``, the assigner a
            ``MultiInstanceAssigner``.

    Raises:
        ConfigError: ``bbox_head`` predicts another number of objects.
    """

    def __init__(self, num_instance: int = 2, **kwargs) -> None:
        super().__init__(**kwargs)
        head = self.bbox_head
        if not isinstance(head, MultiInstanceBBoxHead) or head.num_instance != num_instance:
            raise ConfigError(
                f'MultiInstanceRoIHead needs a MultiInstanceBBoxHead with num_instance={num_instance}, got '
                f'{type(head).__name__} with num_instance={getattr(head, "num_instance", None)}'
            )
