#!/usr/bin/env bash
# Train one of the models to be shipped on a machine with a GPU and no network, ten minutes at a time.
#
#   benchmarks/training_h200.sh RECIPE RUN OUT PHOTOGRAPHS [SECONDS]
#
# RECIPE       fba-small; or refine, whose pool a CPU makes, with DATA set to its folder
# RUN          the run's folder as an earlier call left it; made where it is not there. No file in it exceeds 15 MB.
# OUT          gets the folder RUN as it is at the end: hand it to the next call as RUN. With STATE=0 it gets no state
#              (16 bytes a parameter): where little can be brought home, and RUN stays on the machine for the next call
# PHOTOGRAPHS  a folder with image, alpha, trimap1 and trimap2: measured with, never trained on
# SECONDS      after which the call saves and ends (default 440: starting and measuring take some too)
#
# PYTHON names the interpreter, DEVICE where to train (default cuda:0), MORE further flags of `fbamatte train`.
# Needs python with torch, numpy, scipy, safetensors and Pillow; numba makes the photographs' closed-form start exact.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
recipe=$1 run=$2 out=$3 photographs=$4 seconds=${5:-440} failed=0
python=${PYTHON:-python3} device=${DEVICE:-cuda:0}
export PYTHONPATH=server${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1

home() {
    mkdir -p "$out" "$run"
    if [ "${STATE:-1}" = 0 ]; then
        find "$run" -maxdepth 1 -type f ! -name 'state*' -exec cp {} "$out"/ \;
        find "$run/sheets" -name '*.png' 2>/dev/null | sort | tail -1 | xargs -r -I{} cp {} "$out"/sheet.png
    else
        cp -r "$run"/. "$out"/
    fi
}
trap home EXIT # whatever happens, what was saved comes home

# a run that hangs leaves time for the rest
timeout -k 10 $((seconds + 60)) "$python" -m fbamatte.cli.train "$recipe" ${DATA:+--data "$DATA"} -o "$run" --device "$device" --seconds "$seconds" \
    --log-every 50 --sheet-every 2000 --save-every 1000 --judge "$photographs" --judge-every 1000 ${MORE:-} || failed=1
home
timeout -k 5 60 "$python" benchmarks/training_card.py "$recipe" "$run" "$photographs" --device "$device" || failed=1
exit $failed
