#!/usr/bin/env bash
# Everything that needs a GPU, in one go: its tests, its speed, and the dissertation's training of 500 epochs.
#
#     here      snakemake --cores all --config 'data={"source": "archive", "archive": "PATH"}' -- results/dissertation/training_job.json
#     there     bash tests/on_gpu.sh [OUTPUT]
#     here      copy OUTPUT/trained into results/dissertation/, then  make study STUDY=dissertation ARCHIVE=PATH
#
# There: this repository, results/dissertation from here, Python with torch and Triton, a C compiler. No network is
# needed; packages that are missing can come along: pip install --target results/packages safetensors pyyaml pytest pytest-timeout hypothesis
# What a part leaves behind is in OUTPUT (results/gpu) as soon as it ends; a part that fails does not stop the others.
set -uo pipefail
cd "$(dirname "$0")/.."
output=${1:-results/gpu}
mkdir -p "$output"
export PYTHONPATH="results/packages:workflow/scripts${PYTHONPATH:+:$PYTHONPATH}"
status=0

part() {
    local name=$1
    shift
    echo "== $name"
    "$@" 2>&1 | tee "$output/$name.log"
    local result=${PIPESTATUS[0]}
    ((result == 0)) || { echo "== $name: exit status $result"; status=1; }
}

part machine nvidia-smi
part tests python3 -m pytest -q -p no:cacheprovider tests/test_gpu.py tests/test_pdhg_triton.py
part speed python3 tests/bench.py --device cuda --output "$output/bench"
part training python3 workflow/scripts/train.py results/dissertation/training_job.json --device cuda
# The checkpoint, three times as large as the weights, stays behind.
if compgen -G "results/dissertation/trained/*-500" > /dev/null; then
    for folder in results/dissertation/trained/*-500; do
        mkdir -p "$output/trained/$(basename "$folder")"
        cp "$folder"/*.safetensors "$folder"/history.csv "$folder"/*.json "$output/trained/$(basename "$folder")/"
    done
fi
exit $status
