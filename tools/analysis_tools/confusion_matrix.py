"""Draw which classes are taken for which: `mmdetlike confusion-matrix` from a clone."""

from mmdetlike.cli.confusion_matrix import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
