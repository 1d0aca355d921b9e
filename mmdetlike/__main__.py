"""`python -m mmdetlike`, which is the command `mmdetlike`."""

from mmdetlike.cli.main import main

if __name__ == '__main__':
    main()
