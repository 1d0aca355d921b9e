"""COCO's seven curves and TIDE's kinds of error, against the compiled evaluator, tidecv's numbers and cases by hand."""

import json

import numpy as np
import pytest
from faster_coco_eval.core import mask as rle

from mmdetlike.cli.coco_error_analysis import main
from mmdetlike.datasets.errors import DataError
from mmdetlike.evaluation.coco_overlaps import CocoOverlaps
from mmdetlike.evaluation.functional.coco_errors import AREAS, CURVES, ImageOverlaps, class_curves
from mmdetlike.evaluation.functional.coco_eval import CocoScores, coco_index
from mmdetlike.evaluation.functional.tide import breakdown, count_errors, judge

CLASSES = 4
IMAGES = 60
SUPERCATEGORIES = (0, 0, 1, 1)


def random_case(seed: int) -> tuple[list, list]:
    """Objects (image, label, xywh) and detections (image, label, xywh, score) that hit and miss them."""
    rng = np.random.default_rng(seed)
    objects, found = [], []
    for i in range(IMAGES):
        for _ in range(rng.integers(0, 6)):
            x, y = rng.uniform(0, 150, 2)
            w, h = rng.uniform(10, 60, 2)
            objects.append((i, int(rng.integers(CLASSES)), [x, y, w, h]))
            for _ in range(rng.integers(0, 4)):
                s = rng.choice([1, 4, 12])
                label = objects[-1][1] if rng.random() < 0.75 else int(rng.integers(CLASSES))
                corner = [x + rng.normal() * s, y + rng.normal() * s]
                size = [w * np.exp(rng.normal() * s * 0.02), h * np.exp(rng.normal() * s * 0.02)]
                found.append((i, label, corner + size, float(rng.random())))
        for _ in range(rng.integers(0, 3)):
            x, y = rng.uniform(0, 150, 2)
            w, h = rng.uniform(10, 60, 2)
            found.append((i, int(rng.integers(CLASSES)), [x, y, w, h], float(rng.random())))
    return objects, found


def image(objects: list, found: list, crowd=()) -> ImageOverlaps:
    """Of one image: objects (label, xywh) and detections (label, xywh, score)."""
    found = sorted(found, key=lambda row: -row[2])
    crowd = np.array(crowd or [0] * len(objects), dtype=bool)
    iou = np.zeros((len(found), len(objects)))
    if iou.size:
        iou[:] = rle.iou([list(row[1]) for row in found], [list(row[1]) for row in objects], crowd.astype(int).tolist())
    return ImageOverlaps(
        np.array([row[2] for row in found], dtype=float),
        np.array([row[0] for row in found], dtype=int),
        np.array([row[1][2] * row[1][3] for row in found], dtype=float),
        np.array([row[0] for row in objects], dtype=int),
        np.array([row[1][2] * row[1][3] for row in objects], dtype=float),
        crowd,
        iou,
    )


def images(objects: list, found: list) -> list[ImageOverlaps]:
    return [image([o[1:] for o in objects if o[0] == i], [f[1:] for f in found if f[0] == i]) for i in range(IMAGES)]


@pytest.mark.parametrize('area', ['all', 'small', 'medium'])
def test_the_first_three_curves_are_those_of_the_evaluator(area):
    objects, found = random_case(1)
    rows = [dict(image_id=i, category_id=c + 1, bbox=b, area=b[2] * b[3], iscrowd=0) for i, c, b in objects]
    detections = [
        dict(image_id=i, category_id=c + 1, bbox=b, area=b[2] * b[3], iscrowd=0, score=s) for i, c, b, s in found
    ]
    listed = [dict(id=i, height=300, width=300) for i in range(IMAGES)]
    categories = [dict(id=k + 1, name=str(k)) for k in range(CLASSES)]
    indices = (coco_index(listed, categories, rows), coco_index(listed, categories, detections))
    scores = CocoScores(*indices, 'bbox', iou_thrs=[0.1, 0.5, 0.75])
    for label in range(CLASSES):
        curves = class_curves(images(objects, found), label, SUPERCATEGORIES, AREAS[area])
        for name, threshold in (('C75', 0.75), ('C50', 0.5), ('Loc', 0.1)):
            expected = scores.precision(threshold, area, label + 1)
            assert curves[name].mean() == pytest.approx(expected, abs=1e-9)
        means = [curves[name].mean() for name in CURVES]
        assert means == sorted(means) and means[-1] == 1


