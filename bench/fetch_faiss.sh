#!/usr/bin/env bash
# Get the source of FAISS 1.12 into a folder, out of the crate that bundles it, with cargo:
#
#   bench/fetch_faiss.sh ~/faiss
#   cmake --preset release -DKINDRED_FAISS_SOURCE="$HOME/faiss"       # -DKINDRED_FAISS_LEVEL=avx512 where the CPU has it
#   cmake --build build
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2; }
target=$(realpath -m "$1")
[ ! -e "$target" ] || { echo "$target is there already"; exit 1; }
project=$(mktemp -d)
trap 'rm -rf "$project"' EXIT
mkdir "$project/src"
touch "$project/src/lib.rs"
cat >"$project/Cargo.toml" <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
faiss-sys = { version = "=0.7.0", default-features = false }
TOML
(cd "$project" && cargo vendor --quiet vendor >/dev/null)
mkdir -p "$(dirname "$target")"
cp -r "$project/vendor/faiss-sys/faiss" "$target"
echo "FAISS $(sed -n 's/^ *VERSION \([0-9.]*\)$/\1/p' "$target/CMakeLists.txt" | head -1) is in $target"
