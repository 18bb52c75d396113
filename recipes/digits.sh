#!/usr/bin/env bash
# What `make digits` runs: the loop of recipes/spoken-digits.toml in ./digits, on the recordings in $RECORDINGS.
set -euo pipefail

recordings=${RECORDINGS:?say where the recordings are: make digits RECORDINGS=path/to/recordings}
if [ ! -d "$recordings" ]; then
  echo "error: no folder $recordings: README.md says where to get the Free Spoken Digit Dataset" >&2
  exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p digits
cd digits
ln -sfn "$recordings" recordings

if [ ! -f checkpoints/base/recipe.json ]; then
  printf '\n\033[1m== Teach the embedded base to hear the five speakers\033[0m\n'
  sari-train tiny spoken-digits
fi
BASE=checkpoints/base bash "$here/loop.sh" spoken-digits
