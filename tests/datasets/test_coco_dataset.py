import gzip
import json
import pickle
import random

import cv2
import numpy as np
import pytest
import torch

from mmdetlike.datasets import (
    CocoDataset,
    ConcatDataset,
    DefaultSampler,
    ImageError,
    MultiImageMixDataset,
    SeededIndex,
    base,
    errors,
)
from mmdetlike.datasets.base import MAX_BROKEN_IN_A_ROW
from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError

META = {'classes': ('cat', 'dog')}


def image(number, width=100, height=80):
    return {'id': number, 'file_name': f'{number}.jpg', 'width': width, 'height': height}


def annotation(number, image_id, box, category=1, **extra):
    return {'id': number, 'image_id': image_id, 'category_id': category, 'bbox': list(box), **extra}


def content(images=(), annotations=(), categories=(('dog', 7), ('cat', 1), ('cow', 3))):
    categories = [{'id': i, 'name': name} for name, i in categories]
    return {'images': list(images), 'annotations': list(annotations), 'categories': categories}


@pytest.fixture
def messages(monkeypatch):
    logged = []
    monkeypatch.setattr(errors, 'print_log', lambda message, **kwargs: logged.append(message))
    return logged


@pytest.fixture
def make(tmp_path):
    def build(coco, **kwargs):
        text = coco if isinstance(coco, str) else json.dumps(coco)
        (tmp_path / 'ann.json').write_text(text)
        kwargs = {'metainfo': META, 'data_prefix': {'img': 'pics'}, **kwargs}
        return CocoDataset(ann_file='ann.json', data_root=str(tmp_path), **kwargs)

    return build


def test_what_a_data_info_holds(make, tmp_path):
    polygon = [[10, 10, 20, 10, 20, 20]]
    dataset = make(
        content(
            [image(5)],
            [
                annotation(1, 5, (10, 12, 30, 40), category=7, segmentation=polygon, area=50, keypoints=[1, 2, 2]),
                annotation(2, 5, (0, 0, 5, 5), category=1, iscrowd=1),
                annotation(3, 5, (0, 0, 5, 5), category=3),
            ],
        ),
        data_prefix={'img': 'pics', 'seg': 'maps'},
    )
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(tmp_path / 'pics/5.jpg')
    assert info['seg_map_path'] == str(tmp_path / 'maps/5.png')
    assert (info['img_id'], info['height'], info['width'], info['sample_idx']) == (5, 80, 100, 0)
    dog = {'bbox': [10, 12, 40, 52], 'bbox_label': 1, 'ignore_flag': 0}
    assert info['instances'] == [
        {**dog, 'mask': polygon, 'area': 50, 'keypoints': [1, 2, 2]},
        {'bbox': [0, 0, 5, 5], 'bbox_label': 0, 'ignore_flag': 1},
    ]


def test_labels_follow_classes_not_the_file(make):
    dataset = make(content([image(0)], [annotation(1, 0, (0, 0, 9, 9), 7), annotation(2, 0, (0, 0, 9, 9), 1)]))
    assert dataset.cat_ids == [1, 7]
    assert dataset.cat2label == {1: 0, 7: 1}
    assert dataset.cat_img_map == {1: [0], 7: [0]}
    assert dataset.get_cat_ids(0) == [1, 0]


def test_the_default_classes_are_cocos_80_with_distinct_colors():
    meta = CocoDataset.METAINFO
    assert (meta['classes'][0], meta['classes'][15], meta['classes'][79]) == ('person', 'cat', 'toothbrush')
    assert len(set(meta['classes'])) == len(set(meta['palette'])) == 80


def test_given_classes_get_a_palette_of_their_length(make):
    assert len(make(content([image(0)])).metainfo['palette']) == 2


