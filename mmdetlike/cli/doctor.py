"""Check the installation: a line for each part, and what to do about what is wrong or missing.

The status is 1 if something is wrong without which nothing runs.
"""

import argparse
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mmdetlike.utils.command import make_parser
from mmdetlike.utils.config_files import config_folders, shipped_configs
from mmdetlike.utils.packages import DISTRIBUTIONS, install_command, is_installed
from mmdetlike.version import __version__

# what imports each, in the words of who uses it, and what installs it
OPTIONAL = {
    'torchvision': ('backbones of torchvision and its weights', 'pip install torchvision'),
    'timm': ('TIMMBackbone', 'pip install timm'),
    'tensorboard': ('TensorboardVisBackend', 'pip install tensorboard'),
    'onnxscript': ('mmdetlike deploy --to onnx', install_command('deploy')),
    'onnxruntime': ('running ONNX models', install_command('deploy')),
    'litserve': ('mmdetlike serve', install_command('serve')),
    'ray': ('mmdetlike batch-predict, serve --ray', install_command('ray')),
    'pyarrow': ('shards in Parquet files', install_command('streaming')),
    'rasterio': ('large TIFF pictures, read by windows', install_command('tiles')),
}
NEEDED = (
    'mmengine',
    'numpy',
    'cv2',
    'PIL',
    'scipy',
    'matplotlib',
    'pycocotools',
    'faster_coco_eval',
    'shapely',
    'tqdm',
)
OPENCVS = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless')
GIB = 2**30
LITTLE_DISK = 2 * GIB
LITTLE_SHARED_MEMORY = GIB // 4


class Finding(NamedTuple):
    """What a check found: ``'ok'``, ``'note'`` for what may be meant so, ``'wrong'`` for what must be mended."""

    status: str
    text: str
    advice: str = ''


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return make_parser(__doc__).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print the findings.

    Raises:
        SystemExit: Something is wrong; the status is 1.
    """
    parse_args(argv)
    wrong = 0
    for check in CHECKS:
        for finding in run_check(check):
            print(f'{finding.status:>5}  {finding.text}', flush=True)
            if finding.advice:
                print(f'       -> {finding.advice}', flush=True)
            wrong += finding.status == 'wrong'
    print(f'wrong: {wrong}, see above' if wrong else 'all that training and prediction need is there')
    if wrong:
        sys.exit(1)


def run_check(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The findings of a check; one that raises has found something, too."""
    try:
        return list(check())
    except Exception as error:
        name = check.__name__.removeprefix('check_').replace('_', ' ')
        return [Finding('wrong', f'{name}: {type(error).__name__}: {error}'.splitlines()[0])]


def check_python() -> Iterator[Finding]:
    """Versions of Python and of this package, and where that is."""
    yield Finding('ok', f'Python {platform.python_version()} ({sys.executable}), {platform.platform()}')
    folder = Path(__file__).parents[1]
    yield Finding('ok', f'mmdetlike {__version__} in {folder}')
    if not config_folders():
        yield Finding('wrong', 'there are no configs in the package', 'install it again: `pip install .` in a clone')
    else:
        yield Finding('ok', f'{len(shipped_configs())} configs in {config_folders()[0]}')


def check_torch() -> Iterator[Finding]:
    """Whether torch can be imported, and is new enough."""
    try:
        import torch
    except Exception as error:
        yield Finding('wrong', f'torch cannot be imported: {_first_line(error)}', "`pip install 'torch>=2.10'`")
        return
    major, minor = (int(part) for part in torch.__version__.split('.')[:2])
    built = f'for CUDA {torch.version.cuda}' if torch.version.cuda else 'without CUDA'
    text = f'torch {torch.__version__}, {built}, {torch.get_num_threads()} threads'
    if (major, minor) < (2, 10):
        yield Finding('wrong', text, "the kernels need torch >= 2.10: `pip install -U 'torch>=2.10'`")
    else:
        yield Finding('ok', text)


def check_kernels() -> Iterator[Finding]:
    """Whether the compiled kernels load and compute."""
    try:
        import torch

        from mmdetlike_ops import nms
    except Exception as error:
        advice = '`bash tools/setup.sh` in a clone, or install a wheel for this machine'
        yield Finding('wrong', f'the kernels cannot be loaded: {_first_line(error)}', advice)
        return
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    kept = nms(boxes, scores, 0.5)[1].tolist()
    if kept == [0, 2]:
        yield Finding('ok', 'the kernels load and compute on the CPU')
    else:
        yield Finding('wrong', f'nms keeps {kept}, expected [0, 2]', 'compile the kernels again: `bash tools/setup.sh`')


