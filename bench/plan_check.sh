#!/usr/bin/env bash
# Compares a planned run with each single device, and with what was predicted:
#   bench/plan_check.sh TANDEM MODEL DEVICE,.. [PROMPT GENERATE CHUNK [OPTION..]]
# Costs are measured first. Options go to every `tandem` that runs the model (-t 1).
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
tandem=$1 model=$2 devices=$3 prompt=${4:-256} generate=${5:-32} chunk=${6:-128}
options=("${@:7}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

size=(-p "$prompt" -n "$generate" --ubatch-size "$chunk")
"$tandem" bench --blocks -m "$model" --device "$devices" "${size[@]}" "${options[@]}" \
  -o "$folder/costs.json"
"$tandem" plan -m "$model" --costs "$folder/costs.json" "${size[@]}" -o "$folder/plan.json" \
  >"$folder/plan.txt"

# The two speeds in the line of the summary that begins with $1.
predicted() { sed -n "s/^$1 *//p" "$folder/plan.txt" | awk '{print $1, $3}'; }
# Prompt and generation, tokens a second.
measured() {
  "$tandem" bench -m "$model" -p "$prompt" -n "$generate" -r 3 "$@" "${options[@]}" -o jsonl |
    sed -n 's/.*"avg_ts":\([0-9.e+]*\).*/\1/p' | tr '\n' ' '
}
report() {  # report NAME "PREDICTED" "MEASURED"
  awk -v name="$1" -v p="$2" -v m="$3" 'BEGIN { split(p, a); split(m, b);
    printf "%-16s %10.2f %10.2f %+6.1f %% %10.2f %10.2f %+6.1f %%\n", name,
      a[1], b[1], 100 * (a[1] / b[1] - 1), a[2], b[2], 100 * (a[2] / b[2] - 1) }'
}

printf '%-16s %32s %32s\n' "tokens/s" "prompt: predicted, measured" "generation: predicted, measured"
report "this plan" "$(predicted "this plan")" "$(measured --plan "$folder/plan.json")"
for device in ${devices//,/ }; do
  report "$device" "$(predicted "all on $device")" \
    "$(measured --device "$device" --ubatch-size "$chunk")"
done
cat "$folder/plan.txt"
