"""SSDHead and YOLOV3Head: their layers, loss terms and candidates."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import bias_init_with_prob

from mmdetlike.models.heads.dense import SSDHead, YOLOV3Head
from mmdetlike.registry import MODELS
from tests.models.tiny import flat_predictions, make_sample

NMS = dict(nms=dict(type='nms', iou_threshold=0.45), max_per_img=10, min_bbox_size=0)


def sample(boxes, index=0, size=64):
    out = make_sample(boxes, index=index)
    out.set_metainfo(dict(img_shape=(size, size), pad_shape=(size, size), batch_input_shape=(size, size)))
    return out


# -- SSD -------------------------------------------------------------------------------------------------------------


def ssd_head(train_cfg=None, **kwargs):
    torch.manual_seed(0)
    anchors = dict(
        type='SSDAnchorGenerator',
        strides=[16, 32],
        ratios=[[2], [2, 3]],
        min_sizes=[16, 32],
        max_sizes=[32, 48],
        scale_major=False,
    )
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, gt_max_assign_all=False)
    train_cfg = dict(assigner=assigner, neg_pos_ratio=3, smoothl1_beta=1.0, **(train_cfg or {}))
    test_cfg = dict(NMS, nms_pre=100, score_thr=0.02)
    settings = dict(num_classes=3, in_channels=(4, 6), anchor_generator=anchors)
    return SSDHead(**{**settings, **kwargs}, train_cfg=train_cfg, test_cfg=test_cfg)


def ssd_maps(batch=2):
    return [torch.randn(batch, 4, 4, 4), torch.randn(batch, 6, 2, 2)]


def test_ssd_layers_of_each_level():
    head = ssd_head()
    cls_scores, bbox_preds = head(ssd_maps())
    assert [tuple(m.shape[1:]) for m in cls_scores] == [(4 * 4, 4, 4), (6 * 4, 2, 2)]
    assert [tuple(m.shape[1:]) for m in bbox_preds] == [(4 * 4, 4, 4), (6 * 4, 2, 2)]
    assert head.cls_convs[0][0].kernel_size == (3, 3)
    preds = head.flatten((cls_scores, bbox_preds))
    assert preds.num_priors == [64, 24] and len(preds.priors) == 88
    torch.testing.assert_close(preds.cls_score[1, 64 + 6 * 3 + 5], cls_scores[1][1, 20:24, 1, 1])


def test_ssd_depthwise_and_stacked_layers():
    norm = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU6'))
    thin = ssd_head(use_depthwise=True, **norm)
    assert set(thin.cls_convs[0].state_dict()) >= {'0.conv.weight', '0.bn.weight', '1.weight', '1.bias'}
    assert thin.cls_convs[0][0].conv.groups == 4 and thin.cls_convs[0][1].kernel_size == (1, 1)
    stacked = ssd_head(stacked_convs=2, feat_channels=8, **norm)
    assert [m.out_channels for m in stacked.reg_convs[1]] == [8, 8, 24]
    with pytest.raises(ValueError, match='in_channels must have 2 entries'):
        ssd_head(in_channels=(4, 6, 8))


def test_ssd_losses_are_positives_and_the_hardest_negatives():
    head, maps = ssd_head(), ssd_maps()
    boxes = [[[0, 0, 17, 17]], [[4, 4, 28, 28], [30, 30, 62, 62]]]
    samples = [sample(b, i) for i, b in enumerate(boxes)]
    preds = head.flatten(head(maps))
    targets = head.targets(preds, samples)
    terms = head.loss(maps, samples)
    count = len(targets.pos_inds)
    assert count >= 3 and [len(terms['loss_cls']), len(terms['loss_bbox'])] == [2, 2]
    for i, labels in enumerate(targets.labels):
        every = F.cross_entropy(preds.cls_score[i], labels, reduction='none')
        positive = (labels < 3).nonzero().flatten().tolist()
        negatives = sorted((float(every[j].detach()) for j in range(88) if labels[j] == 3), reverse=True)
        expected = sum(float(every[j].detach()) for j in positive) + sum(negatives[: 3 * len(positive)])
        assert float(terms['loss_cls'][i]) == pytest.approx(expected / count, rel=1e-4)
        chosen = targets.pos_inds // 88 == i
        target = head.bbox_coder.encode(targets.pos_priors.boxes[chosen], targets.pos_gt_bboxes[chosen])
        expected = F.smooth_l1_loss(preds.bbox_pred[i, positive], target, reduction='sum')
        assert float(terms['loss_bbox'][i]) == pytest.approx(float(expected) / count, rel=1e-4)


def test_ssd_image_without_objects_has_no_loss():
    head = ssd_head()
    terms = head.loss(ssd_maps(), [sample([]), sample([[0, 0, 16, 16]], 1)])
    assert float(terms['loss_cls'][0]) == float(terms['loss_bbox'][0]) == 0 < float(terms['loss_cls'][1])
    sum(sum(values) for values in terms.values()).backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in head.parameters())


def test_ssd_more_negatives_wanted_than_there_are():
    head, maps, samples = ssd_head(), ssd_maps(1), [sample([[0, 0, 16, 16]])]
    head.train_cfg.neg_pos_ratio = 1000
    preds = head.flatten(head(maps))
    targets = head.targets(preds, samples)
    expected = F.cross_entropy(preds.cls_score[0], targets.labels[0], reduction='sum') / len(targets.pos_inds)
    torch.testing.assert_close(head.loss(maps, samples)['loss_cls'][0], expected)


def test_ssd_predicts_boxes_where_they_are():
    head = ssd_head()
    cls_score, bbox_pred = torch.zeros(1, 88, 4), torch.zeros(1, 88, 4)
    cls_score[..., 3], cls_score[0, 5, 1] = 20, 40  # background everywhere but at one anchor
    preds = flat_predictions(head, [(4, 4), (2, 2)], [64, 24], cls_score=cls_score, bbox_pred=bbox_pred)
    result = head.predict_flat(preds, [sample([])], head.test_cfg, rescale=False)[0]
    assert result.labels.tolist() == [1] and result.scores.tolist() == pytest.approx([1])
    torch.testing.assert_close(result.bboxes[0], preds.priors.boxes[5].clamp(min=0))


# -- YOLOv3 ----------------------------------------------------------------------------------------------------------


def yolo_head(train_cfg=None, test_cfg=None, **kwargs):
    torch.manual_seed(0)
    anchors = dict(type='YOLOAnchorGenerator', strides=[32, 16], base_sizes=[[(40, 30), (20, 40)], [(16, 16), (8, 8)]])
    train_cfg = train_cfg or dict(assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0))
    test_cfg = dict(dict(NMS, nms_pre=100, score_thr=0.05, conf_thr=0.005), **(test_cfg or {}))
    sums = {name: dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum') for name in ('cls', 'conf', 'xy')}
    losses = {f'loss_{name}': cfg for name, cfg in dict(sums, wh=dict(type='MSELoss', reduction='sum')).items()}
    shape = dict(num_classes=3, in_channels=(4, 6), out_channels=(8, 4), anchor_generator=anchors)
    levels = dict(featmap_strides=[32, 16], train_cfg=train_cfg, test_cfg=test_cfg)
    return YOLOV3Head(**{**shape, **losses, **levels, **kwargs})


def yolo_maps(batch=1):
    return [torch.randn(batch, 4, 2, 2), torch.randn(batch, 6, 4, 4)]


def yolo_preds(values, head=None):
    """Flat predictions for a 64 x 64 image: 2 x 2 x 2 and 4 x 4 x 2 anchors, 8 numbers each."""
    return flat_predictions(head or yolo_head(), [(2, 2), (4, 4)], [8, 32], pred_map=values)


def test_yolo_maps_and_their_order():
    head = yolo_head()
    (maps,) = head(yolo_maps())
    assert [tuple(m.shape) for m in maps] == [(1, 16, 2, 2), (1, 16, 4, 4)]
    preds = head.flatten([maps])
    torch.testing.assert_close(preds.pred_map[0, 8 + 2 * (4 * 1 + 3) + 1], maps[1][0, 8:, 1, 3])


def test_yolo_bias_at_first():
    head = yolo_head()
    for _ in range(2):  # initialising again changes nothing
        head.init_weights()
    bias = head.convs_pred[1].bias.detach().view(2, 8)
    assert bias[:, 4].tolist() == pytest.approx([bias_init_with_prob(8 / 38**2)] * 2)
    assert bias[:, 5:].flatten().tolist() == pytest.approx([bias_init_with_prob(0.01)] * 6)
    assert bias[:, :4].abs().sum() == 0


@pytest.mark.parametrize('smoother', [0.0, 0.3])
def test_yolo_losses_against_numbers(smoother):
    head = yolo_head(one_hot_smoother=smoother)
    pred = torch.randn(1, 40, 8)
    # its centre (22, 10) lies in cell (0, 1) of the finer map; it has the size of that map's first anchor
    data = sample([[14, 2, 30, 18]])
    label = int(data.gt_instances.labels[0])
    losses = head.named_losses(head.compute_losses(yolo_preds(pred, head), [data]))
    place = 8 + 2 * 1
    row = pred[0, place]
    one_hot = torch.full((3,), smoother / 3)
    one_hot[label] += 1 - smoother
    bce = lambda x, y: float(F.binary_cross_entropy_with_logits(x, y, reduction='sum'))  # noqa: E731
    assert [float(v) for v in losses['loss_cls']] == pytest.approx([0, bce(row[5:], one_hot)], rel=1e-5)
    assert [float(v) for v in losses['loss_xy']] == pytest.approx([0, bce(row[:2], torch.tensor([6 / 16, 10 / 16]))])
    assert [float(v) for v in losses['loss_wh']] == pytest.approx([0, float(row[2:4].square().sum())], rel=1e-4)
    is_object = torch.zeros(40)
    is_object[place] = 1
    conf = F.binary_cross_entropy_with_logits(pred[0, :, 4], is_object, reduction='none')
    assert [float(v) for v in losses['loss_conf']] == pytest.approx(
        [float(conf[:8].sum()), float(conf[8:].sum())], rel=1e-5
    )


def test_yolo_ignored_anchors_have_no_objectness_loss():
    sizes = [[(60, 60), (8, 8)], [(8, 8), (4, 4)]]
    head = yolo_head(anchor_generator=dict(type='YOLOAnchorGenerator', strides=[32, 16], base_sizes=sizes))
    # 60 x 60 pixels around (31, 16): its own cell's anchor is 15 pixels off, the right neighbour's 17
    data = sample([[1, -14, 61, 46]])
    preds = yolo_preds(torch.zeros(1, 40, 8), head)
    targets = head.targets(preds, [data])
    assert targets.pos_inds.tolist() == [0]
    assert (targets.label_weights[0] == 0).nonzero().flatten().tolist() == [2]
    losses = head.named_losses(head.compute_losses(preds, [data]))
    assert [float(v) for v in losses['loss_conf']] == pytest.approx([7 * 0.6931472, 32 * 0.6931472], rel=1e-5)


def test_yolo_means_count_all_priors():
    mean = yolo_head(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_wh=dict(type='MSELoss'))
    plain = yolo_head()
    preds, data = yolo_preds(torch.randn(1, 40, 8)), sample([[14, 2, 30, 18]])
    means = mean.named_losses(mean.compute_losses(preds, [data]))
    sums = plain.named_losses(plain.compute_losses(preds, [data]))
    assert float(means['loss_cls'][1]) == pytest.approx(float(sums['loss_cls'][1]) / (32 * 3), rel=1e-5)
    assert float(means['loss_wh'][1]) == pytest.approx(float(sums['loss_wh'][1]) / (32 * 2), rel=1e-5)


def test_yolo_without_objects():
    head = yolo_head()
    losses = head.loss(yolo_maps(2), [sample([]), sample([], 1)])
    assert all(float(v) == 0 for name in ('cls', 'xy', 'wh') for v in losses[f'loss_{name}'])
    assert float(losses['loss_conf'][0].detach()) > 0
    sum(sum(values) for values in losses.values()).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in head.parameters())


def test_yolo_predicts_decoded_boxes_with_objectness():
    head = yolo_head()
    pred = torch.full((1, 40, 8), -20.0)
    pred[0, 2 * 1] = torch.tensor([0.0, 0, 0.0, 0.0, 0.0, -20, 20, -20])  # first anchor of cell (0, 1), stride 32
    result = head.predict_flat(yolo_preds(pred, head), [sample([])], head.test_cfg, rescale=False)[0]
    assert result.labels.tolist() == [1] and result.scores.tolist() == pytest.approx([0.5])
    assert result.bboxes.tolist() == [[48 - 20, 16 - 15, 48 + 20, 16 + 15]]  # beyond the image, as it comes


@pytest.mark.parametrize(
    'settings, count',
    [
        ({}, 40),
        (dict(conf_thr=0.5), 20),
        (dict(nms_pre=7), 7),  # of all levels together
        (dict(score_thr=1.0), 0),
        (dict(max_per_img=3), 3),
    ],
)
def test_yolo_thresholds(settings, count):
    pred = torch.full((1, 40, 8), -20.0)
    pred[0, :, 2:4], pred[0, :, 4], pred[0, :, 5] = 0, torch.linspace(-4, 4, 40), 10
    free = dict(nms=dict(type='nms', iou_threshold=1.0), max_per_img=100, conf_thr=-1, nms_pre=100)
    head = yolo_head(test_cfg=dict(free, **settings))
    result = head.predict_flat(yolo_preds(pred, head), [sample([])], head.test_cfg, False)[0]
    assert len(result) == count and result.scores.tolist() == sorted(result.scores.tolist(), reverse=True)


def test_yolo_wrong_levels():
    with pytest.raises(ValueError, match=r"same number of levels, got \{'in_channels': 2, 'out_channels': 1"):
        yolo_head(out_channels=(8,))


def test_detectors_are_registered():
    for name in ('YOLOV3', 'SSDHead', 'YOLOV3Head'):
        assert MODELS.get(f'mmdet.{name}').__name__ == name
