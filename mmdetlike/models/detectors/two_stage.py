"""Detectors that propose regions and then look at each."""

from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import TridentResNet
from mmdetlike.models.utils import fixed_rows
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector, samples_of_shapes
from .old_keys import OF_TWO_STAGE


@MODELS.register_module()
class TwoStageDetector(BaseDetector):
    """Backbone, neck, a head that proposes regions and one that classifies and refines them.

    Args:
        roi_head: Feature maps and proposals -> boxes, and masks or keypoints.
        rpn_head: Feature maps -> proposals; None where samples bring their own ``proposals``.
        train_cfg, test_cfg: Their parts are ``rpn``, ``rcnn`` and, of training, ``rpn_proposal``: what is learned from.
        backbone, neck, data_preprocessor, init_cfg: As of ``BaseDetector``.
    """

    old_keys = OF_TWO_STAGE

    def __init__(
        self,
        *,
        roi_head: dict,
        backbone: dict,
        neck: dict | None = None,
        rpn_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg)
        self.rpn_head = None
        if rpn_head is not None:
            proposes = rpn_head if isinstance(rpn_head, nn.Module) else dict(rpn_head, num_classes=1)
            self.rpn_head = self.build_head(proposes, 'rpn')
            # any dense head may propose, also one that has the dataset's classes elsewhere
            self.rpn_head.predicts_dataset_classes = False
        self.roi_head = self.build_head(roi_head, 'rcnn')

    @property
    def with_rpn(self) -> bool:
        """Whether proposals are made here, not given."""
        return self.rpn_head is not None

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict:
        losses, proposals = self.proposal_losses(x, samples)
        return {**losses, **self.roi_head.loss(x, proposals, samples)}

    def predict_of_maps(self, x: tuple[Tensor, ...], samples: SampleList, rescale: bool) -> list[InstanceData]:
        """Objects of each image; where samples have ``given_boxes``, what the branches say of these."""
        given = [sample.get('given_boxes') for sample in samples]
        if given and all(boxes is not None for boxes in given):
            return self.roi_head.predict_given_boxes(x, given, samples, rescale)
        return self.roi_head.predict(x, self.proposals(x, samples), samples, rescale=rescale)

    def detect_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> list[dict[str, Tensor]]:
        """Boxes, scores, labels and what the branches add, such as ``masks`` (n, height, width) bool of the image."""
        proposals, counts = self.detect_proposals(x, samples)
        results = []
        for image in self.roi_head.detect(x, proposals, samples, counts=counts):
            result = dict(boxes=image.pop('bboxes'), scores=image.pop('scores'), labels=image.pop('labels'))
            # sorted: the outputs of a graph have an order, the fields of an InstanceData are a set
            results.append({**result, **dict(sorted(image.items()))})
        return results

    def detect_proposals(self, x: tuple[Tensor, ...], samples: SampleList) -> tuple[list[InstanceData], list[int]]:
        """Each image's proposals, of a fixed number while ``torch.export`` traces, and how many of them are meant.

        Without ``rpn_head``, where samples give the proposals, this is a ``ValueError``.
        """
        if not self.with_rpn:
            raise ValueError(f'detect needs a detector that makes its proposals; {type(self).__name__} has no rpn_head')
        limit = (self.test_cfg.get('rpn') or {}).get('max_per_img', -1)
        proposals = []
        counts = []
        for image in self.rpn_head.detect_maps(x, [sample.img_shape for sample in samples]):
            state = {name: image[name] for name in image if name not in ('boxes', 'labels')}
            columns = dict(state, bboxes=image['boxes'])
            proposals.append(InstanceData(**fixed_rows(columns, limit, 'test_cfg.rpn.max_per_img')))
            counts.append(image['boxes'].shape[0])
        return proposals, counts

    def proposal_losses(self, x: tuple[Tensor, ...], samples: SampleList) -> tuple[dict, list[InstanceData]]:
        """In training: loss terms of the first stage, none where proposals are given, and each image's proposals."""
        if not self.with_rpn:
            return {}, self._given_proposals(samples)
        # how many proposals are learned from is another matter than how many are tested
        proposal_cfg = self.train_cfg.get('rpn_proposal', self.test_cfg.get('rpn'))
        losses, proposals = self.rpn_head.loss_and_predict(x, samples, proposal_cfg=proposal_cfg)
        # a dense head of another detector calls its terms as the second stage does
        return {name if 'rpn' in name else f'rpn_{name}': term for name, term in losses.items()}, proposals

    def proposals(self, x: tuple[Tensor, ...], samples: SampleList) -> list[InstanceData]:
        """In testing: each image's proposals, ``bboxes`` (n, 4) xyxy in pixels of the network's input."""
        if self.with_rpn:
            return self.rpn_head.predict(x, samples, rescale=False)
        return self._given_proposals(samples)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        x = self.extract_feat(batch_inputs)
        if batch_data_samples is None:
            shape = tuple(batch_inputs.shape[-2:])
            batch_data_samples = samples_of_shapes([shape] * len(batch_inputs), shape)
        proposals = self.proposals(x, batch_data_samples)
        rpn = () if not self.with_rpn else (self.rpn_head(x),)
        return (*rpn, self.roi_head.forward(x, proposals, batch_data_samples))

    @staticmethod
    def _given_proposals(samples: SampleList) -> list[InstanceData]:
        for sample in samples:
            if sample.get('proposals') is None:
                raise ValueError(
                    f'a detector without rpn_head needs proposals in every sample; {sample.get("img_path")} has none '
                    '(load them with LoadProposals)'
                )
        return [sample.proposals for sample in samples]


