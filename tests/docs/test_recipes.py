"""The pages that say how something is added, followed to the letter: their files in an empty folder, and a training."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = re.compile(r'```(?:python|cpp)\n(?:#|//) ([\w/]+\.\w+)\n(.*?)```', re.DOTALL)
BASE = re.compile(r"find_config\('([\w.-]+)'\)")
TINY = """
from mmdetlike.engine import launch
from mmdetlike.utils.config import load_config

small = {'train_dataloader.dataset.indices': 4, 'train_dataloader.batch_size': 2, 'val_dataloader.dataset.indices': 2}
config = load_config('my_config.py', {**small, 'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1})
config.work_dir = 'work_dirs'
launch(config, 'train')
"""


def run(folder: Path, *command: str) -> str:
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    'name, told',
    [
        ('a_module', 'TinyBackbone'),
        ('a_transform', 'coco/bbox_mAP'),
        ('a_metric', 'counting/error'),
        ('a_dataset', 'coco/bbox_mAP'),
        ('a_region_branch', 'loss_fill'),
        ('a_query_detector', 'd0.loss_bbox'),
        ('an_operator', 'SquaredReLU'),
    ],
)
def test_a_page_is_enough(name, told, tmp_path):
    if name == 'an_operator' and not shutil.which('ninja'):
        pytest.skip('C++ beside a config is compiled by ninja')
    page = (ROOT / f'docs/add_{name}.md').read_text()
    module = (ROOT / 'docs/add_a_module.md').read_text()
    for file, text in FILES.findall(page):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    make_base = textwrap.dedent(re.search(r'python -c "\n(.*?)"', module, re.DOTALL)[1])
    run(tmp_path, '-c', BASE.sub(BASE.search(page)[0], make_base))
    if (tmp_path / 'make_data.py').is_file():
        run(tmp_path, 'make_data.py')
    log = run(tmp_path, '-c', TINY)
    assert told in log
    assert (tmp_path / 'work_dirs/epoch_1.pth').is_file()
    if (tmp_path / 'test_mine.py').is_file():
        assert ' passed' in run(tmp_path, '-m', 'pytest', '-q', 'test_mine.py')
