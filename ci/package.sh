#!/usr/bin/env bash
# Packages every crate that is published, looks into the archives, and builds a crate outside the workspace on the
# packaged density, geometry, ood and kernels, which runs the examples of their READMEs. The other READMEs show the
# example of their crate's front page, which is a test.
#
#   ci/package.sh              everything
#   ci/package.sh --no-build   archives only
#   CARGO_NET_OFFLINE=true     with the crates that Cargo has already
set -euo pipefail
cd "$(dirname "$0")/.."

build=true
case "${1:-}" in
    "") ;;
    --no-build) build=false ;;
    *) echo "usage: ci/package.sh [--no-build]" >&2; exit 2 ;;
esac

root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
# The version that the workspace asks for of a crate from crates.io.
version() { sed -n "s/^$1 = \"\\(.*\\)\"\$/\\1/p" Cargo.toml | head -n 1; }
# The first block of code of a Markdown text, without the lines that rustdoc hides.
example() { awk '/^```/ { if (inside) exit; inside = 1; next } inside && !/^#( |$)/'; }
front_page() { awk '!/^\/\/!/ { exit } { sub(/^\/\/! ?/, ""); print }' "$1/src/lib.rs" | example; }
outside_crates=(density geometry kernels ood)

unpublished=()
for name in collapse-testing collapse-benches xtask; do unpublished+=(--exclude "$name"); done
cargo package --workspace "${unpublished[@]}" --no-verify --allow-dirty --target-dir "$work/target"

mkdir "$work/registry"
for archive in "$work"/target/package/*.crate; do
    tar -xzf "$archive" -C "$work/registry"
    name=$(basename "$archive" .crate)
    for file in README.md LICENSE-APACHE LICENSE-MIT; do
        [ -s "$work/registry/$name/$file" ] || fail "$name has no $file"
    done
    if grep -rnE 'include_(str|bytes)!\("(\.\./)*' "$work/registry/$name/src" | sed -E 's/^([^:]+):[0-9]+:.*include_(str|bytes)!\("([^"]+)".*/\1 \3/' |
        while read -r source path; do [ -e "$(dirname "$source")/$path" ] || echo "$source includes $path"; done | grep .; then
        fail "$name includes files that are not in its archive"
    fi
    if find "$work/registry/$name" -type l | grep .; then fail "$name holds symbolic links"; fi
    case " ${outside_crates[*]} " in
        *" $(sed -E 's/^collapse-(.*)-[0-9.]+$/\1/' <<< "$name") "*) ;;
        *)
            diff <(example < "$work/registry/$name/README.md") <(front_page "$work/registry/$name") ||
                fail "$name: the example of README.md is not that of src/lib.rs"
            ;;
    esac
done
ls "$work/registry"
$build || exit 0

outside=$work/outside
mkdir -p "$outside/src"
# The versions of the workspace, so that this builds what its tests have seen.
cp Cargo.lock "$outside/Cargo.lock"
{
    printf '[package]\nname = "outside"\nversion = "0.0.0"\nedition = "2024"\npublish = false\n\n[workspace]\n\n[dependencies]\n'
    for crate in "${outside_crates[@]}"; do printf 'collapse-%s = "*"\n' "$crate"; done
    printf 'linfa = "%s"\nndarray = "%s"\n\n[patch.crates-io]\n' "$(version linfa)" "$(version ndarray)"
    for folder in "$work"/registry/*; do
        name=$(basename "$folder")
        printf '%s = { path = "%s" }\n' "${name%-[0-9]*}" "$folder"
    done
} > "$outside/Cargo.toml"
{
    for crate in "${outside_crates[@]}"; do
        printf 'fn %s() -> Result<(), Box<dyn std::error::Error>> {\n' "$crate"
        readme=$(echo "$work"/registry/collapse-"$crate"-[0-9]*/README.md)
        grep -q '^```rust$' "$readme" || fail "the README of collapse-$crate has no example"
        example < "$readme"
        printf 'println!("%s: as its README says");\nOk(())\n}\n' "$crate"
    done
    printf 'fn main() -> Result<(), Box<dyn std::error::Error>> {\n'
    for crate in "${outside_crates[@]}"; do printf '%s()?;\n' "$crate"; done
    printf 'Ok(())\n}\n'
} > "$outside/src/main.rs"
(cd "$outside" && CARGO_TARGET_DIR="$root/target/outside" cargo run)
