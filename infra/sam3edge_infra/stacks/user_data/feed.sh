#!/usr/bin/env bash
# Puts the next scene into the watched folder under a new name, and removes what was fed an hour ago.
#   feed.sh SCENES WATCHED STATE
set -euo pipefail
scenes=$1 watched=$2 state=$3

mapfile -t files < <(find "$scenes" -type f \( -name '*.jpg' -o -name '*.png' \) | sort)
if [ "${#files[@]}" -eq 0 ]; then
  echo "expected images in $scenes, got none" >&2
  exit 1
fi
count=0
if [ -s "$state" ]; then count=$(<"$state"); fi
scene=${files[count % ${#files[@]}]}
name=$(printf 'fed-%08d-%s' "$count" "$(basename "$scene")")
cp "$scene" "$watched/.$name.part" # renamed when it is whole, so that nobody reads half of it
mv "$watched/.$name.part" "$watched/$name"
echo "$((count + 1))" >"$state.part"
mv "$state.part" "$state"
find "$watched" -maxdepth 1 -type f -name 'fed-*' -mmin +60 -delete
