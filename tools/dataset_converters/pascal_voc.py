"""Convert annotations of PASCAL VOC to one COCO JSON file: `mmdetlike voc-to-coco` from a clone."""

from mmdetlike.cli.voc_to_coco import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