def check_cuda() -> Iterator[Finding]:
    """Whether torch, the driver and the kernels agree about the GPUs."""
    import torch

    from mmdetlike_ops import nms
    from mmdetlike_ops._library import COMPILED_FOR_CUDA

    gpus = gpus_of_driver()
    if not torch.version.cuda:
        advice = 'install a torch for CUDA (pytorch.org), then run tools/setup.sh again' if gpus else ''
        yield Finding('note', f'torch has no CUDA: everything runs on the CPU{_beside(gpus)}', advice)
        return
    if not torch.cuda.is_available():
        advice = 'the driver may be too old for this torch: compare `nvidia-smi` with the CUDA above' if gpus else ''
        yield Finding('note', f'torch finds no GPU{_beside(gpus)}', advice)
        return
    for index in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(index)
        yield Finding('ok', f'GPU {index}: {torch.cuda.get_device_name(index)}, generation {major}.{minor}')
    if not COMPILED_FOR_CUDA:
        advice = '`MMDETLIKE_OPS_CUDA=1 bash tools/setup.sh` in a clone, where nvcc is installed'
        yield Finding('wrong', 'the kernels were compiled without CUDA', advice)
        return
    kept = nms(torch.tensor([[0.0, 0, 9, 9]], device='cuda'), torch.ones(1, device='cuda'), 0.5)[1]
    yield Finding('ok', f'the kernels compute on {kept.device}')


def gpus_of_driver() -> list[str]:
    """A line for each GPU that the driver knows."""
    if shutil.which('nvidia-smi') is None:
        return []
    return subprocess.run(['nvidia-smi', '-L'], capture_output=True, text=True, timeout=60).stdout.splitlines()


def _beside(gpus: list[str]) -> str:
    return f', though the driver has {len(gpus)}' if gpus else ''


def check_packages() -> Iterator[Finding]:
    """Whether the libraries that are always needed can be imported."""
    versions = []
    for name in NEEDED:
        distribution = DISTRIBUTIONS.get(name, name)
        try:
            importlib.import_module(name)
        except Exception as error:
            yield Finding('wrong', f'{name} cannot be imported: {_first_line(error)}', f'`pip install {distribution}`')
            continue
        versions.append(f'{distribution} {_version(distribution)}')
    yield Finding('ok', ', '.join(versions))


def check_opencv() -> Iterator[Finding]:
    """Whether there is one OpenCV, which writes and reads pictures and opens windows."""
    import cv2
    import numpy as np

    installed = [name for name in OPENCVS if _version(name)]
    if len(installed) > 1:
        advice = f'`pip uninstall {" ".join(installed)}`, then `pip install {installed[0]}`'
        yield Finding('note', f'{" and ".join(installed)} are installed over each other', advice)
    picture = np.full((8, 8, 3), 128, np.uint8)
    works, encoded = cv2.imencode('.jpg', picture)
    read = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if works else None
    if read is None or abs(read.astype(int) - 128).max() > 2:
        yield Finding('wrong', 'OpenCV cannot write and read a JPEG', '`pip install --force-reinstall opencv-python`')
        return
    windows = (
        'windows can be shown' if os.environ.get('DISPLAY') else 'there is no display, so --show writes files only'
    )
    yield Finding('ok', f'OpenCV {cv2.__version__} writes and reads pictures; {windows}')


def check_optional_packages() -> Iterator[Finding]:
    """Which of the libraries that only some parts need are there."""
    for name, (use, command) in OPTIONAL.items():
        if not is_installed(name):
            yield Finding('note', f'{name} is not installed ({use})', f'if you need it: `{command}`')
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            yield Finding(
                'note',
                f'{name} {_version(name)} cannot be imported ({use}): {_first_line(error)}',
                f'install the {name} that belongs to your torch, or `pip uninstall {name}`: it is not needed',
            )
        else:
            yield Finding('ok', f'{name} {_version(name)} ({use})')


def check_folders() -> Iterator[Finding]:
    """Whether results, downloads and temporary files can be written."""
    import torch

    for folder, use, variable in (
        (Path.cwd(), 'work_dirs/ and outputs/ are made here', '--work-dir'),
        (Path(torch.hub.get_dir()), 'downloaded weights', 'TORCH_HOME'),
        (Path(tempfile.gettempdir()), 'temporary files', 'TMPDIR'),
    ):
        yield _write_access(folder, use, variable)
    shared = Path('/dev/shm')
    if shared.is_dir() and shutil.disk_usage(shared).free < LITTLE_SHARED_MEMORY:
        free = shutil.disk_usage(shared).free / 2**20
        advice = 'in Docker: `--shm-size=8g` or `--ipc=host`; else train_dataloader.num_workers=0'
        yield Finding('note', f'{shared} has {free:.0f} MiB free, through which workers hand over batches', advice)


def _write_access(folder: Path, use: str, variable: str) -> Finding:
    """Whether a file can be made in a folder, or in the nearest one above it that exists."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        advice = f'name another folder by {variable}'
        return Finding('wrong', f'nothing can be written to {there} ({use}): {error.strerror}', advice)
    free = shutil.disk_usage(there).free
    text = f'{folder} can be written ({use}), {free / GIB:.0f} GiB free'
    if free < LITTLE_DISK:
        return Finding('note', text, f'free some space, or name another folder by {variable}')
    return Finding('ok', text)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ''


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


CHECKS = (
    check_python,
    check_torch,
    check_kernels,
    check_cuda,
    check_packages,
    check_opencv,
    check_optional_packages,
    check_folders,
)
