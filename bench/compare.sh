#!/usr/bin/env bash
# Measures tandem beside llama.cpp's llama-bench on the same file, alternating A B A B so that a
# machine that changes its speed changes it for both, and prints medians and their ratio.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: bench/compare.sh -m MODEL [OPTION]...

  -m MODEL       GGUF file
  -o OTHER       the other program's command (default: $LLAMA_BENCH, else llama-bench); it gets
                 -m, -p, -n, -d, -t, -r and -o as llama-bench takes them
  -M PATH        MODEL's path as the other program sees it, where that differs
  -x TANDEM      tandem's command (default: build/release/tandem)
  -t THREADS     threads (default: the machine's)
  -p N, -n N     prompt and generated tokens (default: 512 and 128)
  -d N           tokens in the cache before the clock starts (default: 0)
  -k ROUNDS      rounds of one run of each program (default: 5)

For example: bench/compare.sh -m 1b.gguf -o "llama-bench -dev none" -t 2
TEXT
}

model='' other_model='' other=${LLAMA_BENCH:-llama-bench} tandem=build/release/tandem
threads=$(nproc) prompt=512 generate=128 depth=0 rounds=5
while getopts 'm:M:o:x:t:p:n:d:k:h-:' option; do
  case $option in
    m) model=$OPTARG ;;
    M) other_model=$OPTARG ;;
    o) other=$OPTARG ;;
    x) tandem=$OPTARG ;;
    t) threads=$OPTARG ;;
    p) prompt=$OPTARG ;;
    n) generate=$OPTARG ;;
    d) depth=$OPTARG ;;
    k) rounds=$OPTARG ;;
    h | -) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
[ -n "$model" ] || { echo "bench/compare.sh: give a model with -m" >&2; usage >&2; exit 2; }
other_model=${other_model:-$model}

# one COMMAND MODEL: "pp SPEED" and "tg SPEED" of one repetition.
one() {
  local command=$1 file=$2
  # The commands may have arguments of their own.
  # shellcheck disable=SC2086
  $command -m "$file" -p "$prompt" -n "$generate" -d "$depth" -t "$threads" -r 1 -o jsonl 2>/dev/null |
    sed -nE 's/.*"n_prompt": ?([0-9]+), ?"n_gen": ?([0-9]+).*"avg_ts": ?([0-9.e+-]+).*/\1 \2 \3/p' |
    awk '{ print ($2 == 0 ? "pp" : "tg"), $3 }'
}

results=$(mktemp)
trap 'rm -f "$results"' EXIT
run() {  # run NAME COMMAND MODEL
  local lines
  lines=$(one "$2" "$3") || true
  [ -n "$lines" ] || { echo "bench/compare.sh: '$2' printed no results; run it by hand to see why" >&2; exit 1; }
  sed "s/^/$1 /" <<<"$lines" >>"$results"
}
for ((round = 1; round <= rounds; ++round)); do
  [ ! -t 2 ] || printf '\rround %d of %d' "$round" "$rounds" >&2
  run tandem "$tandem bench" "$model"
  run other "$other" "$other_model"
done
[ ! -t 2 ] || printf '\r%20s\r' '' >&2

# median_of NAME TEST, lowest and highest after it
median_of() {
  awk -v name="$1" -v test="$2" '$1 == name && $2 == test { print $3 }' "$results" | sort -g |
    awk '{ v[NR] = $1 } END { if (NR) print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2, v[1], v[NR] }'
}
printf '%s, %s threads, %s rounds, tokens per second: median (lowest to highest)\n\n' \
  "$(basename "$model")" "$threads" "$rounds"
printf '| %-14s | %-28s | %-28s | %5s |\n' test tandem llama.cpp ratio
printf '| :------------- | ---------------------------: | ---------------------------: | ----: |\n'
for test in pp tg; do
  [ "$test" = pp ] && count=$prompt || count=$generate
  [ "$count" -gt 0 ] || continue
  read -r ours ours_low ours_high < <(median_of tandem $test)
  read -r theirs theirs_low theirs_high < <(median_of other $test)
  name=$test$count
  [ "$depth" -eq 0 ] || name="$name @ d$depth"
  awk -v name="$name" -v a="$ours" -v al="$ours_low" -v ah="$ours_high" -v b="$theirs" \
    -v bl="$theirs_low" -v bh="$theirs_high" 'BEGIN {
      printf "| %-14s | %28s | %28s | %5.2f |\n", name, sprintf("%.1f (%.1f to %.1f)", a, al, ah),
             sprintf("%.1f (%.1f to %.1f)", b, bl, bh), a / b }'
done
