"""Draw what a dataset yields, with its ground truth: `mmdetlike browse` from a clone."""

from mmdetlike.cli.browse import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
