#!/bin/sh
# make bench: speed and memory of the gateway beside its peers (Orthanc, DCMTK) and
# beside the floors of ../shared/tools/floor, which are built in build/floor.
# What is not there is named. BENCHFLAGS: further flags, see gateway/bench.
cd "$(dirname "$0")/.." || exit 1
PATH=$PATH:/usr/sbin
export PATH

floors=""
if [ -d ../shared/tools/floor ]; then
	rm -rf build/floor
	mkdir -p build/floor
	sed 's/^module .*/module floor/; s|=> \./|=> ../../|' go.mod >build/floor/go.mod
	cp go.sum build/floor/
	floors=$PWD/build/floor
	for program in dicomfloor mllpfloor mllpload; do
		mkdir "build/floor/src-$program"
		cp "../shared/tools/floor/$program/main.go" "build/floor/src-$program/"
		(cd build/floor && CGO_ENABLED=0 go build -o "$program" "./src-$program") || exit 1
	done
fi
go build -o build/bench-driver ./gateway/bench || exit 1
# shellcheck disable=SC2086
exec build/bench-driver -floors "$floors" $BENCHFLAGS
