"""Data sets in DSDL: definitions, samples, and what is wrong in them."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from mmdetlike.datasets import DataError, DSDLDetDataset
from mmdetlike.datasets.dsdl_types import Type, read_type
from mmdetlike.errors import ConfigError

CLASSES = """
$dsdl-version: "0.5.3"
VOCClassDom:
    $def: class_domain
    classes:
        - aeroplane
        - dog
        - cat
"""
STRUCTS = """
$dsdl-version: "0.5.3"
LocalObjectEntry:
    $def: struct
    $params: ['cdom']
    $fields:
        bbox: BBox
        label: Label[dom=$cdom]
        is_difficult: Bool
    $optional: ['is_difficult']
ObjectDetectionSample:
    $def: struct
    $params: ['cdom']
    $fields:
        image: Image
        image_shape: ImageShape
        objects: List[LocalObjectEntry[cdom=$cdom]]
    $optional: ['image_shape']
"""
TRAIN = """
$dsdl-version: "0.5.3"
$import:
    - ../defs/class-dom
    - ../defs/object-detection-def
meta:
    dataset_name: "VOC2007"
    sub_dataset_name: "train"
data:
    sample-type: ObjectDetectionSample[cdom=VOCClassDom]
    sample-path: train_samples.json
"""
SAMPLES = {
    'samples': [
        {
            'image': 'JPEGImages/1.png',
            'objects': [
                {'bbox': [8, 9, 40, 20], 'label': 'dog', 'is_difficult': False},
                {'bbox': [1, 2, 30, 40], 'label': 3, 'is_difficult': True},
                {'bbox': [0, 0, 9, 9], 'label': 1},
            ],
        },
        {'image': 'JPEGImages/2.png', 'image_shape': [40, 50], 'objects': []},
    ]
}
INLINE = """
$dsdl-version: "0.5.3"
Animals:
    $def: class_domain
    classes: [animal, 'dog[animal]', 'puppy[Animals.dog]', 7]
Entry:
    $def: struct
    $params: ['cdom']
    $fields:
        whole: BBox
        seen: BBox
        category: Label[dom=$cdom]
        outline: Polygon
        iscrowd: Int
        depth: Num
    $optional: [whole, outline, depth]
Inner:
    $def: struct
    $params: [names]
    $fields: {parts: "List[ordered=True, etype=Entry[cdom=$names]]"}
Sample:
    $def: struct
    $params: ['cdom']
    $fields:
        media: ImageMedia
        shape: ImageShape
        annotations: Inner[names=$cdom]
        tags: List[Label[dom=$cdom]]
        source: Str
    $optional: [annotations]
meta: {dataset_name: inline}
data:
    sample-type: Sample[cdom=Animals]
    sample-path: $local
    samples:
      - media: a.png
        shape: [64, 96]
        source: web
        tags: [dog, 'Animals::animal']
        annotations:
            parts:
                - {whole: [8, 9, 40, 20], seen: [8, 9, 4, 2], category: animal.dog, iscrowd: 0, depth: 1.5,
                   outline: [[[8, 9], [48, 9], [48, 29]], [[10, 20], [20, 20], [20, 25]]]}
                - {whole: [0, 0, 90, 60], seen: [1, 1, 2, 2], category: '7', iscrowd: 1}
                - {seen: [1, 1, 2, 2], category: animal, iscrowd: 0}
      - {media: b.png, shape: [64, 96], source: book, tags: []}
