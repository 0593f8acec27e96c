#!/usr/bin/env bash
# What a terminal of 80 columns and 24 rows shows of a small experiment: `reproduce` in one pane of tmux, `status` in
# another, before, while training and measuring, after Ctrl-C in both moments, after kill -9 and when all is done. The
# captures go to standard output. Needs tmux (installed where apt-get can) and takes some minutes.
#
#   ci/terminal.sh [PROGRAM]       PROGRAM: target/debug/xtask unless given
set -euo pipefail
cd "$(dirname "$0")/.."
command -v tmux >/dev/null || { apt-get update -qq && apt-get install --yes --no-install-recommends tmux >/dev/null; }
work=$(mktemp -d)
cp "${1:-target/debug/xtask}" "$work/collapse"
server=collapse-terminal-$$
mux() { tmux -L "$server" -f /dev/null "$@"; }
trap 'mux kill-server 2>/dev/null || true; rm -rf "$work"' EXIT
cat >"$work/tiny.toml" <<TOML
scale = "tiny"
description = "four short runs to be looked at"
seeds = [1, 2]
width = 16
batch = 64
learning_rate = 0.1
momentum = 0.9
weight_decay = 5e-4
precision = "f32"
measure_at = [2]
[data]
id = "embedded"
[[group]]
id = "l2"
l2 = true
epochs = 4
schedule = "short"
[[group]]
id = "base"
l2 = false
epochs = 4
schedule = "short"
TOML
scale="--scale tiny.toml --out out"
seen() { (cd "$work" && ./collapse status $scale --json); }

# A shell without a prompt's decorations, in the folder of the experiment.
pane() { mux "$@" "cd '$work' && PS1='\$ ' HISTFILE= RAYON_NUM_THREADS=1 exec bash --norc --noprofile"; }
export TERM=xterm-256color LC_ALL=C.UTF-8
pane new-session -d -s work -x 80 -y 24
pane new-window -d -t work:1
type_in() { mux send-keys -t "work:$1" "$2" Enter; }
ctrl_c() { mux send-keys -t "work:$1" C-c; }
text() { mux capture-pane -p -t "work:$1"; }
# Up to ten minutes for text on a pane, or in the store.
await() {
    for _ in $(seq 6000); do
        if "$@" 2>/dev/null; then return; fi
        sleep 0.1
    done
    echo "waited too long for: $*" >&2
    text 0 >&2
    text 1 >&2
    exit 1
}
shows() { text "$1" | grep -qE -- "$2"; }
holds() { seen | grep -qE -- "$1"; }
show() {
    printf '\n# %s: %s\n' "$2" "$1"
    text "$3" | sed -e "s|$work/||g" -e :a -e '/^\n*$/{$d;N;ba' -e '}'
}
both() { show "$1" status 1 && show "$1" reproduce 0; }

type_in 1 "./collapse status $scale"
await shows 1 "pending"
show "nothing is begun" status 1
type_in 0 "./collapse reproduce $scale --jobs 1"
await holds '"state":"running","epoch":1,'
sleep 3
both "training"
ctrl_c 0
await shows 0 'interrupted|stopped'
await holds '"state":"stopped"'
sleep 3
both "Ctrl-C while training"
type_in 0 "clear; ./collapse reproduce $scale --jobs 1"
await holds '"state":"running"'
sleep 3
both "started again"
await shows 1 measuring
both "measuring"
ctrl_c 0
await holds '"state":"stopped"'
sleep 3
both "Ctrl-C while measuring"
type_in 0 "clear; ./collapse reproduce $scale --jobs 1"
await holds '"seed":2,"state":"running","epoch":[123]'
sleep 3
both "started once more, the second run"
kill -9 "$(seen | grep -oP '"state":"running".*"process":\K[0-9]+' | head -n 1)"
await shows 1 stale
show "after kill -9" status 1
type_in 0 "clear; ./collapse reproduce $scale --jobs 1 | tail -n 1"
await shows 1 '^Scale tiny: 4 of 4 done'
await shows 0 'Numbers:'
both "done"
type_in 1 "clear; ./collapse status --scale quick --out none"
await shows 1 '^Scale quick: 0 of'
show "the quick scale, whose runs just fit" status 1
ctrl_c 1
await shows 1 '\^C'
type_in 1 'code=$?; clear; echo "exit code $code"'
await shows 1 '^exit code [0-9]+$'
show "after Ctrl-C" status 1
