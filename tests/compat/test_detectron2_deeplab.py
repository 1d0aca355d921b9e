"""Detectron2's DeepLab and Panoptic-DeepLab: their YAML files and state dicts of their names and shapes."""

import re

import pytest
import torch

from mmdetlike.compat.detectron2 import convert_state_dict, model_config, read_config, semantic_labels, whole_config
from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS, TRANSFORMS
from mmdetlike.structures import DetDataSample

BASE = """
MODEL:
  META_ARCHITECTURE: "SemanticSegmentor"
  BACKBONE: {FREEZE_AT: 0, NAME: "build_resnet_deeplab_backbone"}
  PIXEL_MEAN: [123.675, 116.280, 103.530]
  PIXEL_STD: [58.395, 57.120, 57.375]
  RESNETS:
    DEPTH: 50
    NORM: "SyncBN"
    OUT_FEATURES: ["res2", "res5"]
    RES4_DILATION: 1
    RES5_DILATION: 2
    RES5_MULTI_GRID: [1, 2, 4]
    STEM_TYPE: "deeplab"
    STEM_OUT_CHANNELS: 128
    STRIDE_IN_1X1: False
  SEM_SEG_HEAD:
    NAME: "DeepLabV3PlusHead"
    IN_FEATURES: ["res2", "res5"]
    PROJECT_FEATURES: ["res2"]
    PROJECT_CHANNELS: [48]
    NUM_CLASSES: 19
    CONVS_DIM: 256
    COMMON_STRIDE: 4
    NORM: "SyncBN"
DATASETS:
  TRAIN: ("cityscapes_fine_sem_seg_train",)
  TEST: ("cityscapes_fine_sem_seg_val",)
SOLVER:
  BASE_LR: 0.01
  MAX_ITER: 90000
  LR_SCHEDULER_NAME: "WarmupPolyLR"
INPUT:
  FORMAT: "RGB"
  MIN_SIZE_TRAIN: (512, 1024)
  CROP: {ENABLED: True, TYPE: "absolute", SIZE: [64, 128], SINGLE_CATEGORY_MAX_AREA: 0.75}
"""
V3 = """
_BASE_: base.yaml
MODEL:
  RESNETS: {OUT_FEATURES: ["res5"], RES4_DILATION: 2, RES5_DILATION: 4}
  SEM_SEG_HEAD:
    NAME: "DeepLabV3Head"
    IN_FEATURES: ["res5"]
    COMMON_STRIDE: 8
    LOSS_TYPE: "cross_entropy"
"""
PANOPTIC = """
_BASE_: base.yaml
MODEL:
  META_ARCHITECTURE: "PanopticDeepLab"
  RESNETS: {OUT_FEATURES: ["res2", "res3", "res5"]}
  SEM_SEG_HEAD:
    NAME: "PanopticDeepLabSemSegHead"
    IN_FEATURES: ["res2", "res3", "res5"]
    PROJECT_FEATURES: ["res2", "res3"]
    PROJECT_CHANNELS: [32, 64]
    LOSS_TOP_K: 0.25
    USE_DEPTHWISE_SEPARABLE_CONV: %(separable)s
  PANOPTIC_DEEPLAB: {STUFF_AREA: 4096, SIZE_DIVISIBILITY: 64, USE_DEPTHWISE_SEPARABLE_CONV: %(separable)s}
DATASETS:
  TRAIN: ("cityscapes_fine_panoptic_train",)
  TEST: ("cityscapes_fine_panoptic_val",)
INPUT: {GAUSSIAN_SIGMA: 8}
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text: str) -> dict:
        (tmp_path / 'base.yaml').write_text(BASE)
        path = tmp_path / 'config.yaml'
        path.write_text(text)
        return read_config(path)

    return read_text


# -- a state dict of their names and shapes ----------------------------------------------------------------------------


class Shapes(dict):
    """Name -> shape of each parameter."""

    def conv(self, name, out, inp, kernel, norm=True, bias=None):
        self[f'{name}.weight'] = (out, inp, kernel, kernel)
        if bias is True or (bias is None and not norm):
            self[f'{name}.bias'] = (out,)
        if norm:
            for part in ('weight', 'bias', 'running_mean', 'running_var'):
                self[f'{name}.norm.{part}'] = (out,)

    def separable(self, name, out, inp, kernel):
        self.conv(f'{name}.depthwise', inp, 1, kernel)
        self.conv(f'{name}.pointwise', out, inp, 1)

    def two(self, name, out, inp, middle, separable):
        if separable:
            return self.separable(name, out, inp, 5)
        self.conv(f'{name}.0', middle, inp, 3)
        self.conv(f'{name}.1', out, middle, 3)
        return None

    def backbone(self):
        for i, (out, inp) in enumerate([(64, 3), (64, 64), (128, 64)], start=1):
            self.conv(f'backbone.stem.conv{i}', out, inp, 3)
        channels = 128
        for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=2):
            for block in range(blocks):
                name = f'backbone.res{stage}.{block}'
                if block == 0:
                    self.conv(f'{name}.shortcut', 4 * width, channels, 1)
                self.conv(f'{name}.conv1', width, channels, 1)
                self.conv(f'{name}.conv2', width, width, 3)
                self.conv(f'{name}.conv3', 4 * width, width, 1)
                channels = 4 * width

    def aspp(self, name, inp, out, separable=False):
        self.conv(f'{name}.convs.0', out, inp, 1)
        for branch in (1, 2, 3):
            if separable:
                self.separable(f'{name}.convs.{branch}', out, inp, 3)
            else:
                self.conv(f'{name}.convs.{branch}', out, inp, 3)
        # after the averaging, which has no parameters
        self.conv(f'{name}.convs.4.1', out, inp, 1)
        self.conv(f'{name}.project', out, 5 * out, 1)

    def decoder(self, head, project, out, separable=False):
        self.aspp(f'{head}.decoder.res5.project_conv', 2048, 256, separable)
        deeper = 256
        for level in reversed(project):
            self.conv(f'{head}.decoder.{level}.project_conv', project[level], {'res2': 256, 'res3': 512}[level], 1)
            self.two(f'{head}.decoder.{level}.fuse_conv', out, project[level] + deeper, out, separable)
            deeper = out


def state_of(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Each entry is filled with its own number."""
    return {name: torch.full(shape, float(number)) for number, (name, shape) in enumerate(shapes.items())}