def test_wrong_boxes_are_skipped_and_counted_in_one_warning(make, messages):
    nan = float('nan')
    rows = [
        ((10, 10, 0, 20), None),
        ((10, 10, -5, 20), None),
        ((nan, 0, 5, 5), None),
        ((200, 10, 20, 20), None),
        ((-30, 0, 20, 20), None),
        ((10, 10, 0.5, 20), None),
        ((90, 70, 30, 30), [90, 70, 100, 80]),
        ((-0.5, 0, 20, 20), [0, 0, 19.5, 20]),
        ((1, 2, 3, 4), [1, 2, 4, 6]),
    ]
    dataset = make(content([image(4)], [annotation(i, 4, box) for i, (box, _) in enumerate(rows)]))
    assert [i['bbox'] for i in dataset.get_data_info(0)['instances']] == [kept for _, kept in rows if kept]
    assert dataset.skipped == 6
    assert len(messages) == 1
    for part in (
        'skipped 6 annotations',
        '2 zero area',
        '1 not finite',
        '2 outside the image',
        '1 thinner than 1 px',
        'kept 1 annotations (1 clipped to the image)',
        'image 4 box xyxy [10.0, 10.0, 10.0, 30.0]',
    ):
        assert part in messages[0]
    assert messages[0].count('image 4 box') == 5


def test_nothing_is_said_when_nothing_is_wrong(make, messages):
    assert make(content([image(0)], [annotation(1, 0, (0, 0, 9, 9))], [('cat', 1), ('dog', 7)])).skipped == 0
    assert messages == []


def test_annotations_of_unlisted_images_are_counted(make, messages):
    assert make(content([image(0)], [annotation(1, 9, (0, 0, 9, 9))])).skipped == 1
    assert 'of an image not listed' in messages[-1]


def test_filtering_is_for_training_only(make):
    coco = content([image(0), image(1), image(2, 20, 20)], [annotation(i, i, (0, 0, 9, 9)) for i in (0, 2)])
    config = {'filter_empty_gt': True, 'min_size': 32}
    assert [i['img_id'] for i in map(make(coco, filter_cfg=config).get_data_info, range(1))] == [0]
    assert len(make(coco, filter_cfg=config)) == 1
    assert len(make(coco, filter_cfg={'min_size': 32})) == 2
    assert len(make(coco)) == 3
    assert len(make(coco, filter_cfg=config, test_mode=True)) == 3


def test_filter_settings_are_checked(make):
    with pytest.raises(ValueError, match=r"filter_cfg has \['filter_empty'\]; it accepts \['filter_empty_gt'"):
        make(content([image(0)]), filter_cfg={'filter_empty': True})


def test_nothing_left_after_filtering_says_what_removed_it(make):
    coco = content([image(0), image(1), image(2, 20, 20)])
    with pytest.raises(DataError, match=r'none of its 3 images .* 3 have no objects .* 1 are smaller than 32 px'):
        make(coco, filter_cfg={'filter_empty_gt': True, 'min_size': 32})


def test_no_images(make):
    with pytest.raises(DataError, match=r'ann\.json: there are no images in it'):
        make(content())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"annotation file '.*nowhere\.json' does not exist"):
        CocoDataset(ann_file='nowhere.json', data_root=str(tmp_path))
    with pytest.raises(DataError, match='set ann_file'):
        CocoDataset()


def test_broken_json_says_where(make):
    with pytest.raises(DataError, match=r'ann\.json: not valid JSON at line 2, column 14'):
        make('{"images": [],\n"categories" []}')


def test_a_file_of_another_kind(make):
    with pytest.raises(DataError, match=r"it has no list \['images', 'categories', 'annotations'\]; its keys: \['x'\]"):
        make({'x': 1})
    with pytest.raises(DataError, match=r'a JSON object, got \[1, 2\]'):
        make('[1, 2]')
    with pytest.raises(DataError, match=r"ann\.json: expected 'images' to be a list, got \{'1': \{\}\}"):
        make(content([]) | {'images': {'1': {}}})
    with pytest.raises(DataError, match=r'ann\.json: expected a JSON file, it is empty'):
        make(' \n')


def test_test_images_may_lack_annotations(make):
    coco = content([image(0)])
    del coco['annotations']
    assert len(make(coco, test_mode=True)) == 1
    with pytest.raises(DataError, match='annotations'):
        make(coco)


