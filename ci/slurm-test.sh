#!/usr/bin/env bash
# `reproduce --launcher slurm` on a real Slurm, installed and started here on one node: one job is cancelled, the process
# of another killed, the rest run into their time limit and queue themselves again; submitting again fills what is
# missing, and the numbers are those of a local run. Needs root and Debian or Ubuntu; takes some ten minutes.
#
#   ci/slurm-test.sh [PROGRAM]     PROGRAM: target/debug/xtask unless given
#   EPOCHS                         length of the long runs, which must exceed 90 s each [100]
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
# A copy: the jobs go on with it whatever is built meanwhile.
program=$work/collapse
cp "${1:-target/debug/xtask}" "$program"
daemons=()
stop() {
    scancel --user="$(id -un)" 2>/dev/null || true
    for _ in $(seq 40); do [ -z "$(squeue --noheader 2>/dev/null)" ] && break || sleep 1; done
    for daemon in "${daemons[@]}"; do kill "$daemon" 2>/dev/null || true; done
    # They write to the end.
    wait "${daemons[@]}" 2>/dev/null || true
    rm -rf "$work" || true
}
trap stop EXIT
say() { printf '\n# %s\n' "$*"; }
# Output without the folder of this test.
plain() { sed "s|$work|WORK|g"; }
fail() { echo "FAILED: $*" >&2; tail -n 50 "$work"/*.log "$work"/out/slurm/*/*.log 2>/dev/null | plain >&2; exit 1; }
# Waits up to $1 seconds for a condition.
await() {
    local left=$1
    shift
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "waited too long for: $*"
        sleep 1
    done
}

if ! command -v slurmctld munged jq >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends slurm-wlm munge jq >/dev/null
fi

host=$(hostname -s)
mkdir "$work/state" "$work/spool"
dd if=/dev/urandom of="$work/munge.key" bs=1024 count=1 status=none
chmod 400 "$work/munge.key"
cat >"$work/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket,cred_expire=10
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$work/slurm.conf
munged --foreground --force --key-file="$work/munge.key" --socket="$work/munge.socket" --pid-file="$work/munged.pid" \
    --log-file="$work/munged.log" --seed-file="$work/munged.seed" >/dev/null 2>&1 &
daemons+=($!)
await 20 test -S "$work/munge.socket"
slurmctld -D >"$work/slurmctld.log" 2>&1 &
daemons+=($!)
slurmd -D >"$work/slurmd.log" 2>&1 &
daemons+=($!)
idle() { [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; }
await 60 idle
say "$(sinfo --version): $(sinfo --noheader --format='%D node, %c cores, partition %P, %T')"

cat >"$work/cluster.toml" <<TOML
scale = "cluster"
description = "two long and two short runs for a cluster"
seeds = [1, 2]
width = 8
batch = 32
learning_rate = 0.1
momentum = 0.9
weight_decay = 5e-4
precision = "f32"
measure_at = [1]
[resources]
minutes = 2
memory_mib = 500
cores = 1
[data]
id = "embedded"
[[group]]
id = "long"
l2 = true
epochs = ${EPOCHS:-100}
schedule = "long"
[[group]]
id = "short"
l2 = true
epochs = 2
schedule = "short"
TOML
scale=(--scale "$work/cluster.toml" --out "$work/out")
submit() { "$program" reproduce "${scale[@]}" --launcher slurm 2>&1 | plain; }
status() { "$program" status "${scale[@]}"; }
state() { "$program" status "${scale[@]}" --json | jq -r "select(.group == \"$1\" and .seed == $2) | $3 // empty"; }

say "reproduce --launcher slurm: four runs, two at a time"
submit
first=$(jq -r .array "$work/out/slurm/001/submission.json")
trained() { [ "$(state long "$1" .state)" = running ] && [ "$(state long "$1" .epoch)" -ge 2 ]; }
await 120 trained 1
await 120 trained 2
status
say "submitted again while all are in the queue"
submit

say "scancel ${first}_0, and kill -9 the process of ${first}_1"
scancel "${first}_0"
kill -9 "$(state long 2 .holder.process)"
ended() { ! squeue --noheader --array --format=%F_%K | grep -qx "${first}_$1"; }
await 120 ended 0
await 120 ended 1
status

say "submitted again: what is missing and not in the queue"
submit
over() { [ -z "$(squeue --noheader)" ]; }
await 1800 over
status

say "time limits reached, and what the jobs did then"
grep -h "queued again" "$work"/out/slurm/*/*.log | sort | uniq -c || fail "no run was continued"
[ "$(state long 1 .state) $(state long 2 .state) $(state short 1 .state) $(state short 2 .state)" = "done done done done" ] ||
    fail "a run is not done"
[ -s "$work/out/report.html" ] || fail "the report job has drawn nothing"

say "results.json against a local run's, without times and command"
"$program" reproduce --scale "$work/cluster.toml" --out "$work/local" >/dev/null 2>"$work/local.log"
numbers() { jq 'del(.times, .provenance.command) | .runs |= map(del(.times))' "$1"; }
cmp <(numbers "$work/out/results.json") <(numbers "$work/local/results.json") || fail "the numbers differ"
echo "the same $(numbers "$work/out/results.json" | wc -c) bytes"