def panoptic_shapes(separable: bool) -> Shapes:
    shapes = Shapes()
    shapes.backbone()
    project = {'res2': 32, 'res3': 64}
    shapes.decoder('sem_seg_head', project, 256, separable)
    shapes.two('sem_seg_head.head', 256, 256, 256, separable)
    shapes.conv('sem_seg_head.predictor', 19, 256, 1, norm=False)
    shapes.decoder('ins_embed_head', project, 128, separable)
    shapes.two('ins_embed_head.center_head', 32, 128, 128, False)
    shapes.conv('ins_embed_head.center_predictor', 1, 32, 1, norm=False)
    shapes.two('ins_embed_head.offset_head', 32, 128, 128, separable)
    shapes.conv('ins_embed_head.offset_predictor', 2, 32, 1, norm=False)
    return shapes


def loaded(cfg, state):
    model = MODELS.build(model_config(cfg))
    model.load_state_dict(convert_state_dict(state, model), strict=True)
    return model.eval()


def predicted(model):
    sample = DetDataSample(metainfo=dict(img_shape=(64, 128), ori_shape=(64, 128), scale_factor=(1.0, 1.0)))
    image = torch.randint(256, (3, 64, 128), dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), False)
    with torch.no_grad():
        return model(**data, mode='predict')[0]


# -- what is built -----------------------------------------------------------------------------------------------------


