#!/bin/sh
# Fails when a kernel unit defines a weak symbol: the linker might take that copy, compiled for a
# wider instruction set, for the whole program.
# Usage: check_kernel_symbols.sh LIBRARY OBJECT...   (objects as named in the library)
# SPDX-License-Identifier: Apache-2.0
set -eu
library=$1
shift
for object in "$@"; do
  symbols=$(nm -C "$library" | awk -v object="$object:" '
    $0 == object { inside = 1; found = 1; next }
    /^[^ ]+:$/ { inside = 0 }
    inside && ($2 == "W" || $2 == "V" || $2 == "u") { print }
    END { if (!found) print object " is not in the library" }')
  if [ -n "$symbols" ]; then
    echo "$object defines symbols that other units may share:" >&2
    echo "$symbols" >&2
    exit 1
  fi
done
