"""Look at a dataset as a whole: `mmdetlike dataset-stats` from a clone."""

from mmdetlike.cli.dataset_stats import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
