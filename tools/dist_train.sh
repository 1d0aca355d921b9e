#!/usr/bin/env bash
# Train on several GPUs (or, without any, CPU processes) of this machine: dist_train.sh CONFIG GPUS [arguments of train.py]
# On several machines, run it on each with NNODES, NODE_RANK and MASTER_ADDR set.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: [NNODES=1] [NODE_RANK=0] [PORT=29500] [MASTER_ADDR=127.0.0.1] $0 CONFIG GPUS [arguments]" >&2
    exit 2
fi
config=$1 gpus=$2
shift 2
tools=$(dirname "$0")
source "$tools/python_path.sh"
exec "${PYTHON:-python}" "$tools/distributed_run.py" \
    --nnodes="${NNODES:-1}" --node-rank="${NODE_RANK:-0}" --nproc-per-node="$gpus" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}" \
    "$tools/train.py" "$config" --launcher pytorch "$@"
