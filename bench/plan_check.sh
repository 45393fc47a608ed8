#!/usr/bin/env bash
# Compares a planned run with each single device, and with what was predicted:
#   bench/plan_check.sh TANDEM MODEL DEVICE,.. [PROMPT GENERATE CHUNK [OPTION..]]
# Costs are measured first. Of two devices and more also a fixed mixed plan, one step at a time,
# that runs the FFNs on the second device and the rest on the first: its time is to be the sum of
# its nodes. Options go to every `tandem` that runs the model (-t 1). A test runs for SECONDS_EACH
# (3): the first runs after a pause are slow.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
tandem=$1 model=$2 devices=$3 prompt=${4:-256} generate=${5:-32} chunk=${6:-128}
options=("${@:7}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

size=(-p "$prompt" -n "$generate" --ubatch-size "$chunk")
"$tandem" bench --blocks -m "$model" --device "$devices" "${size[@]}" "${options[@]}" \
  -o "$folder/costs.json"
plan() { "$tandem" plan -m "$model" --costs "$folder/costs.json" "${size[@]}" "$@"; }
plan -o "$folder/plan.json" >"$folder/plan.txt"

# The two speeds in the line of the summary $2 that begins with $1.
predicted() { sed -n "s/^$1 *//p" "$2" | awk '{print $1, $3}'; }
# speed TOKENS PREDICTED OPTION..: tokens a second, the median of at least five runs.
speed() {
  local runs
  runs=$(awk -v s="${SECONDS_EACH:-3}" -v n="$1" -v v="$2" \
    'BEGIN { r = int(s * v / n); print (r < 5 ? 5 : (r > 1000 ? 1000 : r)) }')
  "$tandem" bench -m "$model" -r "$runs" "${@:3}" "${options[@]}" -o jsonl |
    sed -n 's/.*"samples_ts":\[\([^]]*\)\].*/\1/p' | tr ',' '\n' | sort -g |
    awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'
}
# compare NAME "PREDICTED" OPTION..: a prompt, and generation after it.
compare() {
  local predicted
  read -ra predicted <<<"$2"
  report "$1" "$2" "$(speed "$prompt" "${predicted[0]}" -p "$prompt" -n 0 "${@:3}") \
$(speed "$generate" "${predicted[1]}" -p 0 -n "$generate" -d "$prompt" "${@:3}")"
}
report() {  # report NAME "PREDICTED" "MEASURED"
  awk -v name="$1" -v p="$2" -v m="$3" 'BEGIN { split(p, a); split(m, b);
    printf "%-16s %10.2f %10.2f %+6.1f %% %10.2f %10.2f %+6.1f %%\n", name,
      a[1], b[1], 100 * (a[1] / b[1] - 1), a[2], b[2], 100 * (a[2] / b[2] - 1) }'
}
mixed_plan() {  # mixed_plan FIRST SECOND
  local nodes='{"nodes": ["embed", "head"], "device": "'$1'"},
    {"nodes": ["qkv", "core", "out"], "layers": "all", "device": "'$1'"},
    {"nodes": ["ffn"], "layers": "all", "device": "'$2'"}'
  printf '{"model": %s, "devices": ["%s", "%s"], "chunk": %s, "prefill": [%s], "decode": [%s]}\n' \
    "$(sed -n 's/.*"model": *\("[^"]*"\).*/\1/p' "$folder/plan.json")" \
    "$1" "$2" "$chunk" "$nodes" "$nodes"
}

printf '%-16s %32s %32s\n' "tokens/s" "prompt: predicted, measured" "generation: predicted, measured"
compare "this plan" "$(predicted "this plan" "$folder/plan.txt")" --plan "$folder/plan.json"
for device in ${devices//,/ }; do
  compare "$device" "$(predicted "all on $device" "$folder/plan.txt")" \
    --device "$device" --ubatch-size "$chunk"
done
if [[ $devices == *,* ]]; then
  IFS=, read -r first second _ <<<"$devices"
  mixed_plan "$first" "$second" >"$folder/mixed.json"
  plan --plan "$folder/mixed.json" >"$folder/mixed.txt"
  compare "mixed, depth 1" "$(predicted "this plan" "$folder/mixed.txt")" \
    --plan "$folder/mixed.json"
fi
cat "$folder/plan.txt"