@MODELS.register_module()
class FasterRCNN(TwoStageDetector):
    """Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks, arXiv 1506.01497."""


@MODELS.register_module()
class FastRCNN(TwoStageDetector):
    """Fast R-CNN on given proposals, arXiv 1504.08083."""


@MODELS.register_module()
class MaskRCNN(TwoStageDetector):
    """Mask R-CNN, arXiv 1703.06870."""


@MODELS.register_module()
class CascadeRCNN(TwoStageDetector):
    """Cascade R-CNN: High Quality Object Detection and Instance Segmentation, arXiv 1906.09756."""


@MODELS.register_module()
class HybridTaskCascade(CascadeRCNN):
    """Hybrid Task Cascade for Instance Segmentation, arXiv 1901.07518."""


@MODELS.register_module()
class PointRend(TwoStageDetector):
    """PointRend: Image Segmentation as Rendering, arXiv 1912.08193."""


@MODELS.register_module()
class MaskScoringRCNN(TwoStageDetector):
    """Mask Scoring R-CNN, arXiv 1903.00241."""


@MODELS.register_module()
class KeypointRCNN(TwoStageDetector):
    """Mask R-CNN with keypoints in place of masks or beside them, arXiv 1703.06870, section 5."""


@MODELS.register_module()
class GridRCNN(TwoStageDetector):
    """Grid R-CNN Plus: Faster and Better, arXiv 1906.05688."""


@MODELS.register_module()
class SparseRCNN(TwoStageDetector):
    """Sparse R-CNN: End-to-End Object Detection with Learnable Proposals, arXiv 2011.12450."""


@MODELS.register_module()
class QueryInst(TwoStageDetector):
    """Instances as Queries, arXiv 2105.01928."""


@MODELS.register_module()
class SCNet(CascadeRCNN):
    """SCNet: Training Inference Sample Consistency for Instance Segmentation, arXiv 2012.10150."""


@MODELS.register_module()
class CrowdDet(TwoStageDetector):
    """Detection in Crowded Scenes: One Proposal, Multiple Predictions, arXiv 2003.09163."""


@MODELS.register_module()
class TridentFasterRCNN(FasterRCNN):
    """Scale-Aware Trident Networks for Object Detection, arXiv 1901.01892.

    A Faster R-CNN whose backbone looks at every image with several branches, each for objects of one scale.
    In training every branch learns all objects of the image.

    Args:
        kwargs: See ``TwoStageDetector``; ``backbone`` is a ``TridentResNet``, ``roi_head`` a ``TridentRoIHead`` and
            there is no ``neck``.

    Raises:
        ConfigError: The backbone has no branches, or the region head expects others than it has.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.backbone, TridentResNet) or self.with_neck:
            raise ConfigError(
                'TridentFasterRCNN needs a TridentResNet as backbone and no neck, but got '
                f'{type(self.backbone).__name__} and neck={type(self.neck).__name__}'
            )
        branches = self.backbone.branches
        expected = dict(num_branch=len(branches['trident_dilations']), test_branch_idx=branches['test_branch_idx'])
        given = {name: getattr(self.roi_head, name, None) for name in expected}
        if given != expected:
            raise ConfigError(f'roi_head has other branches than the backbone: expected {expected}, got {given}')

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict:
        return super().loss_of_maps(x, self._for_each_branch(samples))

    def proposals(self, x: tuple[Tensor, ...], samples: SampleList) -> list[InstanceData]:
        """In testing: each image's proposals, branch by branch."""
        return super().proposals(x, self._for_each_branch(samples))

    def detect_proposals(self, x: tuple[Tensor, ...], samples: SampleList) -> tuple[list[InstanceData], list[int]]:
        """Each image's proposals, branch by branch, and how many there are."""
        return super().detect_proposals(x, self._for_each_branch(samples))

    def _for_each_branch(self, samples: SampleList) -> SampleList:
        return list(samples) * self.backbone.num_branches_run
