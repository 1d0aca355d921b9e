"""Which variables of launchers tell processes without GPUs where the others are."""

import os

import pytest
import torch

from mmdetlike.engine.cpu_processes import connect
from mmdetlike.errors import ConfigError

SLURM = dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1', SLURM_NODELIST='node[7-8]')
MPI = dict(OMPI_COMM_WORLD_RANK='3', OMPI_COMM_WORLD_SIZE='4', OMPI_COMM_WORLD_LOCAL_RANK='1')
TORCH = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')


@pytest.fixture
def connected(monkeypatch, tmp_path):
    """Backends of process groups that were asked for; the environment has no variables of launchers."""
    asked = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', asked.append)
    for name in (*SLURM, *MPI, *TORCH):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    monkeypatch.setenv('PATH', str(tmp_path))
    return asked


def settings() -> list[str | None]:
    return [os.environ.get(name) for name in TORCH]


def test_slurm(connected, monkeypatch, tmp_path):
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames node[7-8]" ] && echo node7 && echo node8\n')
    scontrol.chmod(0o755)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    connect('slurm')
    assert connected == ['gloo']
    assert settings() == ['3', '4', '1', 'node7', '29500']


@pytest.mark.parametrize('launcher, given', [('slurm', SLURM), ('mpi', MPI)])
def test_an_address_that_is_given_stays(connected, monkeypatch, launcher, given):
    for name, value in dict(given, MASTER_ADDR='here', MASTER_PORT='1').items():
        monkeypatch.setenv(name, value)
    connect(launcher)
    assert settings() == ['3', '4', '1', 'here', '1']


@pytest.mark.parametrize('launcher, given', [('slurm', SLURM), ('mpi', MPI)])
def test_an_address_that_is_not_known(connected, monkeypatch, launcher, given):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match='set MASTER_ADDR to the name of the machine of the first process'):
        connect(launcher)
    assert connected == []


def test_a_process_that_slurm_did_not_start(connected, monkeypatch):
    monkeypatch.setenv('SLURM_PROCID', '0')
    with pytest.raises(ConfigError, match="launcher='slurm' needs the environment variable SLURM_NTASKS"):
        connect('slurm')


def test_torchrun_has_set_all(connected):
    connect('pytorch')
    assert connected == ['gloo'] and settings() == [None] * 5
