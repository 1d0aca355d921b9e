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
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs/deploy.md'
MEASURED = ROOT / 'docs/deploy_measured.json'
TESTS = 'tests/export/test_families.py'
TEST_OF_ONE_SIZE = f'{TESTS}::test_a_program_finds_what_the_model_finds'
TEST_OF_SIZES = f'{TESTS}::test_a_program_of_many_sizes_finds_what_the_model_finds'
RESULT = re.compile(r'::(?P<test>\w+)\[(?P<kind>[a-z]+)-(?P<family>\w+)\] (?P<word>PASSED|FAILED|ERROR)')
# a kind of program and, with --dynamic, one of many sizes
KINDS = ('torch', 'aoti', 'onnx', 'torch --dynamic', 'onnx --dynamic')
DYNAMIC = ' --dynamic'
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
    """Run the tests; see ``outcomes_in``."""
    tests = [node_of(kind, family) for kind in kinds for family in families]
    command = [sys.executable, '-m', 'pytest', *tests, '-vv', '-m', 'slow or not slow']
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        yield from outcomes_in(run.stdout)


def outcomes_in(lines: Iterable[str]) -> Iterator[tuple[str, str, bool]]:
    """Family, kind of program and whether its test passes, as pytest tells; a skipped test tells nothing."""
    for line in lines:
        if found := RESULT.search(line):
            is_dynamic = TEST_OF_SIZES.endswith(f'::{found["test"]}')
            kind = found['kind'] + (DYNAMIC if is_dynamic else '')
            yield found['family'], kind, found['word'] == 'PASSED'


def node_of(kind: str, family: str) -> str:
    """The test that tells whether a family can be deployed to a kind of program."""
    test = TEST_OF_SIZES if kind.endswith(DYNAMIC) else TEST_OF_ONE_SIZE
    return f'{test}[{kind.removesuffix(DYNAMIC)}-{family}]'


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
    parser.add_argument('--log', type=Path, help='what `pytest -vv` printed of these tests, in place of running them')
    args = parser.parse_args()
    found = outcomes_in(args.log.read_text().splitlines()) if args.log else outcomes(args.families, args.kinds)
    for family, kind, works in found:
        # read again: others may have been tried at the same time
        results = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
        results.setdefault(family, {})[kind] = works
        MEASURED.write_text(json.dumps(results, indent=1, sort_keys=True) + '\n')
        print(kind, family, 'works' if works else 'does not work', flush=True)
        text = table(results)
        PAGE.write_text(BLOCK.sub(lambda _, text=text: text, PAGE.read_text()))


if __name__ == '__main__':
    main()
