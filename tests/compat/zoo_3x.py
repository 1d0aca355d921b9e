"""The configs that the OpenMMLab toolbox 3.x ships against ours; ``python -m tests.compat.zoo_3x`` counts.

It prints how many of the recorded configs have one of the same name here, and of each other whether its model builds.
"""

import functools
import json
import lzma
import re
from pathlib import Path

from mmdetlike.errors import UserError
from mmdetlike.utils.config import load_config
from tests.compat.zoo_2x import built

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / 'tests/data/openmmlab3/configs3x.json.xz'
# what isn't about detection in images, or rests on another package
ELSEWHERE = {
    'misc/d2_faster-rcnn_r50-caffe_fpn_ms-90k_coco': 'a model of Detectron2 by a wrapper',
}
# what has no effect where it is left out, by the key it is under
WITHOUT_EFFECT = {'format_only': False, 'enable': False, 'by_epoch': True, 'begin': 0, 'gamma': 0.1}


@functools.cache
def recorded() -> dict[str, dict]:
    """Name -> the recorded config."""
    return json.loads(lzma.decompress(RECORDED.read_bytes()))


def shipped() -> set[str]:
    """Names of our configs, as ``atss/atss_r50_fpn_1x_coco``."""
    return {p.relative_to(ROOT / 'configs').with_suffix('').as_posix() for p in (ROOT / 'configs').glob('*/*.py')}


def differences(name: str) -> list[str]:
    """What the shipped config of a name says otherwise than the recorded one, as paths of keys with both values.

    Parts that only ours has (test-time augmentation that it inherits) don't count, nor do scopes before type names.
    """
    ours = load_config(ROOT / 'configs' / f'{name}.py').to_dict()
    theirs = recorded()[name]
    return list(_unlike({key: ours.get(key) for key in theirs}, theirs, ''))


def _unlike(ours, theirs, path: str):
    if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)) and len(ours) == len(theirs):
        ours, theirs = (dict(enumerate(each)) for each in (ours, theirs))
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        if _plain(ours) != _plain(theirs):
            yield f'{path}: {ours} instead of {theirs}'
        return
    for key in sorted(ours.keys() | theirs.keys(), key=str):
        left_out = WITHOUT_EFFECT.get(key)
        yield from _unlike(ours.get(key, left_out), theirs.get(key, left_out), f'{path}.{key}'.lstrip('.'))


def _plain(value):
    if isinstance(value, str):
        return re.sub(r'^(mmdet|mmpretrain|mmcls)\.(?=\w+$)', '', value)
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if part is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value] or None  # no hooks at all
    return value


def outcome(name: str) -> str:
    """``yes`` where the recorded model builds, else why not."""
    if 'model' not in recorded()[name]:
        return 'yes'
    try:
        built(recorded()[name]['model'])
    except (UserError, ImportError) as error:
        return re.sub(r'\s+', ' ', str(error))
    return 'yes'


def main() -> None:
    """Print the counts and a line for each config that isn't here, doesn't build or says something else."""
    names, here = set(recorded()), shipped()
    outcomes = {name: outcome(name) for name in sorted(names)}
    unlike = {name: found for name in sorted(names & here) if (found := differences(name))}
    for name in sorted(names - here):
        print(f'{name}: not here ({ELSEWHERE.get(name, "builds: " + outcomes[name])})')
    for name, why in outcomes.items():
        if why != 'yes' and name in here:
            print(f'{name}: does not build: {why}')
    for name, found in unlike.items():
        print(f'{name}: {len(found)} differences: {"; ".join(found[:3])}')
    builds = sum(why == 'yes' for why in outcomes.values())
    print(
        f'{len(names)} recorded, {builds} build, {len(names & here)} have a config here, {len(unlike)} of them differ'
    )


if __name__ == '__main__':
    main()
