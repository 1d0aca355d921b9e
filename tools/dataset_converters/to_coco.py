"""Convert annotations of other tools to one COCO JSON file: `mmdetlike to-coco` from a clone."""

from mmdetlike.cli.to_coco import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
