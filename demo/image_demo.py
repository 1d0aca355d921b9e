"""Detect objects in pictures, folders or videos and write what was found: `mmdetlike predict` from a clone."""

from mmdetlike.cli.predict import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
