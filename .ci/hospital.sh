#!/bin/sh
# make hospital: a laboratory both ways around a gateway that is killed again and again.
#   SPECIMENS  how many in all (default 5000)
#   SEED       of all that is made up (default: the time, which is printed)
#   KILLS      how often the gateway is killed, every 12 s from the 10th on (default 5)
cd "$(dirname "$0")/.." || exit 1
dir=build/hospital
rm -rf "$dir"
mkdir -p "$dir"
build/hwsim config --out "$dir/site.toml" --laboratory || exit 1

start() {
	build/nhip run --config "$dir/site.toml" 2>>"$dir/gateway.log" &
	gateway=$!
}
start
trap 'kill $simulator $gateway 2>/dev/null; wait 2>/dev/null' EXIT INT TERM
build/hwsim hospital --config "$dir/site.toml" --scenario twoway --specimens "${SPECIMENS:-5000}" \
	--seed "${SEED:-$(date +%s)}" --report "$dir/report.json" --truth "$dir/truth.jsonl" &
simulator=$!

sleep 10
left=${KILLS:-5}
while [ "$left" -gt 0 ] && kill -0 $simulator 2>/dev/null; do
	echo "  killing the gateway"
	kill -9 $gateway
	wait $gateway 2>/dev/null
	start
	left=$((left - 1))
	sleep 12
done
wait $simulator
status=$?
simulator=
if ! kill -0 $gateway 2>/dev/null; then
	echo "the gateway ended by itself; the end of its log:"
	tail -20 "$dir/gateway.log"
	exit 1
fi
kill -TERM $gateway
wait $gateway || { echo "the gateway did not stop in order"; status=1; }
trap - EXIT
[ $status = 0 ] || { echo "FAILED"; tail -20 "$dir/gateway.log"; }
exit $status
