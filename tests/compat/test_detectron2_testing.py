"""What Detectron2's configs ask of tests, of proposals from files and of the federated loss."""

import copy
import json
import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdetlike.compat.detectron2 import model_config, whole_config, zoo_config
from mmdetlike.compat.detectron2.whole import untranslated_settings
from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.transforms.wrappers import build_pipeline
from mmdetlike.engine.hooks import ExpectedResultsHook
from mmdetlike.engine.test_time_aug import augment_test
from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

FAST = 'COCO-Detection/fast_rcnn_R_50_FPN_1x'
LVIS = 'LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x'


def zoo(name, **settings):
    """A config of the zoo without weights, and with ``settings``: ``TEST__AUG__ENABLED=True``."""
    cfg = copy.deepcopy(zoo_config(name))
    cfg['MODEL']['WEIGHTS'] = ''
    for key, value in settings.items():
        *path, last = key.split('__')
        inner = cfg
        for part in path:
            inner = inner[part]
        inner[last] = value
    return cfg


# -- test-time augmentation --------------------------------------------------------------------------------------------


def augmented(name, **settings):
    sizes = dict(TEST__AUG__ENABLED=True, TEST__AUG__MIN_SIZES=[32, 64], TEST__AUG__MAX_SIZE=100)
    return zoo(name, **{**sizes, **settings})


@pytest.mark.parametrize(('flip', 'widths'), [(True, [50, 50, 100, 100]), (False, [50, 100])])
@pytest.mark.filterwarnings('ignore:not translated')
def test_versions_of_a_picture(tmp_path, flip, widths):
    whole = whole_config(augmented('COCO-Detection/retinanet_R_50_FPN_1x', TEST__AUG__FLIP=flip))
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, np.zeros((64, 100, 3), np.uint8))
    sample = build_pipeline(whole['tta_pipeline'])(dict(img_path=path, img_id=1))
    assert [image.shape[2] for image in sample['inputs']] == widths
    assert [version.flip for version in sample['data_samples']] == [False, True] * 2 if flip else [False, False]


def test_versions_are_joined_as_regions_are_suppressed():
    cfg = augmented('COCO-Detection/faster_rcnn_R_50_FPN_1x', TEST__DETECTIONS_PER_IMAGE=30)
    cfg['MODEL']['ROI_HEADS']['NMS_THRESH_TEST'] = 0.6
    with pytest.warns(UserWarning, match=r'TEST.AUG.ENABLED=True \(mmdetlike test --tta does it\)'):
        config = Config(whole_config(cfg))
    augment_test(config)
    assert config.test_dataloader.dataset.pipeline[-1].type == 'TestTimeAug'
    settings = dict(nms=dict(type='nms', iou_threshold=0.6), max_per_img=30)
    assert (config.model.type, config.model.tta_cfg) == ('DetTTAModel', settings)


def test_what_is_not_augmented_is_told():
    cfg = augmented('COCO-PanopticSegmentation/panoptic_fpn_R_50_1x')
    assert untranslated_settings(cfg) == ['TEST.AUG.ENABLED=True (of this architecture it is not known)']
    assert 'tta_pipeline' not in whole_config(cfg, warn=False)
    assert 'tta_pipeline' not in whole_config(zoo('COCO-Detection/retinanet_R_50_FPN_1x'))


# -- expected results --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'rows', 'expected'),
    [
        (
            'COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x',
            [['bbox', 'AP', 38.5, 0.2], ['segm', 'APs', 17.0, 0.5]],
            [('coco/bbox_mAP', 0.385, 0.002), ('coco/segm_mAP_s', 0.17, 0.005)],
        ),
        (
            'COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x',
            [['keypoints', 'AP50', 80, 1]],
            [('coco/keypoints_mAP_50', 0.8, 0.01)],
        ),
        ('COCO-Detection/rpn_R_50_FPN_1x', [['box_proposals', 'AR@1000', 57, 1]], [('coco/AR@1000', 0.57, 0.01)]),
        ('PascalVOC-Detection/faster_rcnn_R_50_FPN', [['bbox', 'AP50', 80, 1]], [('pascal_voc/AP50', 0.8, 0.01)]),
        (LVIS, [['segm', 'APr', 9, 1]], [('lvis/segm_APr', 0.09, 0.01)]),
        (
            'COCO-PanopticSegmentation/panoptic_fpn_R_50_1x',
            [['bbox', 'AP', 40, 1], ['panoptic_seg', 'PQ', 41, 0.5]],
            [('coco/bbox_mAP', 0.4, 0.01), ('coco_panoptic/PQ', 41, 0.5)],
        ),
        ('Misc/semantic_R_50_FPN_1x', [['sem_seg', 'mIoU', 40, 0.5]], [('sem_seg/mIoU', 40, 0.5)]),
    ],
)
def test_results_are_expected(name, rows, expected):
    cfg = zoo(name, TEST__EXPECTED_RESULTS=rows)
    assert untranslated_settings(cfg) == []
    whole = whole_config(cfg)
    (hook,) = whole['custom_hooks']
    assert hook['type'] == 'ExpectedResultsHook'
    for (score, *numbers), (wanted, *values) in zip(
        ExpectedResultsHook(hook['expected']).expected, expected, strict=True
    ):
        assert score == wanted
        assert numbers == pytest.approx(values)


