"""The command `mmdetlike` and its subcommands, which the files in tools/ call as well.

A subcommand is a file with its arguments and `main`. Nothing heavy is imported until its arguments are read and its
files are found, so that help and a sentence about a wrong path come at once; what takes torch is in a file beside it,
or imported where it is used.
"""
