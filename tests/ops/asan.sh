#!/usr/bin/env bash
# Runs the tests of operators on CPU kernels built with AddressSanitizer (g++): a read or write out of bounds ends the
# run with a report. Arguments are pytest's; without any, all of tests/ops run. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
build=$PWD/build/asan

CXX="g++ -fsanitize=address -fno-omit-frame-pointer -g" MMDETLIKE_OPS_CUDA=0 \
    "$python" setup.py -q build_ext --build-temp "$build/temp" --build-lib "$build/lib"

export MMDETLIKE_OPS_LIBRARY=$build/lib/mmdetlike_ops/_C.abi3.so
# libstdc++ too, so that the sanitizer finds the way exceptions are thrown
LD_PRELOAD="$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libstdc++.so)" \
    ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 PYTHONPATH=$PWD \
    exec "$python" -m pytest "${@:-tests/ops}" -q -x --capture=sys -p no:cacheprovider
