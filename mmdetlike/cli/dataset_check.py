"""What ``--check`` of the converters tells: broken pictures, boxes outside, ids that occur twice, classes, a sample."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from terminaltables import AsciiTable
from tqdm import tqdm

from mmdetlike.datasets.annotations import read_json
from mmdetlike.datasets.errors import ImageError, SkipReport
from mmdetlike.datasets.transforms.image_io import read_image
from mmdetlike.structures.mask import mask_to_bitmap, read_segmentation
from mmdetlike.visualization import contact_sheet, save_image

_NAMED = 5  # pictures or ids to name of each kind of fault
_DRAWN = 12  # pictures of the sample


def tell_check(infos: Sequence[dict], classes: Sequence[str], notes: SkipReport, sample: Path) -> None:
    """Print what is wrong with a dataset and how many objects each class has, and draw some of its pictures.

    Args:
        infos: Data infos of all images.
        classes: Names of the classes.
        notes: What reading left out: boxes without area or outside their pictures, unlisted categories and images.
        sample: The picture to draw.
    """
    faults = broken_pictures(infos)
    _tell('pictures that are missing, broken or of another size', faults)
    wrong = {**notes.skipped, **notes.corrected, **notes.left_out}
    print(f'annotations left out or corrected: {sum(wrong.values())}')
    for reason, number in wrong.items():
        print(f'  {number} {reason}')
    for example in notes.examples:
        print(f'  e.g. {example}')
    print(class_table(infos, classes))
    broken = {path for path, _ in faults}
    if draw_sample([info for info in infos if info['img_path'] not in broken], classes, sample):
        print(f'{sample}: a sample, with what is annotated')


def _tell(what: str, faults: Sequence[tuple[str, str]]) -> None:
    print(f'{what}: {len(faults)}')
    for _, text in faults[:_NAMED]:
        print(f'  {text}')


def broken_pictures(infos: Sequence[dict]) -> list[tuple[str, str]]:
    """Path and a sentence for each picture that can't be read whole, or isn't of the size that its annotation says."""
    found = []
    for info in tqdm(infos, desc='pictures', leave=False):
        path = info['img_path']
        try:
            height, width = read_image(path).shape[:2]
        except ImageError as error:
            found.append((path, str(error)))
            continue
        if (width, height) != (info['width'], info['height']):
            said = f'{info["width"]} x {info["height"]}'
            found.append((path, f'{path}: is {width} x {height} pixels, its annotation says {said}'))
    return found


def repeated_ids(ann_file: Path) -> list[str]:
    """A sentence for each list of a COCO file in which ids, or names of files, occur several times."""
    content = read_json(str(ann_file))
    found = []
    for table, key in (('images', 'id'), ('images', 'file_name'), ('annotations', 'id'), ('categories', 'id')):
        values = [str(row.get(key)) for row in content.get(table) or () if row.get(key) is not None]
        several = [value for value, number in Counter(values).items() if number > 1]
        if several:
            more = ' ...' if len(several) > _NAMED else ''
            named = ', '.join(several[:_NAMED])
            found.append(f'{ann_file}: {len(several)} values of {key} occur several times in {table}: {named}{more}')
    return found


def class_table(infos: Sequence[dict], classes: Sequence[str]) -> str:
    """Objects and images of each class, as text."""
    objects: Counter[int] = Counter()
    images: Counter[int] = Counter()
    for info in infos:
        labels = [instance['bbox_label'] for instance in info['instances']]
        objects.update(labels)
        images.update(set(labels))
    rows = [[name, objects[label], images[label]] for label, name in enumerate(classes)]
    total = sum(bool(info['instances']) for info in infos)
    table = AsciiTable([['class', 'objects', 'images'], *rows, ['all', sum(objects.values()), total]])
    return table.table


def draw_sample(infos: Sequence[dict], classes: Sequence[str], path: Path) -> bool:
    """Draw up to 12 pictures, evenly from all that have objects; False if there are none."""
    with_objects = [info for info in infos if info['instances']]
    if not with_objects:
        return False
    numbers = np.unique(np.linspace(0, len(with_objects) - 1, _DRAWN).round().astype(int))
    chosen = [with_objects[number] for number in numbers]
    pictures = [(read_image(info['img_path'])[..., ::-1], _instances(info)) for info in chosen]
    captions = [Path(info['img_path']).name for info in chosen]
    save_image(contact_sheet(pictures, captions=captions, classes=classes), path)
    return True


def _instances(info: dict) -> dict:
    instances = info['instances']
    drawn = dict(
        bboxes=np.array([instance['bbox'] for instance in instances]),
        labels=np.array([instance['bbox_label'] for instance in instances]),
    )
    size = (info['height'], info['width'])
    masks = [read_segmentation(instance.get('mask'), *size)[0] for instance in instances]
    if any(mask is not None for mask in masks):
        drawn['masks'] = np.stack([_bitmap(mask, size) for mask in masks])
    return drawn


def _bitmap(mask: dict | list | None, size: tuple[int, int]) -> np.ndarray:
    return np.zeros(size, bool) if mask is None else mask_to_bitmap(mask, *size).astype(bool)
