"""Connecting the processes of a training on CPUs: mmengine's own way takes a GPU for each."""

import os
import shutil
import subprocess

import torch.distributed

from mmdetlike.errors import ConfigError

PORT = '29500'  # that of torch.distributed, too


def connect(launcher: str) -> None:
    """Connect this process to the others, over gloo.

    Args:
        launcher: Who started them: 'pytorch' (torchrun), 'slurm' or 'mpi', each with environment variables of its own.

    Raises:
        ConfigError: It isn't known where the first process is.
    """
    if launcher != 'pytorch':
        _translate(launcher)
    torch.distributed.init_process_group('gloo')


def _translate(launcher: str) -> None:
    """Set the variables that torch reads from those of Slurm or Open MPI; ones that are there stay."""
    names = {
        'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
        'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
    }
    for name, given in zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), names[launcher]):
        if given not in os.environ:
            raise ConfigError(f'launcher={launcher!r} needs the environment variable {given}: start it by {launcher}')
        os.environ[name] = os.environ[given]
    os.environ.setdefault('MASTER_PORT', PORT)
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_node(launcher)


def _first_node(launcher: str) -> str:
    """The machine of the first process."""
    nodes = os.environ.get('SLURM_NODELIST')
    if launcher == 'slurm' and nodes and shutil.which('scontrol'):
        # such as gpu[03-07]
        named = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True)
        if named.returncode == 0 and named.stdout.split():
            return named.stdout.split()[0]
    raise ConfigError('set MASTER_ADDR to the name of the machine of the first process: it cannot be found out')
