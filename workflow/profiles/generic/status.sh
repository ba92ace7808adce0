#!/bin/sh
# running, success or failed: what became of the Slurm job with this number; its exit status tells success from failure.
if ! command -v squeue > /dev/null; then
    echo "status.sh: no squeue here; for another scheduler than Slurm take cluster-generic-status-cmd out of the profile" >&2
    exit 1
fi
state=$(squeue --noheader --jobs "$1" --states all --format %T 2>&1)
case $state in
    *COMPLETED) echo success ;;
    *FAIL | *FAILED | *CANCELLED | *DEADLINE | *OUT_OF_MEMORY | *PREEMPTED | *TIMEOUT) echo failed ;;
    "" | *"Invalid job id"*) echo failed ;; # forgotten, so ended long ago
    *) echo running ;; # or about to run, or the controller does not answer just now
esac
