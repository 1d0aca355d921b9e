"""Fit the anchors of a config to its training set: `mmdetlike optimize-anchors` from a clone."""

from mmdetlike.cli.optimize_anchors import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
