// Package monitor plays bedside monitors: one that sends HL7 ORU^R01 of the IHE
// PCD-01 shape by MLLP, and a pulse oximeter that writes ASCII lines on a serial
// line. Its Watcher subscribes to the gateway's MQTT broker and records what
// comes out. Readings are bounded random walks: plausible, no more.
package monitor

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"nhip/hardware-sim/truth"
)

// A metric is one quantity that a monitor measures: MDC code = partition*65536 +
// term (ISO/IEEE 11073-10101).
type metric struct {
	code      int
	mdc       string
	unit      int // MDC code of the unit
	mdcUnit   string
	ucum      string
	start     float64
	low, high float64
	step      float64
	decimals  int
}

var metrics = []metric{
	{147842, "MDC_ECG_CARD_BEAT_RATE", 264864, "MDC_DIM_BEAT_PER_MIN", "{beat}/min", 76, 40, 160, 2, 0},
	{150456, "MDC_PULS_OXIM_SAT_O2", 262688, "MDC_DIM_PERCENT", "%", 97, 85, 100, 0.6, 0},
	{149530, "MDC_PULS_OXIM_PULS_RATE", 264864, "MDC_DIM_BEAT_PER_MIN", "{beat}/min", 76, 40, 160, 2, 0},
	{151562, "MDC_RESP_RATE", 264928, "MDC_DIM_RESP_PER_MIN", "{breath}/min", 16, 6, 40, 1, 0},
	{150021, "MDC_PRESS_BLD_NONINV_SYS", 266016, "MDC_DIM_MMHG", "mm[Hg]", 122, 80, 200, 3, 0},
	{150022, "MDC_PRESS_BLD_NONINV_DIA", 266016, "MDC_DIM_MMHG", "mm[Hg]", 76, 40, 110, 2, 0},
	{150023, "MDC_PRESS_BLD_NONINV_MEAN", 266016, "MDC_DIM_MMHG", "mm[Hg]", 91, 55, 140, 2, 0},
	{150344, "MDC_TEMP", 268192, "MDC_DIM_DEGC", "Cel", 36.9, 34, 41, 0.1, 1},
}

// A walk is the state of a random walk over metrics.
type walk struct {
	rand   *rand.Rand
	values []float64
}

func newWalk(seed uint64, name string, over []metric) *walk {
	h := fnv.New64a()
	h.Write([]byte(name))
	w := &walk{rand: rand.New(rand.NewPCG(seed, h.Sum64()))}
	for _, m := range over {
		w.values = append(w.values, m.start)
	}
	return w
}

// next moves every value a step, reflected at its bounds, and returns the texts.
func (w *walk) next(over []metric) []string {
	texts := make([]string, len(over))
	for n, m := range over {
		v := w.values[n] + m.step*(2*w.rand.Float64()-1)
		if v > m.high {
			v = 2*m.high - v
		}
		if v < m.low {
			v = 2*m.low - v
		}
		w.values[n] = v
		texts[n] = strconv.FormatFloat(math.Abs(v), 'f', m.decimals, 64)
	}
	return texts
}

// key is how an observation is known at both ends.
func key(device string, code int, at time.Time) string {
	return fmt.Sprintf("%s|%d|%d", device, code, at.UnixMilli())
}

// observation is the truth of one reading; watchers are who must see it.
func observation(device string, number int, m metric, value string, at time.Time, watchers []string) truth.Item {
	return truth.Item{
		Kind: truth.Observation, ID: fmt.Sprintf("%s/%d/%d", device, number, m.code), Source: device,
		Key: key(device, m.code, at), To: watchers,
		Results: []truth.Result{{Code: strconv.Itoa(m.code), Value: value, Unit: unit(m.ucum), Status: "valid"}},
	}
}
