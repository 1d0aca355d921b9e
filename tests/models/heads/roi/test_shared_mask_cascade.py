"""What Detectron2's cascade does otherwise: means of probabilities, shares of gradients, regions without area."""

import torch
from mmengine.structures import InstanceData

from mmdetlike.models.heads.roi.cascade_roi_head import KeepingStage, SharedMaskCascadeRoIHead
from mmdetlike.models.heads.roi.stage import StageOutputs


class Head:
    """Logits and boxes are what was put in."""

    @staticmethod
    def region_scores(preds):
        return preds[0].softmax(-1)

    @staticmethod
    def split(preds, counts):
        return [preds]

    @staticmethod
    def refine(rois, preds, labels, img_shape):
        return preds[1]


def test_stages_are_averaged_as_probabilities():
    logits = [torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
    merged, boxes = SharedMaskCascadeRoIHead.merge_stages(None, Head, [(logits[0], 'first'), (logits[1], 'last')])
    expected = (logits[0].softmax(-1) + logits[1].softmax(-1)) / 2
    assert torch.allclose(merged.softmax(-1), expected)
    assert boxes == 'last'


def test_only_regions_with_area_are_handed_on_in_training():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 2.0, 2.0, 5.0]])
    outs = StageOutputs(torch.zeros(2, 5), [2], (), (torch.zeros(2, 3), boxes))
    stage = KeepingStage(None, Head, {})
    samples = [InstanceData(metainfo=dict(img_shape=(8, 8)))]
    assert stage.next_proposals(outs, samples, sampled=[object()])[0].bboxes.tolist() == [[0.0, 0.0, 4.0, 4.0]]
    assert len(stage.next_proposals(outs, samples)[0]) == 2
