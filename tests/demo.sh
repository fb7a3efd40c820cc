#!/bin/sh
# Builds tmq, records a small program of this repository and shows where its memory was. Needs Rust and a C compiler.
set -e
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
cargo build --release --workspace --locked
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -O2 -g tests/workloads/demo.c -o "$work/demo" -lm
"$target/release/tmq" record -o "$work/demo.tmq" -- "$work/demo"
"$target/release/tmq" top "$work/demo.tmq"
"$target/release/tmq" sql -r "$work/demo.tmq" --format table \
    "select kind, count(*) as allocations, sum(size) as bytes from allocations group by kind order by bytes desc"
