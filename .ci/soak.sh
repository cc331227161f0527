#!/bin/sh
# make soak: the long forms of the tests that kill, cut, fill and damage. Prints
# one table at the end, also of what was not run and why; the same in
# build/soak.json.
#   SOAKFLAGS     further flags for go test
cd "$(dirname "$0")/.." || exit 1
PATH=$PATH:/usr/sbin
export PATH
mkdir -p build
rm -f build/figures.jsonl
CGO_ENABLED=0 go build -o build/report .ci/report.go || exit 1
failed=0
# shellcheck disable=SC2086
NHIP_SOAK=1 go test -count=1 -p 1 -timeout 4h -json $SOAKFLAGS ./storage/... ./gateway/... ./drivers/... ./dicom/... ./hardware-sim/... |
	build/report || failed=1
echo "== figures"
go run .ci/figures.go || failed=1
[ $failed = 0 ] && echo "ALL GREEN" || echo "FAILED"
exit $failed
