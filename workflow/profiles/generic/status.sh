#!/bin/sh
# running, success or failed: what became of the job with this number. Snakemake's own mark tells success from failure.
state=$(squeue --noheader --jobs "$1" --states all --format %T 2> /dev/null)
case $state in
    COMPLETED) echo success ;;
    PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | REQUEUED) echo running ;;
    *) echo failed ;;
esac
