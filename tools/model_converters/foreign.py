"""Config and weights of Detectron2 or torchvision as files of ours: `mmdetlike convert-model` from a clone."""

from mmdetlike.cli.convert_model import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
