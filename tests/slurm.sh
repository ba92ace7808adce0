#!/usr/bin/env bash
# A real Slurm cluster of two nodes, both this machine: `plain` in the partition main, `fitted` in the partition gpu, with
# a GPU that Slurm schedules although there is none. Debian, as root:
#     tests/slurm.sh start FOLDER     install what is missing, configure and start
#     tests/slurm.sh stop FOLDER      end its daemons and jobs
# Everything it writes is in FOLDER, but for links to its configuration in /etc/slurm: SLURM_CONF does not reach the jobs.
set -euo pipefail
[[ $EUID -eq 0 ]] || { echo "slurm.sh: only root can start a Slurm cluster here" >&2; exit 1; }
etc=/etc/slurm
folder=$(realpath -m "${2:?give start or stop, and a folder}")
host=$(hostname -s)

stop() {
    for daemon in slurmd-plain slurmd-fitted slurmctld munged; do
        if [[ -f $folder/$daemon.pid ]]; then
            pid=$(cat "$folder/$daemon.pid")
            kill "$pid" 2> /dev/null || true
            timeout 20 tail --pid="$pid" -f /dev/null || true # until it has written its last file
        fi
    done
    # Jobs outlive their Slurm, and it loses a process whose parent ended first.
    for process in /proc/[0-9]*; do
        if grep --quiet --null-data --line-regexp SLURM_CLUSTER_NAME=tvmap "$process/environ" 2> /dev/null; then
            kill -KILL "${process#/proc/}" 2> /dev/null || true
            timeout 20 tail --pid="${process#/proc/}" -f /dev/null || true
        fi
    done
    for name in slurm gres cgroup; do
        if [[ $(readlink "$etc/$name.conf") == "$folder/$name.conf" ]]; then rm "$etc/$name.conf"; fi
    done
}

# Wait until a command succeeds: what, then the command.
wait_for() {
    local what=$1
    shift
    for _ in $(seq 100); do
        if "$@" > /dev/null 2>&1; then return; fi
        sleep 0.2
    done
    echo "slurm.sh: $what did not come up in 20 s; see the logs in $folder" >&2
    exit 1
}

# Whether a configuration is a link to that of a cluster whose tests were killed before they could stop it.
is_dead() {
    local of
    [[ -L $1 ]] || return 1
    of=$(dirname "$(readlink "$1")")
    [[ -f $of/slurm.conf && -d $of/state ]] && ! pgrep --pidfile "$of/slurmctld.pid" --runstates RSDI slurmctld > /dev/null 2>&1
}

are_idle() { [[ $(sinfo --noheader --Node --format "%N %t") == $'fitted idle\nplain idle' ]]; }

start() {
    if ! command -v slurmctld > /dev/null || ! command -v munged > /dev/null || ! command -v slurmd > /dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            slurmctld slurmd slurm-client munge > /dev/null
    fi
    for name in slurm gres cgroup; do
        if [[ -e $etc/$name.conf ]] && ! is_dead "$etc/$name.conf"; then
            echo "slurm.sh: there is a $etc/$name.conf: this machine has a cluster of its own" >&2
            exit 1
        fi
        ln -sf "$folder/$name.conf" "$etc/$name.conf"
    done
    mkdir -p "$folder/state" "$folder/spool-plain" "$folder/spool-fitted" "$folder/munge"
    chmod 755 "$folder" # munge wants to reach its socket
    chown -R munge: "$folder/munge"
    [[ -e $folder/gpu0 ]] || mknod "$folder/gpu0" c 1 3 # the null device, for want of a GPU

    cat > "$folder/slurm.conf" << END
ClusterName=tvmap
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MinJobAge=86400
JobRequeue=0
AccountingStorageType=accounting_storage/none
GresTypes=gpu
MailProg=/bin/true
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
NodeName=DEFAULT CPUs=$(nproc) RealMemory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 20))
NodeName=plain NodeHostname=$host NodeAddr=127.0.0.1 Port=16818
NodeName=fitted NodeHostname=$host NodeAddr=127.0.0.1 Port=16819 Gres=gpu:fake:1
PartitionName=main Nodes=plain Default=YES State=UP
PartitionName=gpu Nodes=fitted State=UP
END
    echo "NodeName=fitted Name=gpu Type=fake File=$folder/gpu0" > "$folder/gres.conf"
    echo "CgroupAutomount=no" > "$folder/cgroup.conf"

    dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
    chmod 400 "$folder/munge/key"
    chown munge: "$folder/munge/key"
    runuser -u munge -- munged --key-file "$folder/munge/key" --socket "$folder/munge/socket" \
        --pid-file "$folder/munge/munged.pid" --log-file "$folder/munge/log" --seed-file "$folder/munge/seed"
    ln -sf munge/munged.pid "$folder/munged.pid"
    wait_for munged munge --socket "$folder/munge/socket" --no-input
    slurmctld
    wait_for slurmctld scontrol ping
    slurmd -N plain
    slurmd -N fitted
    wait_for "the nodes" are_idle
}

case $1 in
    start) start ;;
    stop) stop ;;
    *) echo "slurm.sh: $1: give start or stop" >&2 && exit 1 ;;
esac
