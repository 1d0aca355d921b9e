"""Try which detectors can be deployed to what, and write the table of docs/deploy.md.

Each family's tiny detector of tests/models/families is deployed, and the program's results are compared with the
model's, by tests/export/test_families.py. What is known is kept in docs/deploy_measured.json, so that a few families
may be tried at a time. ONNX needs the packages of `pip install .[deploy]`.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs/deploy.md'
MEASURED = ROOT / 'docs/deploy_measured.json'
TEST = 'tests/export/test_families.py::test_a_program_finds_what_the_model_finds'
RESULT = re.compile(r'\[(?P<kind>[a-z]+)-(?P<family>\w+)\] (?P<word>PASSED|FAILED|ERROR)')
KINDS = ('torch', 'aoti', 'onnx')
NAMES = {
    'retinanet': 'RetinaNet',
    'fcos': 'FCOS',
    'atss': 'ATSS',
    'rtmdet': 'RTMDet',
    'yolox': 'YOLOX',
    'faster_rcnn': 'Faster R-CNN',
    'mask_rcnn': 'Mask R-CNN',
    'gfl': 'GFL',
    'tood': 'TOOD',
    'yolov3': 'YOLOv3',
    'ssd': 'SSD',
    'centernet': 'CenterNet',
    'cascade_rcnn': 'Cascade R-CNN',
    'detr': 'DETR',
    'deformable_detr': 'Deformable DETR',
    'dino': 'DINO',
    'rt_detr': 'RT-DETR',
    'rtmdet_ins': 'RTMDet-Ins',
    'keypoint_rcnn': 'Keypoint R-CNN',
    'point_rend': 'PointRend',
    'mask2former_instance': 'Mask2Former (instances)',
}
BLOCK = re.compile(r'(?<=<!-- measured: deployed -->\n).*?(?=<!-- end of measured -->)', re.DOTALL)


def outcomes(families: list[str], kinds: list[str]) -> Iterator[tuple[str, str, bool]]:
    """Family, kind of program and whether its test passes, as they come; a skipped test tells nothing."""
    tests = [f'{TEST}[{kind}-{family}]' for kind in kinds for family in families]
    command = [sys.executable, '-m', 'pytest', *tests, '-vv', '-m', 'slow or not slow']
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        for line in run.stdout:
            if found := RESULT.search(line):
                yield found['family'], found['kind'], found['word'] == 'PASSED'


def table(results: dict[str, dict[str, bool]]) -> str:
    """The table of a page: a row a family."""
    lines = ['', f'| | {" | ".join(f"`{kind}`" for kind in KINDS)} |', '|---|' + '---|' * len(KINDS)]
    words = {True: 'yes', False: 'no', None: 'not tried'}
    for family, name in NAMES.items():
        cells = [words[results.get(family, {}).get(kind)] for kind in KINDS]
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join([*lines, '', ''])


def main() -> None:
    """Try, keep the results, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--families', nargs='*', choices=list(NAMES), default=list(NAMES), help='families to try')
    parser.add_argument('--kinds', nargs='*', choices=KINDS, default=list(KINDS), help='kinds of programs to try')
    args = parser.parse_args()
    for family, kind, works in outcomes(args.families, args.kinds):
        # read again: others may have been tried at the same time
        results = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
        results.setdefault(family, {})[kind] = works
        MEASURED.write_text(json.dumps(results, indent=1, sort_keys=True) + '\n')
        print(kind, family, 'works' if works else 'does not work', flush=True)
        text = table(results)
        PAGE.write_text(BLOCK.sub(lambda _, text=text: text, PAGE.read_text()))


if __name__ == '__main__':
    main()
