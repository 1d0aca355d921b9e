"""Public data sets with their own folders, file names and quirks, by the shipped base configs: read, and scored."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle

from mmdetlike.registry import DATASETS, METRICS
from mmdetlike.utils import register_all_modules
from mmdetlike.utils.config import load_config

BASES = Path(__file__).parents[2] / 'configs/_base_/datasets'
SIZE = (96, 128)
CLOTHES = (
    *('top', 'skirt', 'leggings', 'dress', 'outer', 'pants', 'bag', 'neckwear', 'headwear', 'eyeglass', 'belt'),
    *('footwear', 'hair', 'skin', 'face'),
)
TRAFFIC = dict(person=24, rider=25, car=26, truck=27, bus=28, train=31, motorcycle=32, bicycle=33)
LVIS_IMAGE = dict(neg_category_ids=[], not_exhaustive_category_ids=[])
LVIS_CATEGORY = dict(synset='a.n.01', synonyms=['x'], frequency='r', image_count=2, instance_count=3)
FAKE = dict(isfake=0, isreflected=0)
ADDRESS = 'http://images.cocodataset.org/'

# base config: annotation file of validation, what an image says, where its picture is, categories, and quirks
LAYOUTS = {
    'lvis_v0.5_instance': dict(
        file='lvis_v0.5/annotations/lvis_v0.5_val.json',
        image=dict(file_name='COCO_val2014_000000391895.jpg', **LVIS_IMAGE),
        picture='lvis_v0.5/val2017/000000391895.jpg',
        categories=dict(acorn=1, air=7),
        category=LVIS_CATEGORY,
    ),
    'lvis_v1_instance': dict(
        file='lvis_v1/annotations/lvis_v1_val.json',
        image=dict(coco_url=f'{ADDRESS}train2017/000000391895.jpg', **LVIS_IMAGE),
        picture='lvis_v1/train2017/000000391895.jpg',
        categories=dict(acorn=1, air=7),
        category=LVIS_CATEGORY,
    ),
    'objects365v1_detection': dict(
        file='Objects365/Obj365_v1/annotations/objects365_val.json',
        image=dict(file_name='obj365_val_000000000001.jpg'),
        picture='Objects365/Obj365_v1/val/obj365_val_000000000001.jpg',
        categories=dict(chair=3, human=1),
        annotation=dict(iscrowd=0, **FAKE),
        order=('human', 'chair'),
    ),
    'objects365v2_detection': dict(
        file='Objects365/Obj365_v2/annotations/zhiyuan_objv2_val.json',
        image=dict(file_name='images/v1/patch8/objects365_v1_00420917.jpg', url=''),
        picture='Objects365/Obj365_v2/val/patch8/objects365_v1_00420917.jpg',
        categories=dict(Person=1, Tennis=365),
        annotation=dict(iscrowd=0, **FAKE),
    ),
    'v3det': dict(
        file='V3Det/annotations/v3det_2023_v1_val.json',
        image=dict(file_name='images/a00000066/14_225_x.jpg'),
        picture='V3Det/images/a00000066/14_225_x.jpg',
        categories=dict(tree=1, zebu=13204),
        category=dict(cat_info='', novel=False),
        annotation=dict(iscrowd=0),
    ),
    'isaid_instance': dict(
        file='iSAID/val/instancesonly_filtered_val.json',
        image=dict(file_name='P0003_0_800_0_800.png', seg_file_name='x'),
        picture='iSAID/val/images/P0003_0_800_0_800.png',
        categories=dict(storage_tank=1, Harbor=15),
        annotation=dict(iscrowd=0),
    ),
    'deepfashion': dict(
        file='DeepFashion/In-shop/Anno/segmentation/DeepFashion_segmentation_query.json',
        image=dict(file_name='img/WOMEN/Tees/id_1/02_1_front.jpg'),
        picture='DeepFashion/In-shop/Img/img/WOMEN/Tees/id_1/02_1_front.jpg',
        categories={name: number for number, name in enumerate(CLOTHES, 1)},
        annotation=dict(iscrowd=0),
    ),
    'cityscapes_instance': dict(
        file='cityscapes/annotations/instancesonly_filtered_gtFine_val.json',
        image=dict(file_name='lindau/lindau_000000_000019_leftImg8bit.png'),
        picture='cityscapes/leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png',
        categories=TRAFFIC,
        annotation=dict(iscrowd=0),
    ),
}
BOXES = [(5, 8, 40, 50), (60, 20, 30, 40)]


def outline(box) -> list[list[float]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def write(root: Path, layout: dict) -> None:
    """An image with an object of the first and one of the last category."""
    ids = list(layout['categories'].values())
    rows = [
        dict(id=i, image_id=7, category_id=category, bbox=box, area=box[2] * box[3], segmentation=outline(box))
        for i, (category, box) in enumerate(zip((ids[0], ids[-1]), BOXES), 1)
    ]
    content = dict(
        images=[dict(id=7, width=SIZE[1], height=SIZE[0], **layout['image'])],
        annotations=[{**row, **layout.get('annotation', {})} for row in rows],
        categories=[dict(id=i, name=name, **layout.get('category', {})) for name, i in layout['categories'].items()],
    )
    for name in (layout['file'], layout['picture']):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / layout['file']).write_text(json.dumps(content))
    Image.new('RGB', SIZE[::-1]).save(root / layout['picture'])


def perfect(info: dict) -> dict:
    """A prediction that is what is annotated."""
    found = info['instances']
    masks = [rle.merge(rle.frPyObjects([np.ravel(part).tolist() for part in item['mask']], *SIZE)) for item in found]
    prediction = dict(
        bboxes=torch.tensor([item['bbox'] for item in found]),
        labels=torch.tensor([item['bbox_label'] for item in found]),
        scores=torch.ones(len(found)),
        masks=masks,
    )
    return dict(img_id=info['img_id'], img_path=info['img_path'], ori_shape=SIZE, pred_instances=prediction)


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_base_config_reads_and_scores(name, tmp_path, monkeypatch):
    register_all_modules()
    layout = LAYOUTS[name]
    write(tmp_path, layout)
    monkeypatch.setenv('MMDETLIKE_DATASETS', str(tmp_path))
    cfg = load_config(BASES / f'{name}.py')
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    assert dataset.metainfo['classes'] == layout.get('order', tuple(layout['categories']))
    sample = dataset[0]
    assert Path(sample['data_samples'].img_path) == tmp_path / layout['picture']
    evaluator = cfg.val_evaluator[0] if isinstance(cfg.val_evaluator, list) else cfg.val_evaluator
    metric = METRICS.build(evaluator)
    metric.dataset_meta = dataset.metainfo
    metric.process(None, [perfect(dataset.get_data_info(0))])
    scores = metric.evaluate(1)
    means = [value for key, value in scores.items() if key.endswith(('_mAP', '_AP'))]
    assert means and all(value == pytest.approx(1) for value in means)
