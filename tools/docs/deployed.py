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
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs/deploy.md'
MEASURED = ROOT / 'docs/deploy_measured.json'
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
}
BLOCK = re.compile(r'(?<=<!-- generated: deployed -->\n).*?(?=<!-- end -->)', re.DOTALL)


def works(family: str, kind: str) -> bool:
    """Whether the test of a family and a kind of program passes, in a process of its own; a skipped one doesn't."""
    test = f'tests/export/test_families.py::test_a_program_finds_what_the_model_finds[{kind}-{family}]'
    options = ['-q', '-m', 'slow or not slow', '-p', 'no:cacheprovider']
    run = subprocess.run([sys.executable, '-m', 'pytest', test, *options], cwd=ROOT, capture_output=True, text=True)
    return run.returncode == 0 and '1 passed' in run.stdout


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
    for kind in args.kinds:
        for family in args.families:
            found = works(family, kind)
            # read again: others may have been tried at the same time
            results = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
            results.setdefault(family, {})[kind] = found
            MEASURED.write_text(json.dumps(results, indent=1, sort_keys=True) + '\n')
            print(kind, family, 'works' if found else 'does not work', flush=True)
            PAGE.write_text(BLOCK.sub(lambda _: table(results), PAGE.read_text()))  # noqa: B023  called at once


if __name__ == '__main__':
    main()
