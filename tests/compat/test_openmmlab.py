"""Code that imports mmcv and mmdet, in processes of its own: what stands in for them, and what doesn't."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.compat.openmmlab.finder import FINDER
from mmdetlike.compat.openmmlab.helpers import (
    filter_scores_and_topk,
    multi_apply,
    reduce_mean,
    select_single_mlvl,
    unmap,
    unpack_gt_instances,
)
from mmdetlike.compat.openmmlab.images import imread, imwrite
from mmdetlike.compat.openmmlab.table import MODULES
from mmdetlike.structures import DetDataSample

ROOT = Path(__file__).parents[2]
# importing its parts has opted in, which is for the processes below and not for the other tests
sys.meta_path.remove(FINDER)
CODE = """
import mmdetlike.compat.openmmlab
import torch

from mmcv import imread
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule, build_norm_layer, bias_init_with_prob, xavier_init
from mmcv.cnn.bricks.transformer import FFN, MultiheadAttention
from mmcv.ops import MultiScaleDeformableAttention, RoIAlign, batched_nms, nms, sigmoid_focal_loss
from mmcv.ops.roi_align import roi_align
from mmcv.runner import BaseModule
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import PackDetInputs
from mmdet.evaluation import CocoMetric
from mmdet.models import HEADS, RetinaNet, build_detector
from mmdet.models.dense_heads import AnchorHead
from mmdet.models.dense_heads.retina_head import RetinaHead
from mmdet.models.detectors.two_stage import TwoStageDetector
from mmdet.models.losses import FocalLoss
from mmdet.models.task_modules.assigners.max_iou_assigner import MaxIoUAssigner
from mmdet.models.utils import multi_apply
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import HorizontalBoxes, bbox_overlaps
from mmdet.utils import ConfigType, register_all_modules
import mmcv, mmdet

boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
dets, kept = nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5)
assert kept.tolist() == [1, 2]


@MODELS.register_module()
class MyHead(RetinaHead):
    pass


assert HEADS is MODELS and issubclass(MyHead, AnchorHead)
head = MODELS.build(dict(type='mmdet.MyHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1))
assert head.retina_cls.out_channels == 27
assert mmdet.models.RetinaNet is RetinaNet
print(mmcv.__version__, mmdet.__version__)
"""


def run(code: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Run code in a process of its own, with folder ``cwd`` before the others."""
    environment = dict(PYTHONPATH=f'{cwd}:{ROOT}', OMP_NUM_THREADS='1', PATH='/usr/bin:/bin')
    return subprocess.run([sys.executable, '-c', code], env=environment, cwd=cwd, capture_output=True, text=True)


ABSENT = {
    'from mmcv.ops import furthest_point': "mmcv.ops has no 'furthest_point' here; mmdetlike offers of it BorderA",
    'from mmdet.models import Nowhere': "mmdet.models has no 'Nowhere' here; mmdetlike offers of it ATSS, ATSSHead, A",
    'import mmcv.video': "No module named 'mmcv.video'; mmdetlike offers in its place mmcv.image, mmcv.cnn",
    'import mmdet.models.trackers': "No module named 'mmdet.models.trackers'; mmdetlike offers in its place mmdet.mode",
    'mmdet.core.nowhere': "mmdet.core has no 'nowhere' here; mmdetlike offers of it ",
}
TRYING = f"""
import importlib.util
for text in {list(ABSENT)}:
    try:
        exec(text)
    except ImportError as error:
        print(error)
# debuggers, doctest and torch look at every module for names like this
print(hasattr(mmcv.ops, '_nowhere'))
# mmengine asks so whether mmcv's kernels are there, before each training
print(importlib.util.find_spec('mmcv._ext'))
"""


def test_code_of_others_runs_and_what_is_absent_is_told_with_what_is_offered():
    finished = run(CODE + TRYING)
    versions, *messages, private, kernels = finished.stdout.splitlines() or [finished.stderr]
    assert versions == '2.1.0 3.3.0', finished.stderr
    assert len(messages) == len(ABSENT)
    assert all(message.startswith(expected) for message, expected in zip(messages, ABSENT.values())), messages
    assert (private, kernels) == ('False', 'None')


@pytest.mark.slow
def test_nothing_stands_in_without_the_import():
    finished = run('import mmdetlike.models\nimport mmcv.ops')
    assert "ModuleNotFoundError: No module named 'mmcv'" in finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize('first', ['import mmcv', ''])
def test_a_package_that_is_installed_is_not_shadowed(tmp_path, first):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('REAL = True')
    asked = f'{first}\nimport mmdetlike.compat.openmmlab, mmcv\nprint(mmcv.REAL)\nimport mmdet.models, mmcv.ops'
    finished = run(asked, tmp_path)
    assert finished.stdout.split() == ['True']
    # the real one has no such part, and ours isn't mixed into it
    assert "ModuleNotFoundError: No module named 'mmcv.ops'" in finished.stderr


@pytest.mark.parametrize('name', MODULES)
def test_every_entry_of_the_table_is_found_here(name):
    offer = MODULES[name]
    for source in offer.sources:
        assert importlib.import_module(source)
    for place in offer.renamed.values():
        module, _, path = place.partition(':')
        found = importlib.import_module(module)
        for part in path.split('.'):
            found = getattr(found, part)
        assert found is not None


# -- small functions ---------------------------------------------------------------------------------------------------


def test_multi_apply_gives_a_list_for_each_result():
    assert multi_apply(lambda a, b, c=0: (a + b, a * c), [1, 2], [3, 4], c=5) == ([4, 6], [5, 10])


def test_rows_are_put_where_a_mask_is():
    rows = unmap(torch.tensor([[1, 2], [3, 4]]), 3, torch.tensor([True, False, True]), fill=-1)
    assert rows.tolist() == [[1, 2], [-1, -1], [3, 4]]


def test_the_best_pairs_of_candidate_and_class():
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.3], [0.2, 0.05]])
    best, labels, candidates, results = filter_scores_and_topk(scores, 0.15, 3, dict(box=torch.arange(3)))
    assert best.tolist() == pytest.approx([0.9, 0.8, 0.3])
    assert (labels.tolist(), candidates.tolist()) == ([1, 0, 1], [0, 1, 1])
    assert results['box'].tolist() == [0, 1, 1]


def test_one_image_of_each_level_and_samples_apart():
    levels = [torch.arange(4).view(2, 2), torch.arange(2).view(2, 1)]
    assert [level.tolist() for level in select_single_mlvl(levels, 1)] == [[2, 3], [1]]
    sample = DetDataSample(metainfo=dict(img_id=3), gt_instances=InstanceData(labels=torch.tensor([1])))
    truths, ignored, metas = unpack_gt_instances([sample])
    assert (truths[0].labels.tolist(), ignored, metas) == ([1], [None], [dict(img_id=3)])
    assert reduce_mean(torch.tensor(2.0)) == 2.0


def test_pictures_are_read_and_written(tmp_path):
    image = np.zeros((4, 5, 3), np.uint8)
    image[..., 0] = 200  # blue
    assert imwrite(image, tmp_path / 'new' / 'x.png')
    assert np.array_equal(imread(tmp_path / 'new' / 'x.png'), image)
    assert np.array_equal(imread(tmp_path / 'new' / 'x.png', channel_order='rgb'), image[..., ::-1])
    assert imread(tmp_path / 'new' / 'x.png', 'grayscale').shape == (4, 5)
    assert imread(image) is image