def test_v3_plus(read):
    cfg = read(BASE)
    shapes = Shapes()
    shapes.backbone()
    shapes.decoder('sem_seg_head', {'res2': 48}, 256)
    shapes.conv('sem_seg_head.predictor', 19, 256, 1, norm=False)
    state = state_of(shapes)
    model = loaded(cfg, state)
    ours = model.state_dict()
    for name, theirs in {
        'backbone.stem.3.weight': 'backbone.stem.conv2.weight',
        'backbone.stem.7.running_mean': 'backbone.stem.conv3.norm.running_mean',
        'semantic_head.decoder.aspp.convs.4.weight': 'sem_seg_head.decoder.res5.project_conv.convs.4.1.weight',
        'semantic_head.decoder.projections.0.bn.weight': 'sem_seg_head.decoder.res2.project_conv.norm.weight',
        'semantic_head.decoder.fusions.0.1.conv.weight': 'sem_seg_head.decoder.res2.fuse_conv.1.weight',
        'semantic_head.conv_logits.bias': 'sem_seg_head.predictor.bias',
    }.items():
        assert torch.equal(ours[name], state[theirs]), name
    assert predicted(model).pred_sem_seg.sem_seg.shape == (1, 64, 128)


def test_v3_of_a_dilated_backbone(read):
    cfg = read(V3)
    shapes = Shapes()
    shapes.backbone()
    shapes.aspp('sem_seg_head.aspp', 2048, 256)
    shapes.conv('sem_seg_head.predictor', 19, 256, 1, norm=False)
    model = loaded(cfg, state_of(shapes))
    built = model_config(cfg)
    assert built['backbone']['strides'] == [1, 2, 1, 1]
    assert built['backbone']['dilations'] == [1, 1, 2, (4, 8, 16)]
    head = built['semantic_head']
    # of the crop of 64 x 128 pixels
    assert (head['pool_kernel_size'], head['in_index']) == ([8, 16], 0)
    assert head['loss_seg'] == dict(type='CrossEntropyLoss', avg_non_ignore=True, ignore_index=255, loss_weight=1.0)
    assert predicted(model).pred_sem_seg.sem_seg.shape == (1, 64, 128)


@pytest.mark.parametrize('separable', [False, True])
def test_panoptic_deeplab(read, separable):
    cfg = read(PANOPTIC % dict(separable=separable))
    state = state_of(panoptic_shapes(separable))
    # of 11 classes of stuff and 8 of things
    state['sem_seg_head.predictor.bias'] = torch.arange(19.0)
    model = loaded(cfg, state)
    assert model.semantic_head.conv_logits.bias.tolist() == [*range(11, 19), *range(11)]
    tower = 'offset_head.pointwise.weight' if separable else 'offset_head.1.weight'
    layer = model.center_head.offset_tower[0].pointwise_conv if separable else model.center_head.offset_tower[1]
    assert torch.equal(layer.conv.weight, state[f'ins_embed_head.{tower}'])
    middle = model.semantic_head.decoder.projections[1].conv.weight
    assert torch.equal(middle, state['sem_seg_head.decoder.res3.project_conv.weight'])
    assert predicted(model).pred_panoptic_seg.sem_seg.shape == (1, 64, 128)


def test_settings_of_panoptic_deeplab(read):
    cfg = read(PANOPTIC % dict(separable=False))
    built = model_config(cfg)
    assert built['data_preprocessor']['pad_size_divisor'] == 64
    assert built['semantic_head']['loss_seg']['kept_share'] == 0.25
    assert built['center_head']['radius'] == 24
    assert built['center_head']['loss_center'] == dict(type='MSELoss', loss_weight=200.0)
    assert built['test_cfg'] == dict(center_thr=0.1, center_kernel=7, max_per_img=200, stuff_area_limit=4096)
    # theirs begin with stuff
    assert semantic_labels(torch.tensor([0, 10, 11, 18, 255]), cfg).tolist() == [8, 18, 0, 7, 255]


