"""Code that imports mmcv and mmdet, in processes of its own: what stands in for them, and what doesn't."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.compat.openmmlab.decorators import autocast_box_type, force_fp32
from mmdetlike.compat.openmmlab.finder import FINDER
from mmdetlike.compat.openmmlab.functional_losses import giou_loss, smooth_l1_loss
from mmdetlike.compat.openmmlab.helpers import (
    empty_instances,
    filter_scores_and_topk,
    get_classes,
    levels_to_images,
    mask2ndarray,
    mask_target,
    multi_apply,
    multiclass_nms,
    reduce_mean,
    select_single_mlvl,
    to_tensor,
    unmap,
    unpack_gt_instances,
)
from mmdetlike.compat.openmmlab.hooks import Hook
from mmdetlike.compat.openmmlab.images import (
    bgr2gray,
    imdenormalize,
    imflip,
    imfrombytes,
    imnormalize,
    impad,
    imread,
    imrescale,
    imresize,
    imwrite,
)
from mmdetlike.compat.openmmlab.parallel import DataContainer, MMDataParallel, collate, scatter
from mmdetlike.compat.openmmlab.replaced import REPLACED
from mmdetlike.compat.openmmlab.running import build_optimizer, init_random_seed, load_checkpoint
from mmdetlike.compat.openmmlab.table import MODULES
from mmdetlike.errors import CheckpointError, ConfigError
from mmdetlike.structures import BitmapMasks, DetDataSample, HorizontalBoxes

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
from mmcv.cnn import NORM_LAYERS
from mmcv.cnn.bricks.transformer import build_transformer_layer
from mmcv.ops.deform_conv import DeformConv2dPack
from mmcv.parallel import MMDataParallel, MMDistributedDataParallel, collate, is_module_wrapper, scatter
from mmcv.parallel.data_container import DataContainer
from mmcv.runner import HOOKS, Hook, _load_checkpoint, auto_fp16, force_fp32
from mmcv.runner import build_optimizer, get_dist_info, init_dist, load_checkpoint, save_checkpoint
from mmcv.runner.checkpoint import CheckpointLoader
from mmcv.runner.hooks import CheckpointHook
from mmdet.apis import get_root_logger, init_random_seed, set_random_seed
from mmcv.transforms import BaseTransform, LoadImageFromFile, cache_randomness, to_tensor
from mmdet.core import build_assigner, images_to_levels, mask_target, multiclass_nms
from mmdet.core.bbox.coder import BaseBBoxCoder
from mmdet.datasets.coco import CocoDataset
from mmdet.models import BaseDetector
from mmdet.models.backbones.resnet import Bottleneck
from mmdet.models.task_modules import BaseAssigner
from mmdet.version import version_info
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


@HOOKS.register_module()
class MyHook(Hook):
    pass


class MyTransform(BaseTransform):
    @cache_randomness
    def drawn(self):
        return 3

    def transform(self, results):
        return dict(x=self.drawn())


@mmcv.jit(derivate=True)
def once(x):
    return x


set_random_seed(init_random_seed(3))
first = torch.rand(2)
set_random_seed(3, deterministic=False)
assert torch.equal(torch.rand(2), once(first)) and get_dist_info() == (0, 1)
assert MyTransform()(dict())['x'] == 3 and version_info == (3, 3, 0)
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
    'from mmcv.runner import EvalHook': "mmcv.runner has no 'EvalHook' here: val_dataloader, val_evaluator and",
    'from mmdet.core import EvalHook': "mmdet.core has no 'EvalHook' here: val_dataloader, val_evaluator and",
    'from mmdet.core.evaluation.eval_hooks import DistEvalHook': "mmdet.core.evaluation.eval_hooks has no 'DistE",
    'from mmdet.apis import train_detector': "mmdet.apis has no 'train_detector' here: mmdetlike.engine.launch(cfg",
    'from mmdet.apis.test import single_gpu_test': "mmdet.apis.test has no 'single_gpu_test' here: `mmdetlike test",
    'from mmdet.datasets import build_dataloader': "mmdet.datasets has no 'build_dataloader' here: Runner.build_data",
    'mmcv.runner.wrap_fp16_model': "mmcv.runner has no 'wrap_fp16_model' here: AmpOptimWrapper trains, and init_detec",
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
    assert np.array_equal(imfrombytes((tmp_path / 'new' / 'x.png').read_bytes()), image)


def test_pictures_are_resized_flipped_and_padded():
    image = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert imresize(image, (3, 2)).shape == (2, 3)
    assert imresize(image, (3, 2), return_scale=True)[1:] == (0.5, 0.5)
    rescaled, factor = imrescale(image, (12, 100), return_scale=True)  # the shorter side is 12 at most
    assert (rescaled.shape, factor) == ((12, 18), 3.0)
    assert imrescale(image, 0.5).shape == (2, 3)
    assert imflip(image)[0].tolist() == [5, 4, 3, 2, 1, 0] and imflip(image, 'vertical')[0, 0] == 18
    padded = impad(image, shape=(5, 8), pad_val=9)
    assert padded.shape == (5, 8) and padded[4].tolist() == [9] * 8 and np.array_equal(padded[:4, :6], image)
    assert impad(image, padding=(1, 2)).shape == (8, 8) and impad(image, padding=1).shape == (6, 8)
    assert impad(image, padding=(1, 0, 0, 0), padding_mode='edge')[3, 0] == 18
    with pytest.raises(ValueError, match='either shape or padding'):
        impad(image)


def test_pictures_are_normalized_and_back():
    image = np.full((2, 2, 3), (10, 20, 40), np.uint8)
    normalized = imnormalize(image, np.array([40, 20, 0]), np.array([1, 1, 2]))
    assert normalized.dtype == np.float32 and normalized[0, 0].tolist() == [0, 0, 5]
    assert imdenormalize(normalized, np.array([40, 20, 0]), np.array([1, 1, 2]))[0, 0].tolist() == [10, 20, 40]
    assert bgr2gray(image, keepdim=True).shape == (2, 2, 1)


def test_suppression_by_classes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.0, 0.2], [0.0, 0.7, 0.3]])  # the last column is background
    dets, labels, indices = multiclass_nms(boxes, scores, 0.05, dict(type='nms', iou_threshold=0.5), return_inds=True)
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.7, 0.1]) and labels.tolist() == [0, 1, 1]
    assert scores[:, :-1].flatten()[indices].tolist() == dets[:, 4].tolist()
    nms = dict(type='nms', iou_threshold=0.5)
    dets, _ = multiclass_nms(boxes, scores, 0.05, nms, 1, torch.tensor([0.5, 1, 1]))
    assert dets.tolist() == [[0, 0, 10, 9, pytest.approx(0.8)]]
    dets, labels = multiclass_nms(boxes.repeat(1, 2), scores, 0.95, nms)
    assert dets.shape == (0, 5) and labels.shape == (0,)


def test_masks_to_learn_from():
    masks = BitmapMasks(np.stack([np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)]), 8, 8)
    target = mask_target([torch.tensor([[0.0, 0, 4, 4]])], [torch.tensor([1])], [masks], dict(mask_size=2))
    assert target.tolist() == [[[1, 1], [1, 1]]] and target.dtype == torch.float32
    assert mask2ndarray(masks).shape == mask2ndarray(torch.ones(2, 8, 8)).shape == (2, 8, 8)


def test_results_without_objects():
    metas = [dict(ori_shape=(3, 4)), dict(ori_shape=(5, 6))]
    found = empty_instances(metas, torch.device('cpu'), 'bbox')
    found = empty_instances(metas, torch.device('cpu'), 'mask', found)
    assert [tuple(result.masks.shape) for result in found] == [(0, 3, 4), (0, 5, 6)]
    assert found[0].bboxes.shape == (0, 4) and len(found[0].labels) == 0
    with pytest.raises(ConfigError, match="must be 'bbox' or 'mask', got 'box'"):
        empty_instances(metas, torch.device('cpu'), 'box')


def test_levels_become_images():
    levels = [torch.arange(8.0).view(2, 1, 2, 2), torch.tensor([8.0, 9]).view(2, 1, 1, 1)]
    assert [rows.flatten().tolist() for rows in levels_to_images(levels)] == [[0, 1, 2, 3, 8], [4, 5, 6, 7, 9]]
    assert to_tensor([1, 2]).tolist() == to_tensor(np.array([1, 2])).tolist() == [1, 2]


def test_class_names_by_the_name_of_a_dataset():
    assert get_classes('coco')[:2] == ['person', 'bicycle'] and len(get_classes('voc')) == 20
    with pytest.raises(ConfigError, match="knows no classes of 'nowhere'"):
        get_classes('nowhere')


def test_losses_as_functions():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 4, 4]])
    truth = torch.tensor([[0.0, 0, 10, 5], [0, 0, 4, 4]])
    assert giou_loss(boxes, truth, reduction='none').tolist() == pytest.approx([0.5, 0], abs=1e-6)
    assert giou_loss(boxes, truth, torch.tensor([1.0, 0]), avg_factor=2).item() == pytest.approx(0.25)
    assert smooth_l1_loss(boxes, truth, beta=2.0, reduction='sum').item() == 4


def test_decorators_of_others():
    @force_fp32(apply_to=('x',))
    def doubled(x):
        return 2 * x

    class Step:
        @autocast_box_type()
        def transform(self, results):
            return results

    assert doubled(2) == 4
    assert isinstance(Step().transform(dict(gt_bboxes=np.zeros((1, 4), np.float32)))['gt_bboxes'], HorizontalBoxes)


def test_hooks_whose_methods_take_the_runner_alone():
    class Counts(Hook):
        def __init__(self):
            self.calls = []

        def after_train_iter(self, runner):
            self.calls.append(('iter', self.every_n_iters(runner, 2), self.is_last_iter(runner)))

        def before_epoch(self, runner):
            self.calls.append(('epoch', self.is_last_epoch(runner)))

        def after_val_epoch(self, runner, metrics=None):
            self.calls.append(metrics)

    hook, runner = Counts(), SimpleNamespace(iter=1, max_iters=2, epoch=0, max_epochs=2)
    hook.before_train_epoch(runner)
    hook.after_train_iter(runner, batch_idx=0, data_batch=None, outputs=None)
    hook.after_val_epoch(runner, metrics=3)
    assert hook.calls == [('epoch', False), ('iter', True, True), 3]


# -- mmcv.parallel and mmcv.runner -------------------------------------------------------------------------------------


def test_containers_make_a_part_for_each_gpu_and_one_device_takes_its_part():
    samples = [
        dict(
            img=DataContainer(torch.full((3, height, 4), float(height)), stack=True, padding_value=-1),
            boxes=DataContainer(torch.ones(height, 4)),
            meta=DataContainer(dict(height=height), cpu_only=True),
            index=height,
        )
        for height in (2, 5, 3)
    ]
    batch = collate(samples, samples_per_gpu=2)
    assert [part.shape for part in batch['img'].data] == [(2, 3, 5, 4), (1, 3, 3, 4)]
    assert batch['img'].data[0][0, :, 2:].unique().tolist() == [-1]
    assert batch['img'].data[0][0, :, :2].unique().tolist() == [2]
    (part,) = scatter(batch, ['cpu'])
    assert [boxes.shape for boxes in part['boxes']] == [(2, 4), (5, 4)]
    assert part['meta'] == [dict(height=2), dict(height=5)]
    assert part['img'].shape == (2, 3, 5, 4) and part['index'] == [2, 5, 3]
    with pytest.raises(ConfigError, match=r'target_gpus=\[0, 1\], expected one device'):
        scatter(batch, [0, 1])


def test_samples_of_packed_pipelines_are_collated_too():
    batch = collate([dict(inputs=torch.ones(3, 2, 2), data_samples=DetDataSample())], samples_per_gpu=1)
    assert [tensor.shape for tensor in batch['inputs']] == [(3, 2, 2)]
    assert isinstance(batch['data_samples'][0], DetDataSample)


def test_a_model_on_one_device_behind_the_wrapper_of_others():
    model = torch.nn.Linear(2, 1)
    wrapped = MMDataParallel(model, device_ids=['cpu'])
    assert wrapped.module is model and torch.equal(wrapped(torch.ones(2)), model(torch.ones(2)))
    with pytest.raises(ConfigError, match=r'device_ids=\[0, 1\], expected one'):
        MMDataParallel(model, device_ids=[0, 1])


def test_an_optimizer_of_a_config_of_2():
    cfg = dict(type='SGD', lr=0.1, weight_decay=0.5, paramwise_cfg=dict(bias_decay_mult=0.0))
    optimizer = build_optimizer(torch.nn.Linear(2, 1), cfg)
    assert [group['weight_decay'] for group in optimizer.param_groups] == [0.5, 0.0]
    assert 'paramwise_cfg' in cfg  # what is given stays as it is
    assert build_optimizer(torch.nn.Linear(2, 1), dict(type='Adam', lr=0.1)).defaults['lr'] == 0.1


def test_a_checkpoint_is_loaded_without_running_its_code(tmp_path):
    model, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(CLASSES=('a',))), tmp_path / 'fine.pth')
    assert load_checkpoint(other, str(tmp_path / 'fine.pth'), 'cpu')['meta'] == dict(CLASSES=('a',))
    assert torch.equal(other.weight, model.weight)
    torch.save(dict(state_dict={}, meta=SimpleNamespace()), tmp_path / 'more.pth')
    with pytest.raises(CheckpointError, match=r'holds types\.SimpleNamespace, which is more than tensors'):
        load_checkpoint(other, str(tmp_path / 'more.pth'))
    assert init_random_seed(7) == 7


def test_what_is_replaced_is_nowhere_offered():
    renamed = {name for offer in MODULES.values() for name in offer.renamed}
    assert not renamed & set(REPLACED)
