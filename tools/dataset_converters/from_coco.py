"""Convert a COCO JSON file to annotations of other tools: `mmdetlike from-coco` from a clone."""

from mmdetlike.cli.from_coco import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
