"""Draw a data set of colored shapes to disk: `mmdetlike make-shapes` from a clone."""

from mmdetlike.cli.make_shapes import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
