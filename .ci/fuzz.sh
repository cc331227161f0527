#!/bin/sh
# make fuzz: every fuzz target, FUZZTIME each; goes on after a crasher, which
# stays in the package's testdata/fuzz, and fails at the end.
cd "$(dirname "$0")/.." || exit 1
failed=0
for file in $(grep -rlE '^func Fuzz[A-Z0-9_]' --include='*_test.go' . | sort); do
	for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$file"); do
		echo "== $(dirname "$file") $target ${FUZZTIME:-60s}"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-60s}" "$(dirname "$file")" || failed=1
	done
done
[ $failed = 0 ] && echo "ALL GREEN" || echo "FAILED"
exit $failed
