"""Train a detector from a config: `mmdetlike train` from a clone."""

from mmdetlike.cli.train import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main, 'nothing had been trained yet')
