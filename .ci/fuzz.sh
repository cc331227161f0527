#!/bin/sh
# make fuzz: every fuzz target, FUZZTIME each; goes on after a crasher, which
# stays in the package's testdata/fuzz, and fails at the end. FUZZTIME is a time (60s)
# or a number of executions (1000000x).
cd "$(dirname "$0")/.." || exit 1
failed=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for file in $(grep -rlE '^func Fuzz[A-Z0-9_]' --include='*_test.go' . | sort); do
	for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$file"); do
		echo "== $(dirname "$file") $target ${FUZZTIME:-60s}"
		{ go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-60s}" "$(dirname "$file")" || echo "exit status of $target: $?"; } 2>&1 | tee "$log"
		grep -q "^exit status of $target:" "$log" || continue
		# Go's coordinator may take the end of its own time for a failure, on a busy machine
		# (golang/go#75804, mended in Go 1.27): then no input has failed, and none is written.
		if grep -q '^ *context deadline exceeded$' "$log" && ! grep -qE 'Failing input|panic:|fatal error:|_test.go:[0-9]+:' "$log"; then
			echo "$target: no input failed; the time was over (golang/go#75804)"
			continue
		fi
		failed=1
	done
done
[ $failed = 0 ] && echo "ALL GREEN" || echo "FAILED"
exit $failed