def test_confusions_are_forgiven_by_supercategory():
    box = [0, 0, 10, 10]
    far = [100, 0, 10, 10]
    # the best detection of class 0 lies on an object of class 1 (its kin), the next on one of class 2
    scene = image(
        [(1, far), (2, [50, 50, 10, 10]), (0, box)], [(0, far, 0.9), (0, [50, 50, 10, 10], 0.8), (0, box, 0.7)]
    )
    curves = class_curves([scene], 0, SUPERCATEGORIES, AREAS['all'])
    means = {name: curves[name].mean() for name in CURVES}
    expected = {'C75': 1 / 3, 'C50': 1 / 3, 'Loc': 1 / 3, 'Sim': 1 / 2, 'Oth': 1, 'BG': 1, 'FN': 1}
    assert means == pytest.approx(expected)
    assert class_curves([scene], 3, SUPERCATEGORIES, AREAS['all']) is None


def test_a_background_detection_is_forgiven_last():
    scene = image([(0, [0, 0, 10, 10]), (0, [200, 0, 10, 10])], [(0, [99, 99, 9, 9], 0.9), (0, [0, 0, 10, 10], 0.8)])
    curves = class_curves([scene], 0, SUPERCATEGORIES, AREAS['all'])
    assert curves['Oth'].mean() == pytest.approx(0.5 * 51 / 101)
    assert curves['BG'].mean() == pytest.approx(51 / 101)


@pytest.mark.parametrize('found, kind', [
    ((0, [0, 0, 10, 10], 0.9), None),
    ((1, [0, 0, 10, 10], 0.9), 'Cls'),
    ((0, [0, 0, 10, 30], 0.9), 'Loc'),
    ((1, [0, 0, 10, 30], 0.9), 'Both'),
    ((0, [50, 50, 10, 10], 0.9), 'Bkg'),
])  # fmt: skip
def test_kinds_of_error(found, kind):
    judged = judge([image([(0, [0, 0, 10, 10])], [found])])
    counts = {name: count for name, count in count_errors(judged).items() if count}
    expected = {} if kind is None else {kind: 1}
    if kind in ('Both', 'Bkg'):
        expected['Miss'] = 1
    assert counts == expected


def test_duplicates_and_crowds():
    box = [0, 0, 10, 10]
    twice = judge([image([(0, box)], [(0, box, 0.9), (0, box, 0.8)])])
    assert {k: n for k, n in count_errors(twice).items() if n} == {'Dupe': 1}
    crowd = judge([image([(0, [0, 0, 50, 50])], [(0, box, 0.9), (0, box, 0.8)], crowd=[1])])
    assert not any(count_errors(crowd).values()) and len(crowd.scores) == 0


# AP and gains that tidecv 1.0.1 gives for the second and third random case, in percent
TIDECV = {
    2: dict(
        AP=19.1477, Cls=5.2150, Loc=11.7140, Both=0.9846, Dupe=1.2762, Bkg=7.4250, Miss=7.9810, FP=32.5850, FN=17.5628
    ),
    3: dict(
        AP=17.4899, Cls=8.3541, Loc=11.2541, Both=0.9718, Dupe=1.4693, Bkg=7.9262, Miss=6.8575, FP=33.0052, FN=16.4925
    ),
}


@pytest.mark.parametrize('seed', TIDECV)
def test_gains_are_those_of_tidecv(seed):
    gains = breakdown(judge(images(*random_case(seed))), CLASSES)
    for name, expected in TIDECV[seed].items():
        assert 100 * gains[name] == pytest.approx(expected, abs=1e-3), name


def test_seven_of_ten_objects_are_a_recall_of_seven_tenths():
    """In tidecv they are; COCO's evaluator has 0.7000000000000001 for its 71st recall, which they don't reach."""
    boxes = [[30 * number, 0, 10, 10] for number in range(10)]
    scene = image([(0, box) for box in boxes], [(0, box, 0.9) for box in boxes[:7]])
    assert breakdown(judge([scene]), 1)['AP'] == pytest.approx(71 / 101)
    assert class_curves([scene], 0, ['a'], AREAS['all'])['C50'].mean() == pytest.approx(70 / 101)


BOX, TURNED, FAR = [0, 0, 10, 10], [0, 0, 10, 25], [100, 0, 10, 10]


@pytest.mark.parametrize('objects, found, expected', [
    # tidecv's numbers, in percent; a wrong box over a right one of a lower score is dropped, not put right
    ([(0, BOX)], [(0, TURNED, 0.7), (0, FAR, 0.5), (0, BOX, 0.1)], dict(AP=33.333, Loc=16.667, Bkg=16.667, FP=66.667)),
    # the object is won by the wrong box, which has the higher score, so that the wrong class gains nothing
    ([(1, BOX), (0, FAR)], [(1, TURNED, 0.9), (0, BOX, 0.5)], dict(AP=0, Cls=0, Loc=50, Miss=0)),
    # of a class of which nothing is found, nothing remains to be asked for
    ([(0, BOX), (1, FAR)], [(0, BOX, 0.9)], dict(AP=50, Miss=50, FN=50)),
    ([(0, BOX), (1, FAR)], [(0, BOX, 0.9), (1, BOX, 0.5)], dict(AP=50, Cls=0, Bkg=0, Miss=0, FN=0)),
])  # fmt: skip
def test_gains_by_hand_are_those_of_tidecv(objects, found, expected):
    gains = breakdown(judge([image(objects, found)]), 2)
    assert {name: 100 * gains[name] for name in expected} == pytest.approx(expected, abs=1e-2)


