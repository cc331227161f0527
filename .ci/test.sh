#!/bin/sh
# make test: real peers, formatting, vet, build, tests with a summary.
#   CI=true            a missing peer is a failure
#   NHIP_NO_INSTALL=1  install nothing, also as root
#   TESTFLAGS          further flags for go test
cd "$(dirname "$0")/.." || exit 1
started=$(date +%s)
failed=""
missing=""

# Real peers: one line each, "package: a command that succeeds where it is there".
peers='
dcmtk: command -v storescp
orthanc: command -v Orthanc
mosquitto-clients: command -v mosquitto_sub
socat: command -v socat
python3-hl7: command -v mllp_send
libopenjp2-tools: command -v opj_decompress
openjph-tools: command -v ojph_compress
libgdcm-tools: command -v gdcmconv
dicom3tools: command -v dciodvfy
python3-pydicom: /usr/bin/python3 -c "import pydicom"
chromium: command -v chromium
strace: command -v strace
e2fsprogs: command -v mkfs.ext4
xfsprogs: command -v mkfs.xfs
ctn: command -v mwlQuery
nodejs: command -v node
npm: command -v npm
tshark: command -v tshark
'
PATH=$PATH:/usr/sbin
export PATH

install() {
	[ "$(id -u)" = 0 ] && [ -z "$NHIP_NO_INSTALL" ] && command -v apt-get >/dev/null || return 1
	if [ -z "$updated" ]; then
		echo "installing real peers for the tests (NHIP_NO_INSTALL=1 prevents it)"
		apt-get update -qq >/dev/null 2>&1
		updated=yes
	fi
	# RUNLEVEL=1: packages do not start their services.
	RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends "$1" >/dev/null 2>&1
}

while IFS=: read -r package probe; do
	[ -n "$package" ] || continue
	sh -c "$probe" </dev/null >/dev/null 2>&1 && continue
	install "$package" </dev/null
	sh -c "$probe" </dev/null >/dev/null 2>&1 || missing="$missing $package"
done <<END
$peers
END

# Peers of npm, in build/npm, where the tests look for them.
for module in dcmjs-dimse@0.3.3 simple-hl7@3.3.0 @medplum/hl7@4.5.2; do
	name=${module%@*}
	[ -d "build/npm/node_modules/$name" ] && continue
	[ -z "$NHIP_NO_INSTALL" ] && command -v npm >/dev/null && mkdir -p build/npm &&
		npm install --prefix build/npm --no-audit --no-fund --silent "$module" >/dev/null 2>&1
	[ -d "build/npm/node_modules/$name" ] || missing="$missing $name"
done

step() {
	echo "== $1"
	title=$1
	shift
	"$@" || failed="$failed, $title"
}

formatted() {
	files=$(git ls-files -co --exclude-standard '*.go' 2>/dev/null || find . -name '*.go')
	bad=$(echo "$files" | while read -r f; do [ ! -f "$f" ] || echo "$f"; done | xargs gofmt -l)
	[ -z "$bad" ] || { echo "not formatted:"; echo "$bad"; return 1; }
}

step "gofmt" formatted
step "go vet" go vet ./...
step "build" make -s build

race="-race"
if [ "$(go env CGO_ENABLED)" != 1 ] || ! command -v "$(go env CC)" >/dev/null; then
	race=""
fi

echo "== tests${race:+ with the race detector}"
rm -f build/report build/figures.jsonl
mkdir -p build
CGO_ENABLED=0 go build -o build/report .ci/report.go || exit 1
# The report reads the stream and decides; the shell sees its exit status.
# shellcheck disable=SC2086
go test $race -shuffle=on -p 2 -timeout 40m -json $TESTFLAGS ./... | build/report || failed="$failed, go test"

# Test, figure, limit and verdict of what was measured, also in build/soak.json.
step "figures" go run .ci/figures.go

echo "== summary after $(($(date +%s) - started)) s"
[ -n "$race" ] || echo "WITHOUT the race detector: it needs a C compiler"
if [ -n "$missing" ]; then
	echo "peers that are missing, their tests were skipped:$missing"
	[ "$CI" != true ] || failed="$failed, peers missing"
fi
if [ -n "$failed" ]; then
	echo "FAILED: ${failed#, }"
	exit 1
fi
echo "ALL GREEN"
