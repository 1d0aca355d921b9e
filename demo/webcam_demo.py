"""Detect objects in what a camera sees, live in a window: `mmdetlike watch` from a clone."""

from mmdetlike.cli.watch import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
