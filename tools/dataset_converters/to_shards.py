"""Write a COCO data set as shards: `mmdetlike write-shards` from a clone."""

from mmdetlike.cli.write_shards import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
