#!/usr/bin/env bash
# Records what a machine makes of plans over two devices, and the costs of the model's nodes there:
#   bench/record.sh TANDEM MODEL A B SHARE OUT.json [PROMPT GENERATE CHUNK [OPTION..]]
# The plans: everything on A, or on B; the first SHARE layers on A and the rest on B; the attention
# cores on A and the rest on B. Some run one step at a time, some have two or three in flight, some
# generate for several sequences. Two of them are for fitting. Options go to every `tandem` that runs the model (-t 1).
# bench/replay says how well the simulator predicts what the file holds.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
tandem=$1 model=$2 a=$3 b=$4 share=$5 out=$6 prompt=${7:-512} generate=${8:-32} chunk=${9:-128}
options=("${@:10}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
size=(-p "$prompt" -n "$generate")

"$tandem" bench --blocks -m "$model" --device "$a,$b" "${size[@]}" --parallel 4 \
  --ubatch-size "$chunk" "${options[@]}" -o "$folder/costs.json" >&2
"$tandem" plan -m "$model" --costs "$folder/costs.json" "${size[@]}" --ubatch-size "$chunk" \
  -o "$folder/planned.json" >&2
label=$(sed -n 's/^ *"model": "\(.*\)",$/\1/p' "$folder/planned.json")
layers=$(sed -n 's/.*"layers":\[\([^]]*\)\].*/\1/p' "$folder/costs.json" | tr ',' '\n' | wc -l)

rule() {  # rule NODES LAYERS DEVICE
  printf '{"nodes":[%s],%s"device":"%s"}' "$1" "${2:+\"layers\":\"$2\",}" "$3"
}
all='"qkv","core","out","ffn"'
on_one() { echo "$(rule '"embed","head"' "" "$1"),$(rule "$all" all "$1")"; }
by_layers() {
  echo "$(rule '"embed"' "" "$a"),$(rule "$all" "0-$((share - 1))" "$a")," \
    "$(rule "$all" "$share-$((layers - 1))" "$b"),$(rule '"head"' "" "$b")"
}
by_cores() {
  echo "$(rule '"embed","head"' "" "$b"),$(rule '"core"' all "$a")," \
    "$(rule '"qkv","out","ffn"' all "$b")"
}

run() {  # run NAME DEVICES DEPTH SEQUENCES RULES [FITTED]: adds a line to runs.json
  printf '{"model":"%s","devices":[%s],"chunk":%s,"pipeline_depth":%s,"prefill":[%s],"decode":[%s]}' \
    "$label" "$2" "$chunk" "$3" "$5" "$5" >"$folder/plan.json"
  echo "$1, depth $3, $4 sequences" >&2
  "$tandem" bench -m "$model" --plan "$folder/plan.json" "${size[@]}" -r 3 --parallel "$4" \
    "${options[@]}" -o jsonl >"$folder/bench.jsonl"
  local speeds
  mapfile -t speeds < <(sed -n 's/.*"avg_ts":\([0-9.e+]*\).*/\1/p' "$folder/bench.jsonl")
  printf '%s  {"name":"%s","sequences":%s,"prompt_speed":%.2f,"generation_speed":%.2f,%s\n   "plan":%s}' \
    "$separator" "$1" "$4" "${speeds[@]}" "${6:+\"fitted\":true,}" "$(cat "$folder/plan.json")" \
    >>"$folder/runs.json"
  separator=$',\n'
}

separator="" both="\"$a\",\"$b\""
run "all on $a" "\"$a\"" 1 1 "$(on_one "$a")"
run "all on $b" "\"$b\"" 1 1 "$(on_one "$b")"
run "by layers" "$both" 1 1 "$(by_layers)" fitted
run "by layers" "$both" 2 1 "$(by_layers)"
run "by layers" "$both" 3 1 "$(by_layers)"
run "by cores" "$both" 1 1 "$(by_cores)" fitted
run "by cores" "$both" 2 1 "$(by_cores)"
run "all on $b" "\"$b\"" 1 2 "$(on_one "$b")"
run "all on $b" "\"$b\"" 1 4 "$(on_one "$b")"
run "by layers" "$both" 1 2 "$(by_layers)"
run "by layers" "$both" 2 2 "$(by_layers)"
run "by layers" "$both" 2 4 "$(by_layers)"
devices=$(sed -n '1s/.*"gpu_info":"\([^"]*\)".*/\1/p' "$folder/bench.jsonl")
{
  printf '{"machine":"%s cores; %s",\n "version":"%s",\n "command":"%s",\n' "$(nproc)" "$devices" \
    "$("$tandem" --version)" \
    "tandem bench -m MODEL --plan PLAN ${size[*]} -r 3 --parallel SEQUENCES ${options[*]}"
  printf ' "prompt":%s,"generation":%s,\n "runs":[\n%s\n ],\n "costs":\n%s}\n' "$prompt" \
    "$generate" "$(cat "$folder/runs.json")" "$(cat "$folder/costs.json")"
} >"$out"
