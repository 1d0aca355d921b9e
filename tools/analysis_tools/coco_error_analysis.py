"""Take the errors of a detector apart: `mmdetlike coco-error-analysis` from a clone."""

from mmdetlike.cli.coco_error_analysis import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
