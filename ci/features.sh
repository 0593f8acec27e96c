#!/usr/bin/env bash
# Checks every crate of the workspace without features and with each feature alone, by cargo-hack where it is installed.
#
#   ci/features.sh [CRATE…]     all crates unless named
set -euo pipefail
cd "$(dirname "$0")/.."

# Toolkits of graphics processors, which few machines have.
skipped=(cuda metal)

if command -v cargo-hack >/dev/null; then
    packages=(--workspace)
    for crate in "$@"; do packages+=(--package "$crate"); done
    if [ $# -gt 0 ]; then unset 'packages[0]'; fi
    cargo hack check "${packages[@]}" --each-feature --exclude-all-features --exclude-features "$(IFS=,; echo "${skipped[*]}")"
    exit
fi

# One line a crate: its name, then its features.
cargo metadata --no-deps --format-version 1 |
    jq -r '.packages[] | [.name] + (.features | keys) | join(" ")' |
    while read -r crate features; do
        if [ $# -gt 0 ] && [[ " $* " != *" $crate "* ]]; then continue; fi
        echo "== $crate without features"
        cargo check --quiet --package "$crate" --no-default-features </dev/null
        for feature in $features; do
            if [[ " default ${skipped[*]} " == *" $feature "* ]]; then continue; fi
            echo "== $crate with $feature"
            cargo check --quiet --package "$crate" --no-default-features --features "$feature" </dev/null
        done
    done
