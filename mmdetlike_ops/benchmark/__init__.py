"""Times the operators against a dense convolution and against what the machine can do.

    python -m mmdetlike_ops.benchmark [--device cpu|cuda] [--only SUBSTRING] [--json]

The unit is one `F.conv2d` of 2 x 256 x 50 x 68 with 256 filters of 3 x 3, float32, so that figures of different
machines compare. The limit of a case is the time in which the same process copies the bytes that the case must move, or
multiplies matrices of the flops that it must compute, whichever is longer; `share` is that time over the measured one.
A cache, or an algorithm that need not look at every pair of boxes, lifts a share above 1. Threads are PyTorch's: set
OMP_NUM_THREADS.
"""