def test_mending_a_class_puts_the_detection_right():
    box = [0, 0, 10, 10]
    confused = [image([(0, box)], [(1, box, 0.9)]), image([(1, box)], [(1, box, 0.8)])]
    gains = breakdown(judge(confused), 2)
    # class 1 has a wrong detection before its right one; class 0 has none
    assert gains['AP'] == pytest.approx((0 + 0.5) / 2)
    assert gains['Cls'] == pytest.approx(1 - 0.25)
    # of two on one object the one with the lower score goes
    both = judge([image([(0, box)], [(0, box, 0.5), (1, box, 0.9)])])
    assert breakdown(both, 1)['Cls'] == pytest.approx(0)


def write(tmp_path, found, **changes) -> list[str]:
    objects = [dict(id=1, image_id=1, category_id=7, bbox=[0, 0, 20, 20], area=400, iscrowd=0)]
    content = dict(
        images=[dict(id=1, file_name='a.jpg', width=64, height=64)],
        categories=[dict(id=7, name='a/b', supercategory='x'), dict(id=9, name='dog')],
        annotations=objects,
    )
    (tmp_path / 'ann.json').write_text(json.dumps(content | changes))
    (tmp_path / 'found.json').write_text(json.dumps(found))
    return [str(tmp_path / 'found.json'), str(tmp_path / 'out'), '--ann', str(tmp_path / 'ann.json')]


def test_tool(tmp_path, capsys):
    right = dict(image_id=1, category_id=7, bbox=[0, 0, 20, 20], score=0.9)
    main(write(tmp_path, [right, dict(right, bbox=[40, 40, 9, 9], score=0.95)]))
    content = json.loads((tmp_path / 'out' / 'errors.json').read_text())
    assert content['curves']['all classes']['small']['C50'] == pytest.approx(0.5)
    assert content['curves']['all classes']['large'] is None and content['curves']['dog']['all'] is None
    assert content['tide']['numbers']['Bkg'] == 1
    assert content['tide']['gains']['Bkg'] == pytest.approx(0.5)
    names = sorted(path.name for path in (tmp_path / 'out').glob('*.png'))
    assert names == ['bbox_000_a_b.png', 'bbox_001_dog.png', 'bbox_all_classes.png', 'tide.png']
    assert '| AP50  |' in capsys.readouterr().out


def test_masks(tmp_path):
    counts = rle.encode(np.asfortranarray(np.eye(64, dtype=np.uint8)[:, :, None]))[0]
    mask = dict(size=[64, 64], counts=counts['counts'].decode())
    changes = dict(
        annotations=[dict(id=1, image_id=1, category_id=7, bbox=[0, 0, 64, 64], area=64, iscrowd=0, segmentation=mask)]
    )
    found = dict(image_id=1, category_id=7, segmentation=mask, score=0.9)
    paths = write(tmp_path, [found], **changes)
    overlaps = CocoOverlaps(paths[0], paths[3], 'segm')
    assert overlaps.images[0].iou.tolist() == [[1.0]] and overlaps.images[0].areas.tolist() == [64]
    assert overlaps.supercategories == ['x', 'dog']


@pytest.mark.parametrize('found, message', [
    ({'a': 1}, r"found.json: expected a list of detections, got \{'a': 1\}"),
    ([dict(image_id=5, category_id=7, bbox=[0, 0, 1, 1], score=1)], 'has image_id=5, but .*ann.json has no such image'),
    ([dict(image_id=1, category_id=8, bbox=[0, 0, 1, 1], score=1)], 'has category_id=8, but .* has no such category'),
    ([dict(image_id=1, category_id=7, score=1)], 'a detection in image 1 has no bbox, which --type bbox needs'),
    ([dict(image_id=1, category_id=7, bbox=[0, 0, 1, 1])], "a detection lacks 'score'"),
    ([dict(image_id=1, category_id=7, bbox=[0, 0, 1, 1], score=float('nan'))], 'has score=nan; expected a number'),
    ([dict(image_id=1, category_id=7, bbox=[0, 0, float('inf'), 1], score=1)], 'expected four numbers'),
])  # fmt: skip
def test_wrong_files(tmp_path, found, message):
    paths = write(tmp_path, found)
    with pytest.raises(DataError, match=message):
        CocoOverlaps(paths[0], paths[3])
