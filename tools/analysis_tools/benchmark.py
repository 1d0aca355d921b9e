"""Measure how fast data are loaded and a model infers: `mmdetlike benchmark` from a clone."""

from mmdetlike.cli.benchmark import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
