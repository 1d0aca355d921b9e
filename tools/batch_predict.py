"""Detect objects in millions of pictures: see docs/scale.md."""

from mmdetlike.cli.batch_predict import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main, 'the same command goes on where it was')
