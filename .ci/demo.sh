#!/bin/sh
# make demo: a gateway with a simulated hospital around it.
#   DEMO_SECONDS  how long (default 60); ends with the simulator's report
#   DEMO_SEED     of the simulated values (default 1)
cd "$(dirname "$0")/.." || exit 1
seconds=${DEMO_SECONDS:-60}
dir=build/demo
rm -rf "$dir"
mkdir -p "$dir"

build/hwsim config --out "$dir/site.toml" --data "$dir/data" || exit 1
echo "== $dir/site.toml"
cat "$dir/site.toml"
echo "== the check of it"
build/nhip check --config "$dir/site.toml" || exit 1

build/nhip run --config "$dir/site.toml" 2>"$dir/gateway.log" &
gateway=$!
trap 'kill $gateway 2>/dev/null; wait $gateway 2>/dev/null' EXIT INT TERM

console=$(sed -n '/^\[console\]/,/^\[dicom\]/s/^listen = "\(.*\)"/\1/p' "$dir/site.toml")
echo "== running for $seconds s; console: http://$console ; the gateway's log: $dir/gateway.log"
build/hwsim hospital --config "$dir/site.toml" --scenario demo --seed "${DEMO_SEED:-1}" \
	--seconds "$seconds" --report "$dir/report.json"
status=$?

if ! kill -0 $gateway 2>/dev/null; then
	echo "the gateway ended by itself; the end of its log:"
	tail -20 "$dir/gateway.log"
	exit 1
fi
kill -TERM $gateway
wait $gateway || { echo "the gateway did not stop in order"; tail -20 "$dir/gateway.log"; status=1; }
trap - EXIT
[ $status = 0 ] || { echo "DEMO FAILED"; tail -20 "$dir/gateway.log"; }
exit $status