def test_classes_that_the_file_lacks(make, messages):
    with pytest.raises(DataError, match=r'None of the classes(.|\n)*person, car\n(.|\n)*\(3\): dog, cat, cow'):
        make(content([image(0)]), metainfo={'classes': ('person', 'car')})
    make(content([image(0)]), metainfo={'classes': ('cat', 'Dogs', 'zebu')})
    assert "2 of 3 classes are absent: 'Dogs' (closest: 'dog'); 'zebu'." in messages[-1]


def test_an_absent_class_keeps_the_labels_of_the_others(make, messages):
    dataset = make(
        content([image(0)], [annotation(1, 0, (0, 0, 9, 9), 7)]), metainfo={'classes': ('bee', 'cat', 'dog')}
    )
    assert dataset.cat2label == {1: 1, 7: 2}
    assert dataset.get_cat_ids(0) == [2]


def test_a_class_listed_twice(make):
    with pytest.raises(DataError, match=r"classes list \['cat'\] more than once"):
        make(content([image(0)]), metainfo={'classes': ('cat', 'cat')})
    with pytest.raises(DataError, match=r"categories of .* list \['cat'\] more than once"):
        make(content([image(0)], categories=[('cat', 1), ('cat', 2), ('dog', 3)]))


def test_classes_given_as_a_string(make):
    with pytest.raises(ValueError, match=r"sequence of names, got a string: write \('cat',\)"):
        make(content([image(0)]), metainfo={'classes': 'cat'})


@pytest.mark.parametrize('box', [[1, 2, 3], 'x', [[1, 2, 3, 4]], {}, [1, 2, 'w', 4], [None] * 4])
def test_a_box_that_is_none_is_named(make, box):
    coco = content([image(0)], [annotation(1, 0, (0, 0, 9, 9)), annotation(8, 0, ())])
    coco['annotations'][1]['bbox'] = box
    with pytest.raises(DataError, match=r'annotation 8 of image 0 has bbox=.*expected four numbers'):
        make(coco)


def test_missing_fields_are_named(make):
    coco = content([image(0)], [annotation(1, 0, (0, 0, 9, 9))])
    del coco['annotations'][0]['category_id']
    with pytest.raises(DataError, match="an annotation lacks 'category_id'"):
        make(coco)
    coco = content([image(0)])
    del coco['images'][0]['width']
    with pytest.raises(DataError, match=r"an image lacks \['width'\]"):
        make(coco)
    with pytest.raises(DataError, match='2 images but only 1 different ids'):
        make(content([image(0), image(0)]))


def test_where_images_are(make, tmp_path):
    assert make(content([image(5)]), data_prefix=None).get_data_info(0)['img_path'] == str(tmp_path / '5.jpg')
    with pytest.raises(ValueError, match=r"data_prefix has \['img_path'\]; it accepts \['img', 'seg'\]"):
        make(content([image(5)]), data_prefix={'img_path': 'pics'})


def test_an_argument_with_a_typo(make):
    with pytest.raises(TypeError, match='filter_config'):
        make(content([image(0)]), filter_config={})
    with pytest.raises(ValueError, match='backend_args'):
        make(content([image(0)]), file_client_args={'backend': 'disk'})


def many(count=6):
    return content([image(i) for i in range(count)], [annotation(i + 1, i, (0, 0, 9, 9)) for i in range(count)])


class Fail:
    """Fails on some images, draws a random number for the others."""

    def __init__(self, *broken):
        self.broken = broken

    def __call__(self, results):
        if results['img_id'] in self.broken:
            raise ImageError(results['img_path'], 'it is truncated')
        return results['img_id'], random.random(), np.random.rand(), torch.rand(1).item()


def test_a_broken_image_is_replaced_in_training_with_one_warning(make, messages):
    dataset = make(many(), pipeline=[Fail(2)])
    first = dataset[SeededIndex(2, 11)]
    assert first[0] != 2
    assert dataset[SeededIndex(2, 11)] == first
    assert len(messages) == 1
    assert 'Skipped a broken image (1 so far' in messages[0]
    assert 'pics/2.jpg: it is truncated' in messages[0]
    assert list(dataset.broken_images.values()) == ['it is truncated']