"""
WHOLE = dict(Bbox='./annotations/parts/*/whole')


@pytest.fixture
def folder(tmp_path):
    for name in ('defs', 'set-train', 'original/JPEGImages'):
        (tmp_path / name).mkdir(parents=True)
    Image.new('RGB', (96, 64)).save(tmp_path / 'original/JPEGImages/1.png')
    (tmp_path / 'defs/class-dom.yaml').write_text(CLASSES)
    (tmp_path / 'defs/object-detection-def.yaml').write_text(STRUCTS)
    (tmp_path / 'set-train/train.yaml').write_text(TRAIN)
    (tmp_path / 'set-train/train_samples.json').write_text(json.dumps(SAMPLES))
    (tmp_path / 'inline.yaml').write_text(INLINE)
    return tmp_path


def train(folder, **arguments) -> DSDLDetDataset:
    files = dict(data_root=str(folder), ann_file='set-train/train.yaml', data_prefix=dict(img_path='original'))
    return DSDLDetDataset(**files, **arguments)


def inline(folder, paths=WHOLE, **arguments) -> DSDLDetDataset:
    return DSDLDetDataset(data_root=str(folder), ann_file='inline.yaml', specific_key_path=paths, **arguments)


def objects(dataset, index: int = 0) -> list[tuple]:
    instances = dataset.get_data_info(index)['instances']
    return [(item['bbox'], item['bbox_label'], item['ignore_flag']) for item in instances]


def test_boxes_and_classes(folder):
    dataset = train(folder, specific_key_path=dict(ignore_flag='./objects/*/is_difficult'))
    assert dataset.metainfo['classes'] == ('aeroplane', 'dog', 'cat')
    assert len(dataset.metainfo['palette']) == 3
    assert objects(dataset) == [([8, 9, 48, 29], 1, 0), ([1, 2, 31, 42], 2, 1), ([0, 0, 9, 9], 0, 0)]
    first, second = dataset.get_data_info(0), dataset.get_data_info(1)
    assert first['img_path'] == str(folder / 'original/JPEGImages/1.png')
    assert (first['width'], first['height']) == (96, 64)  # of the picture
    assert (second['width'], second['height'], second['instances']) == (50, 40, [])  # of the file


def test_chosen_classes_and_filters(folder):
    dataset = train(folder, metainfo=dict(classes=('cat', 'dog')), filter_cfg=dict(filter_empty_gt=True))
    assert objects(dataset) == [([8, 9, 48, 29], 1, 0), ([1, 2, 31, 42], 0, 0)]
    assert len(dataset) == 1
    dataset = train(folder, filter_cfg=dict(bbox_min_size=15))
    assert [ignored for _, _, ignored in objects(dataset)] == [0, 0, 1]
    with pytest.raises(DataError, match=r'None of the classes is in .*train.yaml'):
        train(folder, metainfo=dict(classes=('horse',)))
    with pytest.raises(ConfigError, match="bbox_min_size='a'; expected a number"):
        train(folder, filter_cfg=dict(bbox_min_size='a'))


def test_polygons_of_inline_samples(folder):
    extra = dict(ignore_flag='annotations/parts/*/iscrowd', depth='./annotations/parts/*/depth', origin='./source')
    dataset = inline(folder, {**WHOLE, **extra}, with_polygon=True)
    assert objects(dataset) == [([8, 9, 48, 29], 1, 0), ([0, 0, 90, 60], 3, 1)]
    info = dataset.get_data_info(0)
    assert [item.get('mask') for item in info['instances']] == [[[8, 9, 48, 9, 48, 29], [10, 20, 20, 20, 20, 25]], None]
    assert [item['depth'] for item in info['instances']] == [1.5, None]
    assert (info['origin'], dataset.get_data_info(1)['origin']) == ('web', 'book')
    assert dict(dataset.report.skipped) == {'without a box': 1}
    around = inline(folder, {}, with_bbox=False, with_polygon=True)
    assert objects(around) == [([8, 9, 48, 29], 1, 0)]


def test_classes_of_pictures_and_superclasses(folder):
    dataset = inline(folder, with_imagelevel_label=True, with_hierarchy=True)
    assert dataset.get_data_info(0)['image_level_labels'].tolist() == [0, 1]
    assert dataset.get_data_info(1)['image_level_labels'].tolist() == []
    expected = [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert dataset.metainfo['RELATION_MATRIX'].tolist() == expected
    chosen = inline(folder, with_hierarchy=True, metainfo=dict(classes=('puppy', 'animal')))
    assert chosen.metainfo['RELATION_MATRIX'].tolist() == [[0, 1], [0, 0]]
    alone = inline(folder, {}, with_bbox=False, with_imagelevel_label=True)
    assert alone.get_data_info(0)['image_level_labels'].dtype == np.int64
    assert alone.get_data_info(0)['instances'] == []


def test_values_are_transformed(folder):
    functions = dict(Label=lambda label: 'dog' if label == 'cat' or label == 3 else label, BBox=lambda box: box[::-1])
    dataset = train(folder, pre_transform=functions)
    assert next(box for box, _, _ in objects(dataset)) == [20, 40, 29, 48]
    assert [label for _, label, _ in objects(dataset)] == [1, 1]


def test_definitions_in_a_library(folder, tmp_path_factory):
    library = tmp_path_factory.mktemp('library')
    (folder / 'defs/class-dom.yaml').rename(library / 'class-dom.yaml')
    text = TRAIN.replace('../defs/class-dom', 'class-dom')
    (folder / 'set-train/train.yaml').write_text(text)
    assert len(train(folder, library_path=str(library))) == 2
    with pytest.raises(DataError, match=r"train.yaml: imports 'class-dom', but there is no file .*class-dom.yaml"):
        train(folder)


CLASS_FILE = 'defs/class-dom.yaml'
STRUCT_FILE = 'defs/object-detection-def.yaml'
TRAIN_FILE = 'set-train/train.yaml'
WRONG_FILES = [
    (TRAIN_FILE, 'class-dom', 'none', r"train.yaml: imports '../defs/none', but there is no file .*none.yaml"),
    (CLASS_FILE, 'VOCClassDom:', '$import: [../set-train/train]\nV:', "imports '../set-train/train', which imports it"),
    (CLASS_FILE, 'VOCClassDom:', 'Other:', r"Label of the domain 'VOCClassDom'; the domains .*\['Other'\]"),
    (CLASS_FILE, '- dog', '- cat', r"class-dom.yaml: VOCClassDom lists \['cat'\] twice"),
    (CLASS_FILE, '- dog', '- yes', r'class-dom.yaml: VOCClassDom has classes=.*list of names; YAML'),
    (CLASS_FILE, 'class_domain', 'domain', r"VOCClassDom has \$def='domain'; expected 'struct' or"),
    (CLASS_FILE, 'VOCClassDom', 'LocalObjectEntry', 'LocalObjectEntry is defined already, by .*class-dom.yaml'),
    (TRAIN_FILE, 'ObjectDetectionSample', 'Sample', "train.yaml: sample-type is of type 'Sample', which is"),
    (TRAIN_FILE, '[cdom=VOCClassDom]', '', r"ObjectDetectionSample without its parameters \['cdom'\]"),
    (TRAIN_FILE, 'cdom=VOC', 'cdom==VOC', 'expected one as List'),
    (TRAIN_FILE, 'train_samples.json', '', r"train.yaml: has sample-path=None; expected a path, or '\$local'"),
    (TRAIN_FILE, 'train_samples.json', 'val.json', r"has sample-path='val.json', but there is no file .*/val.json"),
    (TRAIN_FILE, 'data:', 'dota:', 'train.yaml: has data=None; expected sample-type'),
    (STRUCT_FILE, 'BBox', 'Bbox', r"field bbox is of type 'Bbox', which is not defined \(closest: BBox"),
    (STRUCT_FILE, 'bbox: BBox', 'b: Str', 'samples have no field of type BBox of an object; they'),
    (STRUCT_FILE, 'Label[dom=$cdom]', 'Int', 'samples have no field of type Label of an object'),
    (STRUCT_FILE, 'BBox', 'LocalObjectEntry[cdom=$cdom]', 'nested more than 20 deep'),
    (STRUCT_FILE, 'List[LocalObjectEntry[cdom=$cdom]]', 'List', 'field objects is a List of nothing'),
    (STRUCT_FILE, 'is_difficult: Bool', 'b: BBox', r'several fields .*BBox, ./objects/\*/bbox, .*Bbox='),
    (STRUCT_FILE, '$fields:', '$field:', r'LocalObjectEntry has \$fields=None; expected the type'),
    (TRAIN_FILE, '"VOC2007"', '"VOC2007', 'train.yaml: not valid YAML: .*line'),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'old', 'new', 'sentence'), WRONG_FILES, ids=[row[3] for row in WRONG_FILES])
def test_definitions_that_are_wrong(folder, name, old, new, sentence):
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises((DataError, ConfigError), match=sentence) as caught:
        train(folder)
    assert str(folder) in str(caught.value)


WRONG_SAMPLES = [
    (
        'label',
        'horse',
        r"samples.json: sample 0.objects\[0\].label is 'horse'; expected one of the 3 classes of V",
    ),
    ('label', 4, r'objects\[0\].label is 4; expected .*number from 1 to 3'),
    ('label', 0, r'objects\[0\].label is 0; expected'),
    ('label', True, r'objects\[0\].label is True; expected'),
    ('label', None, r'objects\[0\].label is None; expected'),
    ('bbox', [1, 2, 3], r'objects\[0\].bbox is \[1, 2, 3\]; expected four numbers'),
    ('bbox', None, r'objects\[0\].bbox is None; expected four numbers'),
    ('is_difficult', 'maybe', r"objects\[0\].is_difficult is 'maybe'; expected true or false"),
]


@pytest.mark.parametrize(('key', 'value', 'sentence'), WRONG_SAMPLES, ids=[row[2] for row in WRONG_SAMPLES])
def test_samples_that_are_wrong(folder, key, value, sentence):
    samples = json.loads(json.dumps(SAMPLES))
    samples['samples'][0]['objects'][0][key] = value
    (folder / 'set-train/train_samples.json').write_text(json.dumps(samples))
    with pytest.raises(DataError, match=sentence):
        train(folder, specific_key_path=dict(ignore_flag='./objects/*/is_difficult'))


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        ({'sample': []}, 'train_samples.json: expected samples, a list'),
        ({'samples': []}, 'there are no images in it'),
        ({'samples': [3]}, "sample 0 is 3; expected an object that has 'image'"),
        ({'samples': [{'image': 5, 'objects': []}]}, 'sample 0.image is 5; expected the path of a picture'),
        ({'samples': [{'image': 'a.png'}]}, 'sample 0.objects is absent, though its definition'),
        ({'samples': [{'image': 'a.png', 'objects': {}}]}, r'sample 0.objects is {}; expected a list'),
        ({'samples': [{'image': 'a.png', 'objects': [], 'image_shape': [3]}]}, r'_shape is \[3\]; expected \[h'),
        ({'samples': [{'image': 'JPEGImages/1.png', 'objects': []}] * 2}, 'is annotated twice'),
    ],
)  # fmt: skip
def test_files_of_samples_that_are_wrong(folder, content, sentence):
    (folder / 'set-train/train_samples.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match=sentence):
        train(folder)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (dict(specific_key_path=dict(flag='./objects/*/crowd')), r"flag='./objects/\*/crowd'; samples have the fields"),
        (dict(specific_key_path=dict(Bbox='./objects/*/label')), 'a Label that cannot be one'),
        (dict(specific_key_path=dict(bbox_label='./image')), 'bbox_label'),
        (dict(specific_key_path=dict(height='./image')), r"\['height'\], which a picture has by itself"),
        (dict(specific_key_path=dict(ignore_flag='./image')), 'expected a field of an object'),
        (dict(specific_key_path=[1]), 'should be a dict of paths by name'),
        (dict(pre_transform=dict(Label='lower')), 'should be a dict of functions by name'),
        (dict(with_bbox=False), 'nothing to read: set with_bbox'),
        (dict(with_polygon=True), 'samples have no field of type Polygon of an object'),
        (dict(with_imagelevel_label=True), 'samples have no field of type Label of pictures as a whole'),
    ],
)
def test_arguments_that_are_wrong(folder, arguments, sentence):
    with pytest.raises((ConfigError, DataError), match=sentence):
        train(folder, **arguments)


def test_types_are_parsed():
    label = Type('Label', {'dom': Type('$cdom')})
    assert read_type(' List[ etype = Label[dom=$cdom], ordered=True ] ', 'x') == Type(
        'List', {'etype': label, 'ordered': Type('True')}
    )
    assert read_type('List[Label[dom=$cdom]]', 'x') == Type('List', {'etype': label})
    for wrong in ('', '[', 'List[', 'List[]]', 'List[A', 'A]', 'A B', 'A[=b]', 'A[b=]', '(A)', 3, None, 'List[' * 999):
        with pytest.raises(DataError, match=r'^x is of type .*expected one as List'):
            read_type(wrong, 'x')


def test_a_file_may_be_imported_twice(folder):
    definitions = yaml.safe_load(STRUCTS)
    definitions['$import'] = ['class-dom']
    (folder / 'defs/object-detection-def.yaml').write_text(yaml.safe_dump(definitions))
    assert len(train(folder)) == 2
