#!/usr/bin/env bash
# Everything that is measured on a GPU, in one command: bash benchmarks/speed_gpu.sh
# Results go to $OUT (or ./speed-results), one JSON and plot per question. PYTHON names the interpreter.
set -u
out=${OUT:-speed-results}
python=${PYTHON:-python3}
mkdir -p "$out"
cd "$(dirname "$0")/.." || exit 1
export PYTHONPATH=server:benchmarks:tests${PYTHONPATH:+:$PYTHONPATH}
sizes="1080x1920 2160x3840 2160x4096 4320x7680"

"$python" benchmarks/speed_gpu.py --size $sizes --json "$out/speed.json" --plot "$out/speed.png" || failed=1
"$python" benchmarks/speed_memory.py --device cuda:0 --precision fp32 fp16 bf16 --size $sizes \
    --json "$out/memory.json" --plot "$out/memory.png" || failed=1
exit "${failed:-0}"
