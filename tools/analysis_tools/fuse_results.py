"""Fuse the boxes of several models: `mmdetlike fuse-results` from a clone."""

from mmdetlike.cli.fuse_results import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
