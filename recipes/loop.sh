#!/usr/bin/env bash
# The whole loop of a recipe, in the current folder: corpus, difficulty, warm-up, GRPO, benchmark, leaderboard.
#
#   bash recipes/loop.sh demo             what `make demo` runs
#   bash recipes/loop.sh spoken-digits    the same on real recordings
#
# Every step is a command that can be typed by itself; each is shown before it runs. Stopped in the middle, the script
# starts the corpus anew but goes on with training and benchmark runs where they were.
set -euo pipefail

recipe=${1:?which recipe? for instance: bash recipes/loop.sh demo}
shift
base=${BASE:-tiny}
benchmark=${BENCHMARK:-scenes}
started=$(date +%s)

step() { printf '\n\033[1m== %s\033[0m  (%d s so far)\n' "$1" $(($(date +%s) - started)); }
run() {
  printf '\033[2m$ %s\033[0m\n' "$*"
  "$@"
}

step "Build the corpus and measure how hard each question is for the base model"
if [ -f corpus/manifest.json ]; then
  echo "corpus/ is complete already: using it"
else
  run sari-data build "$recipe" "$@"
fi

step "Warm up: supervised fine-tuning on chains of thought"
run sari-train sft "$recipe" "$@"

step "Reinforce: GRPO from easy to hard"
run sari-train grpo "$recipe" "$@"

step "Benchmark on held-out questions: base, SFT, SARI"
run sari-bench run "$recipe" --model "$base" --mode direct --name base
run sari-bench run "$recipe" --model checkpoints/sft --mode structured --name SFT
run sari-bench run "$recipe" --model checkpoints/grpo --mode structured --name SARI

step "One question before and after, and the gain"
run sari-bench compare "runs/$benchmark/base" "runs/$benchmark/SARI" --transcript

step "Leaderboard"
run sari-bench report --leaderboard --html report.html
step "Done"
