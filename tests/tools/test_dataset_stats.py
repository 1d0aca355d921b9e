"""What a dataset consists of, as numbers and as the tool reports it."""

import json

import numpy as np
import pytest
from PIL import Image

from mmdetlike.cli.dataset_stats import main
from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.statistics import Fingerprint, Objects, alike, describe, fingerprint, percentiles


def info(number: int, *boxes, size=(100, 80)) -> dict:
    instances = [dict(bbox=list(box), bbox_label=label, ignore_flag=0) for label, box in boxes]
    return dict(img_id=number, img_path=f'{number}.jpg', width=size[0], height=size[1], instances=instances)


def test_numbers_of_a_split():
    infos = [
        info(0, (0, (0, 0, 10, 20)), (0, (0, 0, 10, 20)), (1, (0, 0, 10, 22))),
        info(1),
        info(2, (0, (10, 10, 60, 60))),
    ]
    numbers = describe(infos, ['cat', 'dog', 'bird'])
    assert (numbers['images'], numbers['objects']) == (3, 4)
    assert numbers['classes']['cat'] == {
        'objects': 3,
        'images': 2,
        'share': 0.75,
        'median side': pytest.approx(200**0.5),
    }
    assert numbers['classes without objects'] == ['bird'] and numbers['classes']['bird']['median side'] is None
    assert numbers['images without objects'] == {'number': 1, 'examples': ['1.jpg']}
    assert numbers['objects by size'] == {'small': 3, 'medium': 1, 'large': 0}
    assert numbers['aspect ratio of an object']['100%'] == 1
    assert numbers['objects of an image']['mean'] == pytest.approx(4 / 3)
    overlaps = numbers['overlaps']
    assert overlaps['pairs of one class above IoU 0.5'] == 1
    assert overlaps['pairs of two classes above IoU 0.5'] == 2
    assert overlaps['commonest pairs of two classes'] == {'cat and dog': 2}
    twice = overlaps['pairs above IoU 0.95, perhaps annotated twice']
    assert twice == {'number': 1, 'examples': ['0.jpg: cat and cat [0.0, 0.0, 10.0, 20.0]']}
    json.dumps(numbers)


def test_nothing():
    assert describe([], ['cat'])['objects'] == 0
    assert describe([info(0)], ['cat'])['side of an object'] == {'number': 0}
    assert percentiles([3.0])['50%'] == 3


def test_rotated_boxes():
    rows = [info(0, (0, (50, 50, 20, 10, 0.5)), (0, (50, 50, 20, 10, 0.5)))]
    assert Objects.of(rows).sizes.tolist() == [[20, 10], [20, 10]]
    assert describe(rows, ['ship'])['overlaps']['pairs of one class above IoU 0.5'] == 1


def scenery(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)


@pytest.fixture
def pictures(tmp_path):
    """a is b stored again in another size, c is another one, d and e are gray."""
    scenery(0).save(tmp_path / 'a.jpg', quality=95)
    scenery(0).resize((200, 150)).save(tmp_path / 'b.jpg', quality=60)
    scenery(1).save(tmp_path / 'c.jpg')
    Image.new('RGB', (64, 64), 'gray').save(tmp_path / 'd.png')
    Image.new('RGB', (32, 64), 'gray').save(tmp_path / 'e.png')
    return tmp_path


def test_pictures_that_look_alike(pictures):
    prints = [fingerprint(str(pictures / name)) for name in ('a.jpg', 'c.jpg', 'd.png', 'b.jpg', 'e.png', 'c.jpg')]
    assert alike(prints) == [[0, 3], [1, 5]]
    assert alike([None, prints[0], None]) == []


def test_the_number_of_bits_that_may_differ():
    def look(bits: int) -> Fingerprint:
        return Fingerprint(bytes([bits]), ((1 << bits) - 1).to_bytes(32, 'big'))

    assert alike([look(0), look(7)]) == [[0, 1]]
    assert alike([look(0), look(8)]) == []


def test_damaged_pictures(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'no picture')
    with pytest.raises(ImageError, match=r'a\.jpg: not an image'):
        fingerprint(str(tmp_path / 'a.jpg'))
    with pytest.raises(ImageError, match='there is no such file'):
        fingerprint(str(tmp_path / 'b.jpg'))


def write_coco(path, names, boxes) -> str:
    images = [dict(id=i, file_name=name, width=160, height=120) for i, name in enumerate(names)]
    annotations = [dict(id=i, image_id=i, category_id=4, bbox=box, area=1, iscrowd=0) for i, box in enumerate(boxes)]
    categories = [dict(id=4, name='cat'), dict(id=9, name='dog')]
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return str(path)


def test_leaks_between_splits(pictures, capsys):
    train = write_coco(pictures / 'train.json', ['a.jpg', 'c.jpg'], [[0, 0, 50, 40], [0, 0, 0, 9]])
    val = write_coco(pictures / 'val.json', ['b.jpg', 'gone.jpg'], [[0, 0, 50, 40]])
    main([train, val, '--images', str(pictures), '--out-dir', str(pictures / 'out')])
    content = json.loads((pictures / 'out' / 'stats.json').read_text())
    assert content['pictures']['groups across splits'] == [[f'train: {pictures}/a.jpg', f'val: {pictures}/b.jpg']]
    assert content['pictures']['unreadable'] == [f'{pictures}/gone.jpg: there is no such file']
    assert content['splits']['train']['objects'] == 1
    assert 'skipped 1 annotations (1 zero area)' in content['splits']['train']['notes'][0]
    assert {path.name for path in (pictures / 'out').iterdir()} == {'stats.json', 'train.png', 'val.png'}
    out = capsys.readouterr().out
    assert 'classes without objects: dog' in out and '1 pictures cross splits' in out


def test_a_config(tmp_path, capsys):
    config = tmp_path / 'c.py'
    config.write_text("""
pipeline = [dict(type='LoadShapesImage'), dict(type='PackDetInputs')]
shapes = dict(type='ShapesDataset', length=5, pipeline=pipeline)
train_dataloader = dict(dataset=dict(type='RepeatDataset', times=3, dataset=shapes))
val_dataloader = dict(dataset=dict(type='ShapesDataset', length=3, pipeline=pipeline))
test_dataloader = val_dataloader
""")
    main([str(config), '--no-hash', '--out-dir', str(tmp_path / 'out')])
    content = json.loads((tmp_path / 'out' / 'stats.json').read_text())
    assert {name: split['images'] for name, split in content['splits'].items()} == {'train': 5, 'val': 3}
    assert 'test: the same as another split' in capsys.readouterr().out


def test_several_sources_are_annotation_files(capsys):
    with pytest.raises(SystemExit):
        main(['a.py', 'b.json'])
    assert 'several sources must all be .json files' in capsys.readouterr().err
