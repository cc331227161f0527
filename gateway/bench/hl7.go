package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const loadSeconds = "2"

// A load is a receiver of HL7 by MLLP under measurement.
type load struct {
	*process
	port  int
	rates []float64 // messages a second
	cpu   []float64 // ms a message, with all that the message causes
}

// measure sends from mllpload on so many connections, each waiting for its
// acknowledgement. The messages of each run are new ones to the receiver.
func (l *load) measure(b *bench, connections int) error {
	messages := b.path("message.hl7")
	if err := os.WriteFile(messages, message(), 0o600); err != nil {
		return err
	}
	before, err := l.settle()
	if err != nil {
		return err
	}
	syscall.Sync()
	warm := 20 * connections
	out, err := exec.Command(filepath.Join(b.floors, "mllpload"), "-addr", address(l.port), "-k", strconv.Itoa(connections),
		"-secs", loadSeconds, "-n", "100000000", "-warm", strconv.Itoa(warm), "-msg", messages, "-json").CombinedOutput()
	if err != nil {
		return fmt.Errorf("mllpload to %s: %w: %s", l.name, err, out)
	}
	var r struct {
		N                           int     `json:"n"`
		OK                          int     `json:"ok"`
		Rate                        float64 `json:"msg_s"`
		Nack, Mismatch, NoMSA, Errs int
	}
	if err := json.Unmarshal(out, &r); err != nil || r.OK == 0 || r.OK != r.N {
		return fmt.Errorf("mllpload to %s: not every message was acknowledged: %s %v", l.name, out, err)
	}
	after, err := l.settle()
	if err != nil {
		return err
	}
	l.rates = append(l.rates, r.Rate)
	l.cpu = append(l.cpu, float64(after-before)/float64(time.Millisecond)/float64(r.OK+warm))
	return nil
}

// message is a template of mllpload: a blood count of about 1200 bytes, unlike any
// other run's.
func message() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "MSH|^~\\&|BENCH|LAB|NHIP|SITE|20260101120000+0700||ORU^R01^ORU_R01|{{ID}}|P|2.5.1|||AL|NE||UNICODE UTF-8\r"+
		"PID|1||%d^^^BENCH^MR||BENCH^BENCH||19800101|M\r"+
		"OBR|1||{{ID}}^LAB|58410-2^CBC panel^LN|||20260101113000|||||||||||||||20260101115900|||F\r"+
		"SPM|1|S{{ID}}^LIS||BLD^Whole blood^HL70487|||||||||||||20260101113000|20260101114000\r", time.Now().UnixNano())
	for i := 1; b.Len() < 1160; i++ {
		fmt.Fprintf(&b, "OBX|%d|NM|6690-2^WBC^LN||%d.%d|10*3/uL|4.0-10.0|N|||F|||20260101115800||TECH01||XN1000^SN123\r", i, 4+i%9, i%10)
	}
	return []byte(b.String())
}

// hl7: messages accepted by MLLP and acknowledged after the commit.
func (b *bench) hl7() error {
	if b.floors == "" {
		b.skip("HL7 by MLLP", "mllpload and the floor mllpfloor are not there")
		return nil
	}
	floor := &load{port: freePort()}
	var err error
	floor.process, err = b.start("mllpfloor", nil, []int{floor.port}, filepath.Join(b.floors, "mllpfloor"), strconv.Itoa(floor.port), "group", b.path("floor.journal"))
	if err != nil {
		return err
	}
	stored, err := b.gateway("nhip", false)
	if err != nil {
		return err
	}
	queued, err := b.gateway("nhip-away", true)
	if err != nil {
		return err
	}
	for _, k := range []int{1, 8, 64} {
		floor.rates, floor.cpu = nil, nil
		ours := []*load{{process: stored.process, port: stored.hl7}, {process: queued.process, port: queued.hl7}}
		all := append([]*load{floor}, ours...)
		for round := range b.rounds {
			for i := range all {
				if err := all[(i+round)%len(all)].measure(b, k); err != nil { // each is first in turn
					return err
				}
			}
		}
		for i, what := range []string{"stored", "and queued for a destination that is away"} {
			rate, limit := 0.4, 0.1
			if i == 1 {
				rate = 0.25
			}
			if k == 1 {
				limit = 0.25
			}
			what = fmt.Sprintf("HL7, %d connections, %s", k, what)
			b.beside(what, "messages/s", ours[i].rates, floor.rates, "mllpfloor group", rate)
			b.under(what, "ms CPU/message", ours[i].cpu, floor.cpu, "mllpfloor group", limit)
		}
	}
	return nil
}
