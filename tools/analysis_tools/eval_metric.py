"""Compute metrics from a file of predictions: `mmdetlike eval-metric` from a clone."""

from mmdetlike.cli.eval_metric import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
