"""Learned proposals, the same for every image: Sparse R-CNN, arXiv 2011.12450."""

from collections.abc import Sequence

from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox_cxcywh_to_xyxy
from mmdetlike.utils.sizes import size_tensor


@MODELS.register_module()
class EmbeddingRPNHead(BaseModule):
    """Boxes, in shares of the image, and features of proposals as parameters.

    Args:
        num_proposals, proposal_feature_channel: How many, and channels of their features.
        num_classes: Kept for detectors, which tell each first stage that it has one class.
        train_cfg, test_cfg: Kept for detectors: nothing is assigned or suppressed here.
        init_cfg: Weight initialization; by default each box is the whole image.
    """

    def __init__(
        self,
        num_proposals: int = 100,
        proposal_feature_channel: int = 256,
        num_classes: int = 1,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_proposals, self.proposal_feature_channel = num_proposals, proposal_feature_channel
        self.init_proposal_bboxes = nn.Embedding(num_proposals, 4)
        self.init_proposal_features = nn.Embedding(num_proposals, proposal_feature_channel)

    def init_weights(self) -> None:
        """Initialize; boxes begin as the whole image, center (0.5, 0.5) and size (1, 1)."""
        super().init_weights()
        if self.init_cfg is None:
            nn.init.constant_(self.init_proposal_bboxes.weight[:, :2], 0.5)
            nn.init.constant_(self.init_proposal_bboxes.weight[:, 2:], 1)

    def forward(self, x: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Boxes (num_proposals, 4), center and size in shares of the image, and features (num_proposals, C)."""
        return self.init_proposal_bboxes.weight, self.init_proposal_features.weight

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool = False) -> list[InstanceData]:
        """The proposals of each image: ``bboxes`` (n, 4) xyxy in pixels and ``features`` (n, C)."""
        found = self.detect_maps(x, [sample.img_shape for sample in batch_data_samples])
        return [InstanceData(bboxes=image['boxes'], features=image['features']) for image in found]

    def detect_maps(self, x: Sequence[Tensor], img_shapes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """The proposals of each image as tensors: ``boxes`` (n, 4) xyxy in pixels and ``features`` (n, C)."""
        shares, features = self(x)
        corners = bbox_cxcywh_to_xyxy(shares)
        found = []
        for height, width, *_ in img_shapes:
            size = size_tensor([width, height, width, height], dtype=corners.dtype, device=corners.device)
            found.append(dict(boxes=corners * size, features=features))
        return found

    def loss_and_predict(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, proposal_cfg: ConfigDict | None = None
    ) -> tuple[dict[str, Tensor], list[InstanceData]]:
        """No loss, and the proposals: they learn from the losses of the region head."""
        return {}, self.predict(x, batch_data_samples)