def test_a_broken_image_is_an_error_in_test_mode(make):
    dataset = make(many(), pipeline=[Fail(2)], test_mode=True)
    assert dataset[1][0] == 1
    with pytest.raises(ImageError, match=r'pics/2\.jpg: it is truncated'):
        dataset[2]


def test_only_broken_images_end_the_run_soon(make):
    dataset = make(many(), pipeline=[Fail(*range(6))])
    with pytest.raises(DataError, match=rf'{MAX_BROKEN_IN_A_ROW} images in a row could not be read(.|\n)*data_prefix'):
        dataset[0]


def test_a_pipeline_that_gives_up_is_tried_on_other_samples(make):
    dataset = make(many(2), pipeline=[lambda results: results if results['img_id'] else None])
    assert dataset[SeededIndex(0, 1)]['img_id'] == 1
    never = make(many(2), pipeline=[lambda results: None], max_refetch=3)
    with pytest.raises(RuntimeError, match='returned None for 4 samples in a row'):
        never[0]
    with pytest.raises(RuntimeError, match=r'returned None for sample 1 \(.*1\.jpg\)'):
        make(many(2), pipeline=[lambda results: None], test_mode=True)[1]


def test_a_sample_depends_on_the_seed_alone(make):
    dataset = make(many(), pipeline=[Fail()])
    first = dataset[SeededIndex(1, 42)]
    random.random(), np.random.rand(), torch.rand(1)
    assert dataset[SeededIndex(1, 42)] == first
    assert dataset[SeededIndex(1, 43)] != first


def test_worker_processes_change_nothing(make):
    dataset = make(many(), pipeline=[Fail(3)])
    runs = []
    for workers in (0, 2):
        sampler = DefaultSampler(dataset, seed=0)
        loader = torch.utils.data.DataLoader(dataset, 2, sampler=sampler, num_workers=workers, collate_fn=list)
        runs.append([sample for batch in loader for sample in batch])
    assert runs[0] == runs[1]
    assert len({sample[1] for sample in runs[0]}) == 6


def test_real_files_through_a_real_pipeline(make, tmp_path, messages):
    (tmp_path / 'pics').mkdir()
    for i in range(3):
        cv2.imwrite(str(tmp_path / f'pics/{i}.jpg'), np.full((80, 100, 3), 50 * i, np.uint8))
    whole = (tmp_path / 'pics/1.jpg').read_bytes()
    (tmp_path / 'pics/1.jpg').write_bytes(whole[:200])
    dataset = make(many(3), pipeline=[{'type': 'LoadImageFromFile'}])
    assert dataset[2]['img'].mean() == pytest.approx(100, abs=1)
    assert dataset[SeededIndex(1, 0)]['img_id'] != 1
    assert '1.jpg' in messages[-1]


def test_proposals_are_attached_by_folder_and_name(make, tmp_path):
    boxes = np.arange(8.0).reshape(2, 4)
    found = {f'pics/{i}.jpg': {'bboxes': boxes + i, 'scores': np.array([0.5, 0.4])} for i in range(2)}
    path = tmp_path / 'proposals.pkl'
    path.write_bytes(pickle.dumps(found))
    info = make(many(2), proposal_file=str(path)).get_data_info(1)
    assert info['proposals']['bboxes'].tolist() == (boxes + 1).tolist()
    with pytest.raises(DataError, match=r"no proposals for 1 of 3 images, e\.g\. \['pics/2\.jpg'\]"):
        make(many(3), proposal_file=str(path))
    with pytest.raises(FileNotFoundError, match='proposal_file'):
        make(many(2), proposal_file=str(tmp_path / 'none.pkl'))


BOX = [[1.0, 2, 30, 40]]


