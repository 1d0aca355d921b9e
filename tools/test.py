"""Evaluate a checkpoint, or write its predictions: `mmdetlike test` from a clone."""

from mmdetlike.cli.test import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