def test_a_result_that_is_not_known_is_told():
    rows = [['bbox', 'AP', 38.5, 0.2], ['segm', 'AP', 35, 1], ['bbox', 'AP-person', 50, 1]]
    cfg = zoo('COCO-Detection/faster_rcnn_R_50_FPN_1x', TEST__EXPECTED_RESULTS=rows)
    told = "TEST.EXPECTED_RESULTS=[['segm', 'AP', 35, 1], ['bbox', 'AP-person', 50, 1]] (there are no such scores)"
    assert untranslated_settings(cfg) == [told]
    assert len(whole_config(cfg, warn=False)['custom_hooks'][0]['expected']) == 1


def test_sigmas_of_keypoints():
    cfg = zoo('COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x', TEST__KEYPOINT_OKS_SIGMAS=[0.1] * 17)
    dataset = whole_config(cfg)['val_dataloader']['dataset']
    assert CocoDataset._load_metainfo(dataset['metainfo'])['sigmas'] == [0.1] * 17


# -- proposals from files ----------------------------------------------------------------------------------------------


def test_proposals_come_from_their_files():
    whole = whole_config(zoo(FAST, DATASETS__PROPOSAL_FILES_TEST=['mine.pkl']))
    train, test = (whole[f'{phase}_dataloader']['dataset'] for phase in ('train', 'val'))
    assert train['proposal_file'].startswith('https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/rpn_R_50_FPN_1x')
    assert test['proposal_file'] == 'mine.pkl'
    for dataset, limit in ((train, 2000), (test, 1000)):
        assert dataset['pipeline'][1] == dict(type='LoadProposals', num_max_proposals=limit)


def test_each_data_set_needs_its_proposals():
    cfg = zoo(FAST, DATASETS__PROPOSAL_FILES_TRAIN=[])
    with pytest.raises(
        ConfigError, match=r'PROPOSAL_FILES_TRAIN is \[\] with .* one file for each of DATASETS.TRAIN \['
    ):
        whole_config(cfg)


def test_proposals_that_nothing_uses_are_told():
    (told,) = untranslated_settings(zoo('COCO-Detection/faster_rcnn_R_50_FPN_1x', MODEL__LOAD_PROPOSALS=True))
    assert told == 'MODEL.LOAD_PROPOSALS=True (the model proposes regions itself)'


# -- the federated loss ------------------------------------------------------------------------------------------------


def federated(name, **settings):
    return zoo(name, MODEL__ROI_BOX_HEAD__USE_FED_LOSS=True, MODEL__ROI_BOX_HEAD__USE_SIGMOID_CE=True, **settings)


def test_frequencies_are_those_of_lvis(tmp_path, monkeypatch):
    loss = model_config(federated(LVIS, MODEL__ROI_BOX_HEAD__FED_LOSS_NUM_CLASSES=40))['roi_head']['bbox_head'][
        'loss_cls'
    ]
    frequencies = 'data/lvis_v1/annotations/lvis_v1_train.json'
    rest = dict(num_classes=1203, num_sampled=40, power=0.5, loss_weight=1.0)
    assert loss == dict(type='FederatedLoss', frequencies=frequencies, **rest)
    # found where the data set is
    path = tmp_path / 'lvis_v1' / 'annotations' / 'lvis_v1_train.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(dict(categories=[dict(id=i, image_count=4 * (i + 1)) for i in range(1203)])))
    monkeypatch.setenv('MMDETLIKE_DATASETS', str(tmp_path))
    chances = MODELS.build(loss).chances()
    assert torch.allclose(chances[:3], torch.tensor([4.0, 8.0, 12.0]).sqrt())


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (
            federated('COCO-Detection/faster_rcnn_R_50_FPN_1x'),
            "of lvis_* alone, not of DATASETS.TRAIN ['coco_2017_train']",
        ),
        (zoo(LVIS, MODEL__ROI_BOX_HEAD__USE_FED_LOSS=True), 'USE_SIGMOID_CE is False with USE_FED_LOSS: expected True'),
    ],
)
def test_what_the_federated_loss_needs(cfg, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        model_config(cfg)
