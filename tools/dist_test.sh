#!/usr/bin/env bash
# Test on several GPUs (or, without any, CPU processes): dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# On several machines, run it on each with NNODES, NODE_RANK and MASTER_ADDR set.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: [NNODES=1] [NODE_RANK=0] [PORT=29500] [MASTER_ADDR=127.0.0.1] $0 CONFIG CHECKPOINT GPUS [arguments]" >&2
    exit 2
fi
config=$1 checkpoint=$2 gpus=$3
shift 3
tools=$(dirname "$0")
source "$tools/python_path.sh"
exec "${PYTHON:-python}" "$tools/distributed_run.py" \
    --nnodes="${NNODES:-1}" --node-rank="${NODE_RANK:-0}" --nproc-per-node="$gpus" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}" \
    "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