def test_coco_numbers_things_first_as_we_do(read):
    cfg = read(PANOPTIC % dict(separable=False))
    cfg['DATASETS'] = dict(TRAIN=['coco_2017_train_panoptic'], TEST=['coco_2017_val_panoptic'])
    cfg['MODEL']['SEM_SEG_HEAD']['NUM_CLASSES'] = 133
    assert model_config(cfg)['panoptic_fusion_head']['num_things_classes'] == 80
    assert semantic_labels(torch.tensor([0, 132, 255]), cfg).tolist() == [0, 132, 255]
    assert whole_config(cfg)['train_dataloader']['dataset']['ann_file'] == 'annotations/panoptic_train2017.json'


@pytest.mark.parametrize(
    ('text', 'folder', 'optimizer', 'metric'),
    [
        (BASE, 'gtFine/train/', 'SGD', 'SemSegMetric'),
        (PANOPTIC % dict(separable=False), None, 'Adam', 'CocoPanopticMetric'),
    ],
)
def test_schedule_and_data(read, text, folder, optimizer, metric):
    whole = whole_config(read(text))
    assert whole['param_scheduler'][1] == dict(
        type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=90000
    )
    assert whole['optim_wrapper']['optimizer']['type'] == optimizer
    dataset = whole['train_dataloader']['dataset']
    assert dataset['data_prefix'].get('seg_map_path') == folder
    assert len(dataset['metainfo']['classes']) == 19
    evaluator = whole['val_evaluator']
    assert (evaluator[0] if isinstance(evaluator, list) else evaluator)['type'] == metric
    # theirs says height and width; it crops what is resized
    kinds = [transform['type'] for transform in dataset['pipeline']]
    assert kinds[2:] == ['RandomChoiceResize', 'CategoryAreaCrop', 'RandomFlip', 'PackDetInputs']
    assert dataset['pipeline'][3]['crop_size'] == (128, 64)
    for transform in dataset['pipeline']:
        TRANSFORMS.build(transform)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            'MODEL: {SEM_SEG_HEAD: {COMMON_STRIDE: 8}}',
            "MODEL.SEM_SEG_HEAD has IN_FEATURES ['res2', 'res5'] and COMMON_ST",
        ),
        (
            'MODEL: {SEM_SEG_HEAD: {PROJECT_FEATURES: ["res3"]}}',
            "PROJECT_FEATURES ['res3'] and PROJECT_CHANNELS [48]: exp",
        ),
        ('MODEL: {SEM_SEG_HEAD: {LOSS_TYPE: "dice"}}', "MODEL.SEM_SEG_HEAD.LOSS_TYPE is 'dice'"),
        ('MODEL: {RESNETS: {STEM_TYPE: "s2d"}}', "MODEL.RESNETS.STEM_TYPE is 's2d'"),
        ('INPUT: {CROP: {TYPE: "relative"}}', "INPUT.CROP has TYPE 'relative' and SIZE [64, 128]"),
        ('INPUT: {CROP: {SIZE: [60, 128]}}', 'sides that the stride 16 divides'),
        ('MODEL: {SEM_SEG_HEAD: {NAME: "PointRendSemSegHead"}}', "MODEL.SEM_SEG_HEAD.NAME is 'PointRendSemSegHead'"),
    ],
)
def test_what_has_no_counterpart_is_refused(read, change, message):
    cfg = read(f'_BASE_: base.yaml\n{change}')
    with pytest.raises(ConfigError, match=re.escape(message)):
        model_config(cfg)


def test_things_of_an_unknown_data_set_are_not_guessed(read):
    cfg = read(PANOPTIC % dict(separable=False))
    cfg['DATASETS']['TRAIN'] = ['mine_train']
    with pytest.raises(ConfigError, match=r"DATASETS \['mine_train', .*=19 does not say which classes are things"):
        model_config(cfg)


def test_keys_of_the_projects_are_no_settings_of_others(tmp_path):
    path = tmp_path / 'config.yaml'
    path.write_text('MODEL: {SEM_SEG_HEAD: {ASPP_CHANNELS: 128}}')
    with pytest.raises(ConfigError, match=r'MODEL.SEM_SEG_HEAD.ASPP_CHANNELS is no setting'):
        read_config(path)
