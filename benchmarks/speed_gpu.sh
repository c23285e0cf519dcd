#!/usr/bin/env bash
# Everything that is measured on a GPU, in one command and nine minutes, without a network:
#
#   OUT=results bash benchmarks/speed_gpu.sh [options of speed_gpu.py]
#
# Each part is a process with its own time limit, so that one that fails or hangs costs no other. Results go to $OUT
# (or ./speed-results): one JSON a part, curves.png, and log.txt, which ends with the goals. PYTHON names the
# interpreter: torch with CUDA, numpy, scipy, numba, psutil, safetensors and Pillow; pytest and matplotlib are used
# where they are. SIZES and LARGE are the pictures' sizes, the one that counts first; PARTS the parts to run; SLACK
# multiplies the time limits.
set -u
out=$(realpath -m "${OUT:-speed-results}")
python=${PYTHON:-python3}
sizes=${SIZES:-2160x3840 1080x1920}
large=${LARGE:-2160x4096 4320x7680}
parts=" ${PARTS:-tests first speed memory pieces large stream sequence compiled} "
mkdir -p "$out"
cd "$(dirname "$0")/.." || exit 1
export PYTHONPATH=server:benchmarks:tests${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
# not the user's: what a machine compiles for the first time is measured too
export TORCHINDUCTOR_CACHE_DIR=$scratch/inductor TRITON_CACHE_DIR=$scratch/triton
exec > >(tee "$out/log.txt") 2>&1
tee=$!
options=("$@") failed=0
begin=$SECONDS

part() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 code=0
    shift 2
    [[ $parts == *" $name "* ]] || return
    echo "== $name"
    timeout -k 5 "$((limit * ${SLACK:-1}))" "$@" || code=$?
    [ $code = 0 ] || { echo "$name ended with $code"; failed=1; }
    echo "== $name took $((SECONDS - begin)) s since the start"
}

measure() { # PART FILE ARGUMENTS...
    "$python" benchmarks/speed_gpu.py "$1" --json "$out/$2.json" "${@:3}" ${options[@]+"${options[@]}"}
}

sequence() { # disk to disk, where the libraries for files are there
    "$python" -c "import OpenEXR, PyOpenColorIO" 2>/dev/null || { echo "no libraries for files: skipped"; return 0; }
    "$python" -c "
import sys, torch, synthetic_weights as made
torch.save(made.filled(made.published_shapes()), sys.argv[1])" "$scratch/FBA.pth" &&
        "$python" benchmarks/sequence.py --model "$scratch/FBA.pth" --frames 8 --tiles 4
}
export -f measure sequence
export python out scratch

run() { # NAME SECONDS FUNCTION ARGUMENTS...: timeout takes programs only
    part "$1" "$2" bash -c '"$@"' bash "${@:3}" ${options[@]+"${options[@]}"}
}

nvidia-smi 2>/dev/null | head -15
timeout -k 5 60 "$python" -c "import torch; torch.zeros(1).to('cuda' if torch.cuda.is_available() else 'cpu')" # libraries off the disk
echo "== imported after $((SECONDS - begin)) s"
# shellcheck disable=SC2086 # sizes are words
{
    # before anything else has compiled something, and then again
    run first 40 measure first first --size ${sizes##* }
    run first 25 measure first first --size ${sizes##* }
    part tests 70 "$python" -m pytest -q -m cuda -p no:cacheprovider tests/models/test_captured.py \
        tests/models/test_distance.py tests/models/test_fused.py tests/models/test_transfers.py \
        tests/engine/test_device_light.py
    run speed 110 measure speed speed --size $sizes --precision bf16 fp16 fp32 --repeat 3
    run memory 80 measure memory memory --size $sizes $large --precision bf16 fp16 fp32
    run pieces 45 measure pieces pieces --size ${sizes%% *} --precision bf16 fp16
    run large 50 measure speed speed --size $large --precision bf16 fp16 --repeat 2 --frames 8
    run stream 35 measure stream stream --size ${sizes%% *} --precision bf16
    part sequence 30 bash -c sequence
    run compiled 40 measure compiled compiled --size ${sizes%% *} --precision bf16
}
echo "== goals"
timeout -k 5 30 "$python" benchmarks/speed_gpu.py table "$out"
exec >&- 2>&- # what is written last is in the log before this ends
wait "$tee"
exit $failed
