# Nhịp. Needs Go only; `make test` also uses real peers where they are installed.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: build test fuzz soak bench demo hospital clean

# Two static programs.
build:
	@mkdir -p build
	$(GOBUILD) -o build/nhip ./gateway
	$(GOBUILD) -o build/hwsim ./hardware-sim

# Everything that must hold before a commit; lists at the end what was skipped.
# CI=true: a real peer that is missing is a failure.
test:
	@.ci/test.sh

# Every fuzz target for FUZZTIME (default 60s; FUZZTIME=1000000x counts executions).
fuzz:
	@.ci/fuzz.sh

# The long forms of the durability tests, and their table (build/soak.json).
soak:
	@.ci/soak.sh

# Speed and memory beside peers and floors, from one run.
bench: build
	@.ci/bench.sh

# A simulated hospital around a gateway on free ports, for DEMO_SECONDS (default 60).
demo: build
	@.ci/demo.sh

# A laboratory both ways: SPECIMENS (default 5000) ordered by HL7, asked for and run, while
# the gateway is killed; exit status 0 only if nothing went wrong.
hospital: build
	@.ci/hospital.sh

clean:
	rm -rf build
