"""Split a COCO file into a labeled and an unlabeled part, for training from few labels.

For each fold and percentage two files are written, NAME.FOLD@PERCENT.json with some of the images and all that is
annotated in them, and NAME.FOLD@PERCENT-unlabeled.json with the other images alone. The images of a fold are drawn at
random, the same ones whenever this is run.

Example:
    python tools/misc/split_coco.py data/coco/annotations/instances_train2017.json data/coco/semi_anns
"""

import argparse
import json
from collections.abc import Sequence

import numpy as np

from mmdetlike.datasets.annotations import read_json
from mmdetlike.datasets.coco_file import CocoFile
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.records import same_id
from mmdetlike.utils.command import make_parser, run_tool, user_path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('ann_file', type=user_path, help='the COCO file')
    parser.add_argument('out_dir', type=user_path, help='folder to write the parts to')
    parser.add_argument(
        '--labeled-percent',
        type=float,
        nargs='+',
        default=[1, 2, 5, 10],
        help='how much is labeled, one or more (default: %(default)s)',
    )
    parser.add_argument('--fold', type=int, default=5, help='how many drawings of each (default: %(default)s)')
    args = parser.parse_args(argv)
    if args.fold < 1:
        parser.error(f'--fold must be at least 1, got {args.fold}')
    wrong = [percent for percent in args.labeled_percent if not 0 < percent < 100]
    if wrong:
        parser.error(f'--labeled-percent must be between 0 and 100, got {wrong[0]:g}')
    return args


def split(content: dict, percent: float, fold: int) -> tuple[dict, dict]:
    """The labeled and the unlabeled part of a COCO file.

    Raises:
        DataError: One of them would have no image.
    """
    images = content['images']
    number = round(percent / 100 * len(images))
    if not 0 < number < len(images):
        raise DataError(
            f'--labeled-percent {percent:g} of {len(images)} images is {number}; both parts need one at least.'
        )
    chosen = set(np.random.RandomState(fold).permutation(len(images))[:number].tolist())
    labeled = [image for index, image in enumerate(images) if index in chosen]
    unlabeled = [image for index, image in enumerate(images) if index not in chosen]
    ids = {same_id(image['id']) for image in labeled}
    annotations = [row for row in content['annotations'] if same_id(row['image_id']) in ids]
    return (
        {**content, 'images': labeled, 'annotations': annotations},
        {**content, 'images': unlabeled, 'annotations': []},
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Write the files that the command line describes."""
    args = parse_args(argv)
    CocoFile(str(args.ann_file))  # raises for a file that isn't one
    content = read_json(str(args.ann_file), None)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    for percent in args.labeled_percent:
        for fold in range(1, args.fold + 1):
            labeled, unlabeled = split(content, percent, fold)
            for part, suffix in ((labeled, ''), (unlabeled, '-unlabeled')):
                path = args.out_dir / f'{args.ann_file.stem}.{fold}@{percent:g}{suffix}.json'
                path.write_text(json.dumps(part))
                print(f'{path}: {len(part["images"])} images, {len(part["annotations"])} objects')


if __name__ == '__main__':
    run_tool(main)
