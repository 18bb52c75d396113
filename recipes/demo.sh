#!/usr/bin/env bash
# What `make demo` runs: the loop of recipes/demo.toml in ./demo.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p demo
cd demo
cat <<'TEXT'
A small audio language model is taught to reason about what it hears.

The model is a Qwen2-Audio of 1.2 million parameters that hears well and answers directly, but has never seen a chain
of thought. The audio is composed scenes of sounds, music and spoken numbers, whose truth is known. The steps below
build a corpus, warm the model up on chains (SFT), reinforce it from easy to hard (GRPO), and measure it before and
after on 900 held-out scenes. Everything is written into ./demo.
TEXT
bash "$here/loop.sh" demo "$@"
echo "Open demo/report.html for every figure, and read recipes/demo.toml for what was run."
