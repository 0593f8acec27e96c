#!/usr/bin/env bash
# Follows docs/recipes.md: ci/recipes/NAME.patch is what a recipe adds, here to a copy of the last commit, and the tests of the crates
# that it touches must pass with it. A detector is then scored with and timed.
#
#   ci/recipes.sh [detector|network|set|table ...]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target/recipes}"
work=$(mktemp -d)
tree=$work/tree
trap 'git -C "$root" worktree remove --force "$tree" 2>/dev/null; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$tree" HEAD
cd "$tree"

# follow NAME CRATE...
follow() {
    local name=$1
    shift
    printf '\n== recipe %s\n' "$name"
    git apply "$root/ci/recipes/$name.patch"
    cargo fmt --all --check
    for crate in "$@"; do
        cargo clippy --quiet -p "$crate" --all-targets -- -D warnings
        cargo test --quiet -p "$crate"
    done
    if [ "$name" = detector ]; then
        use_the_detector
    fi
    git checkout --quiet .
    git clean --quiet -fd
}

use_the_detector() {
    python3 - "$work" <<'PYTHON'
import pathlib, random, sys
random.seed(1)
def write(name, rows, shift):
    lines = ["feature0,feature1,feature2,feature3,label"]
    for row in range(rows):
        c = row % 3
        values = [random.gauss(3.0 * (c == j) + shift, 0.5) for j in range(4)]
        lines.append(",".join(f"{v:.6f}" for v in values) + f",{c}")
    pathlib.Path(sys.argv[1], name).write_text("\n".join(lines) + "\n")
write("train.csv", 300, 0.0)
write("test.csv", 90, 0.0)
write("far.csv", 90, 4.0)
PYTHON
    cargo run --quiet -p xtask -- score --train "$work/train.csv" --test "$work/test.csv" \
        --ood far="$work/far.csv" --detector cosine --out "$work/scores"
    # 75: the machine is restless. 78: no floors for this kind of processor.
    local code=0
    cargo run --quiet -p xtask -- bench --check --short --only score/cosine --out "$work/bench" || code=$?
    case $code in 0 | 75 | 78) ;; *) return "$code" ;; esac
}

[ $# -gt 0 ] || set -- detector network set table
for name in "$@"; do
    case $name in
        detector) follow detector collapse-ood ;;
        network) follow network collapse-models collapse-experiment ;;
        set) follow set collapse-data ;;
        table) follow table collapse-report ;;
        *) echo "no recipe $name" >&2; exit 2 ;;
    esac
done
printf '\nAll recipes hold.\n'
