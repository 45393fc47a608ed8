#!/usr/bin/env bash
# Compares the planner's plan with each single device, and speeds with what was predicted:
#   bench/plan_check.sh TANDEM MODEL DEVICE,.. [PROMPT GENERATE CHUNK [OPTION..]]
# Costs are measured first, and devices are planned for. Of two devices and more also a fixed mixed
# plan runs one step at a time, the FFNs on the second device and the rest on the first: its time is
# to be the sum of its nodes. Options go to every `tandem` that runs the model (-t 1). All run in
# turn, A B A B; speeds are medians of all runs. Environment:
#   DEPTH=3                steps in flight at most; a plan that has several also runs one at a time
#   MEMORY=vulkan:0=700e6  plan as if this memory, as the costs name it, had so many bytes
#   ROUNDS=5               turns
#   SECONDS_EACH=3         of one test in a turn; the first runs after a pause are slow
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
tandem=$1 model=$2 devices=$3 prompt=${4:-256} generate=${5:-32} chunk=${6:-128}
options=("${@:7}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
costs=$folder/costs.json size=(-p "$prompt" -n "$generate" --ubatch-size "$chunk")

limit_memory() {  # limit_memory NAME=BYTES
  local line="{\"name\":\"${1%=*}\",\"size\":" bytes
  bytes=$(awk -v bytes="${1##*=}" 'BEGIN { printf "%.0f", bytes }')
  if ! grep -qF "$line" "$costs"; then
    echo "plan_check.sh: the costs have no memory ${1%=*}; they have:" \
      "$(sed -n 's/.*{"name":"\([^"]*\)","size":.*/\1/p' "$costs" | paste -sd ' ')" >&2
    exit 2
  fi
  sed -i "s/^\( *$line\)[0-9]*/\1$bytes/" "$costs"
}

# ---- Plans ---------------------------------------------------------------------------------------

# What runs: for each name the prediction ("PROMPT GENERATION") and tandem's options.
names=()
declare -A predicted arguments

plan() { "$tandem" plan -m "$model" --costs "$costs" "${size[@]}" "$@"; }
# add NAME LINE SUMMARY ARGUMENTS: the line of the summary predicts, if the plan is possible.
add() {
  local line
  line=$(sed -n "s/^$2  *//p" "$3")
  if ! [[ $line =~ ^[0-9] ]]; then
    echo "$1: $line"
    return
  fi
  names+=("$1")
  predicted[$1]=$(awk '{print $1, $3}' <<<"$line")
  arguments[$1]=$4
}
add_plan() {  # add_plan NAME FILE
  plan --plan "$2" >"$folder/summary.txt"
  add "$1" "this plan" "$folder/summary.txt" "--plan $2"
}
mixed_plan() {  # mixed_plan FIRST SECOND
  local nodes='{"nodes": ["embed", "head"], "device": "'$1'"},
    {"nodes": ["qkv", "core", "out"], "layers": "all", "device": "'$1'"},
    {"nodes": ["ffn"], "layers": "all", "device": "'$2'"}'
  printf '{"model": %s, "devices": ["%s", "%s"], "chunk": %s, "prefill": [%s], "decode": [%s]}\n' \
    "$(sed -n 's/.*"model": *\("[^"]*"\).*/\1/p' "$folder/plan.json")" \
    "$1" "$2" "$chunk" "$nodes" "$nodes"
}

"$tandem" bench --blocks -m "$model" --device "$devices" "${size[@]}" "${options[@]}" -o "$costs"
if [[ -n ${MEMORY:-} ]]; then limit_memory "$MEMORY"; fi
plan --depth "${DEPTH:-1}" -o "$folder/plan.json" >"$folder/plan.txt"
cat "$folder/plan.txt"
echo
add "the plan" "this plan" "$folder/plan.txt" "--plan $folder/plan.json"
for device in ${devices//,/ }; do
  add "$device" "all on $device" "$folder/plan.txt" "--device $device --ubatch-size $chunk"
done
depth=$(sed -n 's/.*"pipeline_depth": *\([0-9]*\).*/\1/p' "$folder/plan.json")
if [[ ${depth:-1} -gt 1 ]]; then
  sed 's/\("pipeline_depth": *\)[0-9]*/\11/' "$folder/plan.json" >"$folder/depth1.json"
  add_plan "the plan, depth 1" "$folder/depth1.json"
fi
if [[ $devices == *,* ]]; then
  IFS=, read -r first second _ <<<"$devices"
  mixed_plan "$first" "$second" >"$folder/mixed.json"
  add_plan "mixed, depth 1" "$folder/mixed.json"
fi

# ---- Runs ----------------------------------------------------------------------------------------

# run TOKENS PREDICTED OPTION..: a line for each run, with its tokens a second.
run() {
  local runs
  runs=$(awk -v s="${SECONDS_EACH:-3}" -v n="$1" -v v="$2" \
    'BEGIN { r = int(s * v / n); print (r < 2 ? 2 : (r > 1000 ? 1000 : r)) }')
  "$tandem" bench -m "$model" -r "$runs" "${@:3}" "${options[@]}" -o jsonl |
    sed -n 's/.*"samples_ts":\[\([^]]*\)\].*/\1/p' | tr ',' '\n'
}
for ((round = 1; round <= ${ROUNDS:-5}; ++round)); do
  for name in "${names[@]}"; do
    read -ra speeds <<<"${predicted[$name]}"
    read -ra options_of_plan <<<"${arguments[$name]}"
    run "$prompt" "${speeds[0]}" "${options_of_plan[@]}" -p "$prompt" -n 0 \
      >>"$folder/$name.prompt"
    run "$generate" "${speeds[1]}" "${options_of_plan[@]}" -p 0 -n "$generate" -d "$prompt" \
      >>"$folder/$name.generation"
  done
done

# ---- Figures -------------------------------------------------------------------------------------

median() {
  sort -g "$1" |
    awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'
}
declare -A measured
for name in "${names[@]}"; do
  measured[$name]="$(median "$folder/$name.prompt") $(median "$folder/$name.generation")"
done

# seconds "PROMPT GENERATION": of the whole request at these speeds.
seconds() { awk -v p="$prompt" -v g="$generate" '{print p / $1 + g / $2}' <<<"$1"; }
# compare TITLE "SPEEDS" "REFERENCE": in percent, of the prompt, of generation and of both together.
compare() {
  awk -v title="$1" -v a="$2" -v b="$3" -v at="$(seconds "$2")" -v bt="$(seconds "$3")" 'BEGIN {
    split(a, x); split(b, y)
    printf "%-50s %+8.1f %% %+9.1f %% %+9.1f %%\n", title,
      100 * (x[1] / y[1] - 1), 100 * (x[2] / y[2] - 1), 100 * (bt / at - 1) }'
}

printf '%-20s %34s %34s\n' "tokens/s" "prompt: predicted, measured" "generation: predicted, measured"
for name in "${names[@]}"; do
  awk -v name="$name" -v p="${predicted[$name]}" -v m="${measured[$name]}" 'BEGIN {
    split(p, a); split(m, b)
    printf "%-20s %11.2f %11.2f %+7.1f %% %11.2f %11.2f %+7.1f %%\n", name,
      a[1], b[1], 100 * (a[1] / b[1] - 1), a[2], b[2], 100 * (a[2] / b[2] - 1) }'
done

best="" least=""
for device in ${devices//,/ }; do
  if [[ -z ${measured[$device]:-} ]]; then continue; fi
  taken=$(seconds "${measured[$device]}")
  if [[ -z $best ]] || awk -v a="$taken" -v b="$least" 'BEGIN { exit !(a < b) }'; then
    best=$device least=$taken
  fi
done
printf '\n%-50s %10s %11s %11s\n' "speeds, more or less than" "prompt" "generation" "both"
if [[ -n $best ]]; then
  compare "the plan, than $best, the best device" "${measured[the plan]}" "${measured[$best]}"
fi
compare "the plan, predicted than measured" "${predicted[the plan]}" "${measured[the plan]}"
for name in "the plan, depth 1" "mixed, depth 1"; do
  if [[ -z ${measured[$name]:-} ]]; then continue; fi
  compare "$name, measured than its sum of nodes" "${measured[$name]}" "${predicted[$name]}"
done
if [[ -n ${measured[the plan, depth 1]:-} ]]; then
  compare "the plan at depth $depth, than at depth 1" "${measured[the plan]}" \
    "${measured[the plan, depth 1]}"
fi