@pytest.mark.parametrize(
    'content',
    [
        {'pics/0.jpg': dict(bboxes=BOX, scores=[0.5]), '1.jpg': dict(bboxes=[], scores=[])},
        {0: dict(bboxes=BOX, scores=[0.5]), 1: dict(bboxes=[], scores=[])},
        [
            dict(image_id=0, bbox=[0, 0, 9, 9], score=0.2, category_id=7),
            dict(image_id='0', bbox=[1, 2, 29, 38], score='0.5'),
            dict(image_id=1, bbox=[3, 4, 5, 6], score=1),
        ],
    ],
    ids=['names', 'ids', 'results'],
)
def test_proposals_in_json_below_the_data_root(make, tmp_path, content):
    (tmp_path / 'proposals').mkdir()
    (tmp_path / 'proposals/p.json').write_text(json.dumps(content))
    info = make(many(2), proposal_file='proposals/p.json').get_data_info(0)
    assert info['proposals']['bboxes'][0].tolist() == BOX[0]
    assert info['proposals']['scores'][0] == 0.5


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        (
            {'0.jpg': dict(bboxes=[[1, 2, 3, 4, 0.5]], scores=[0.5])},
            r"image '0.jpg': bboxes are of shape \(1, 5\), exp",
        ),
        ({'0.jpg': dict(bboxes=BOX, scores=[0.5, 0.4])}, r"image '0.jpg': 1 bboxes have scores of shape \(2,\)"),
        ({'0.jpg': dict(bboxes=BOX)}, r"image '0.jpg': 'scores'"),
        (
            {'0.jpg': dict(bboxes=[[1, 2, 3, float('nan')]], scores=[1])},
            r"image '0.jpg': bboxes or scores are not finite",
        ),
        ([dict(image_id=0, bbox=[1, 2, 3], score=1)], r'a result of image 0 has bbox=\[1, 2, 3\]; expected four'),
        ([dict(image_id=0, bbox=[1e300, 2, 3, 4], score=1)], "image '0': a box or a score is beyond what 32 bits hold"),
        ([5], 'expected a result to be a JSON object'),
        (5, 'not a proposal file'),
    ],
)
def test_proposals_that_cannot_be_read(make, tmp_path, content, sentence):
    (tmp_path / 'p.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf'p\.json: .*{sentence}'):
        make(many(1), proposal_file='p.json')


def test_a_proposal_file_cannot_run_code(make, tmp_path):
    class Evil:
        def __reduce__(self):
            return eval, ('1 + 1',)

    (tmp_path / 'evil.pkl').write_bytes(pickle.dumps({'a': Evil()}))
    with pytest.raises(DataError, match=r'it holds builtins\.eval; only arrays'):
        make(many(2), proposal_file=str(tmp_path / 'evil.pkl'))


def test_class_names_go_into_the_sample_on_request(make):
    assert make(many(), return_classes=True).get_data_info(0)['text'] == ('cat', 'dog')
    assert 'text' not in make(many()).get_data_info(0)


def test_indices_have_to_select_something(make):
    coco = content([image(0), image(1)])
    assert len(make(coco, indices=[-1, 0, 0])) == 3
    assert len(make(coco, indices=1)) == len(make(coco, indices=range(1))) == 1
    for indices, told in (
        ([], r'indices=\[\] leaves none of its 2 images'),
        (0, 'indices=0 leaves none of its 2 images'),
        ([1, 5], r'indices has \[5\], but there are only 2 images'),
        ('a', "indices='a' should be a whole number or a list of them"),
        ([0.5], r'indices=\[0.5\] should be a whole number'),
        (True, 'indices=True should be a whole number'),
    ):
        with pytest.raises(ConfigError, match=rf'ann\.json: {told}'):
            make(coco, indices=indices)


@pytest.mark.parametrize('number', [-1, 1.5, '3', True, None])
def test_how_often_to_fetch_again_is_checked(make, number):
    with pytest.raises(ConfigError, match=rf'max_refetch={number!r} should be a whole number of at least 0'):
        make(many(2), max_refetch=number)
    with pytest.raises(ConfigError, match=rf'max_refetch={number!r} should be a whole number of at least 0'):
        MultiImageMixDataset(make(many(2)), [], max_refetch=number)


def test_paths_in_other_forms(make, tmp_path, monkeypatch):
    (tmp_path / 'b.json').write_text(json.dumps(content([image(5)])))
    dataset = CocoDataset(
        ann_file=tmp_path / 'b.json', data_root=tmp_path, metainfo=META, data_prefix={'img': tmp_path}
    )
    assert dataset.get_data_info(0)['img_path'] == str(tmp_path / '5.jpg')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert len(CocoDataset(ann_file='b.json', data_root='~', metainfo=META)) == 1
    with pytest.raises(ConfigError, match=r"ann_file=\['a', 'b'\] should be one path; .*ConcatDataset"):
        CocoDataset(ann_file=['a', 'b'])
    with pytest.raises(ConfigError, match=r"data_prefix='img/' should be a dict: write dict\(img='img/'\)"):
        CocoDataset(ann_file='a', data_prefix='img/')


def test_classes_from_a_file(make, tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('cat\n\n dog \r\n\n', encoding='utf-8-sig')
    assert make(content([image(0)]), metainfo={'classes': str(path)}).metainfo['classes'] == ('cat', 'dog')
    names = make(content([image(0)]), metainfo={'classes': np.array(['cat', 'dog'])}).metainfo['classes']
    assert [type(name) for name in names] == [str, str]
    for classes in ((), None, 5, ('cat', 5), ('cat', '')):
        with pytest.raises(ConfigError, match='should be a sequence of names'):
            make(content([image(0)]), metainfo={'classes': classes})


@pytest.mark.parametrize('metainfo', [{'clases': ('cat',)}, {'class': ('cat',)}])
def test_misspelled_classes_do_not_leave_the_default(make, metainfo):
    with pytest.raises(ConfigError, match="should be 'classes'"):
        make(content([image(0)]), metainfo=metainfo)
    with pytest.raises(ConfigError, match='metainfo=5 should be a dict'):
        make(content([image(0)]), metainfo=5)
    assert make(content([image(0)]), metainfo={'CLASSES': ('dog',)}).metainfo['classes'] == ('dog',)


def test_palettes_have_a_color_for_each_class(make, messages):
    errors._warned.discard('palette')
    palette = make(content([image(0)]), metainfo=META | {'palette': [(1, 2, 3)]}).metainfo['palette']
    assert palette[0] == (1, 2, 3) and len(palette) == 2
    assert 'palette has 1 colors for 2 classes' in ''.join(messages)
    for color in ((1, 2), (300, 0, 0), None, ('a', 'b', 'c')):
        with pytest.raises(ConfigError, match=r'palette\[0\]=.* should be three numbers from 0 to 255'):
            make(content([image(0)]), metainfo=META | {'palette': [color]})


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-be', 'utf-32'])
def test_names_in_other_scripts(tmp_path, encoding):
    text = json.dumps(content([image(0)], categories=[('猫', 1)]), ensure_ascii=False)
    (tmp_path / 'a.json').write_text(text, encoding=encoding)
    assert CocoDataset(ann_file=str(tmp_path / 'a.json'), metainfo={'classes': ('猫',)}).cat2label == {1: 0}


def test_another_encoding_is_named(tmp_path):
    (tmp_path / 'a.json').write_text('{"é": 1}', encoding='latin-1')
    with pytest.raises(DataError, match=r"a\.json: not text in UTF-8, UTF-16 or UTF-32: 'utf-8' codec can't"):
        CocoDataset(ann_file=str(tmp_path / 'a.json'))
    (tmp_path / 'a.json').write_bytes(gzip.compress(b'{}'))
    with pytest.raises(DataError, match=r'a\.json: expected a JSON file, it is one compressed by gzip: unpack it'):
        CocoDataset(ann_file=str(tmp_path / 'a.json'))


def test_no_annotation_file():
    with pytest.raises(DataError, match=r'^No annotation file given: set ann_file\.$'):
        CocoDataset(ann_file='')


def test_the_log_tells_what_is_used_and_what_is_not(make, monkeypatch):
    logged = []
    monkeypatch.setattr(base, 'print_log', lambda message, **kwargs: logged.append(message))
    rows = [
        annotation(1, 0, (0, 0, 9, 9)),
        annotation(2, 0, (0, 0, 9, 9), iscrowd=1),
        annotation(3, 0, (0, 0, 9, 9), 3),
    ]
    make(content([image(0), image(1), image(2, 20, 20)], rows), filter_cfg={'filter_empty_gt': True, 'min_size': 32})
    for part in (
        'ann.json: 1 images (0 without objects), 2 objects (1 ignored)',
        'left out 2 images (2 have no objects of the classes, 1 are smaller than 32 px)',
        'left out 1 objects of other classes',
    ):
        assert part in logged[-1]


def test_nothing_but_ignored_objects_is_a_warning(make, monkeypatch):
    warned = []
    monkeypatch.setattr(base, 'warn', warned.append)
    make(content([image(0)], [annotation(1, 0, (0, 0, 9, 9), iscrowd=1)]))
    assert 'all of its 1 objects are to be ignored' in warned[0]


def test_objects_without_masks_are_counted_where_masks_are_loaded(make, messages):
    square = [[0, 0, 9, 0, 9, 9]]
    rows = [annotation(1, 0, (0, 0, 9, 9)), annotation(2, 0, (0, 0, 9, 9), segmentation=square)]
    rows += [annotation(3, 0, (0, 0, 9, 9), segmentation=[[0, 0, 9]])]
    make(content([image(0)], rows, [('cat', 1), ('dog', 7)]))
    assert '1 without its mask: polygons with an odd number of coordinates' in messages[0]
    assert 'annotation 3 of image 0 segmentation [[0, 0, 9]]' in messages[0]
    assert 'annotation 1 ' not in messages[0]
    make(content([image(0)], rows), pipeline=[{'type': 'LoadAnnotations', 'with_mask': True}])
    assert '1 without a mask, hence ignored' in messages[-1] and 'annotation 1 of image 0' in messages[-1]


def test_every_reason_has_an_example():
    report = errors.SkipReport('a.json', max_examples=3)
    for reason in ('one', 'one', 'one', 'two', 'three', 'four'):
        report.skip(reason, f'example of {reason}')
    assert report.examples == [f'example of {n} ({n})' for n in ('one', 'two', 'three', 'four')]
    assert report.num_skipped == 6


def test_images_of_one_id_cannot_be_tested_together(make, tmp_path):
    sets = [make(content([image(0), image(1)]), test_mode=True), make(content([image(1)]), test_mode=True)]
    with pytest.raises(DataError, match=r'ann\.json and .*ann\.json both have an image 1; metrics tell images by'):
        ConcatDataset(sets).check_image_ids()
    ConcatDataset([sets[0], make(content([image(5)]), test_mode=True)]).check_image_ids()
    ConcatDataset([make(content([image(1)])), make(content([image(1)]))]).check_image_ids()


def test_other_keys_of_annotations_are_kept(tmp_path):
    annotation = dict(id=1, image_id=1, category_id=1, bbox=[1, 2, 9, 9], iscrowd=0, pose={'yaw': [0.5]}, note='n')
    content = dict(
        images=[dict(id=1, file_name='a.jpg', width=60, height=50)],
        categories=[dict(id=1, name='x')],
        annotations=[annotation, dict(id=2, image_id=1, category_id=1, bbox=[1, 2, 9, 9], iscrowd=0)],
    )
    (tmp_path / 'a.json').write_text(json.dumps(content))

    def build(keys):
        settings = dict(metainfo=dict(classes=('x',)), pipeline=[], extra_annotation_keys=keys)
        return CocoDataset(ann_file=str(tmp_path / 'a.json'), **settings)

    first, second = build(['pose']).get_data_info(0)['instances']
    assert first['pose'] == {'yaw': [0.5]} and 'note' not in first and 'pose' not in second
    with pytest.raises(ConfigError, match="extra_annotation_keys has 'bbox', which instances have already"):
        build(['bbox'])
    with pytest.raises(ConfigError, match="extra_annotation_keys='pose' should be a list of keys"):
        build('pose')
