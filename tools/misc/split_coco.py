"""Split a COCO file into a labeled and an unlabeled part: `mmdetlike split-coco` from a clone."""

from mmdetlike.cli.split_coco import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
