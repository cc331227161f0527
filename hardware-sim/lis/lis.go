// Package lis plays the systems of a hospital. A HIS places orders and keeps patients.
// A LIS is a laboratory information system: it takes results as HL7 ORU^R01 by MLLP,
// checks them against what the gateway promises, and answers, rightly or, when told
// to, wrongly. Both read and write by hand (package wire), not with the product's
// codec.
package lis

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// Faults are wrong answers: each is given to that many of the next messages,
// in the order of the fields.
type Faults struct {
	AE      int           `toml:"ae" name:"ae" help:"MSA|AE: an error in the content." placeholder:"N"`
	AR      int           `toml:"ar" name:"ar" help:"MSA|AR: rejected, come again." placeholder:"N"`
	Silence int           `toml:"silence" name:"silence" help:"No answer at all." placeholder:"N"`
	Close   int           `toml:"close" name:"close" help:"The connection is closed instead of an answer." placeholder:"N"`
	WrongID int           `toml:"wrong_msa" name:"wrong-msa" help:"MSA|AA with another message's control ID in MSA-2." placeholder:"N"`
	Garbage int           `toml:"garbage" name:"garbage" help:"A block that is no HL7." placeholder:"N"`
	Late    int           `toml:"late" name:"late" help:"The right answer, after LateBy." placeholder:"N"`
	LateBy  wire.Duration `toml:"late_by" name:"late-by" help:"How late." placeholder:"DURATION"`
}

// Options of a LIS.
type Options struct {
	Name     string               // as the gateway's configuration names the destination
	Received func(truth.Delivery) // called for each message, before the next is read; nil: nobody asks
	Log      *slog.Logger
	Now      func() time.Time
	Zone     *time.Location // of times without a zone; the gateway always sends one
	// Enhanced answers by MSH-15 and MSH-16: an accept acknowledgement at once, the
	// application acknowledgement as a message of its own behind it. Otherwise every
	// message gets an application acknowledgement.
	Enhanced bool
	// Back is where application acknowledgements go that are messages of their own, on
	// a connection for each; "" is the connection that the message came on.
	Back string
	// Release2 speaks MLLP of release 2: every message is committed before its answer.
	// The gateway's commits of the answers are counted as "committed".
	Release2 bool
	// Book files every message that was not refused; nil: none is kept.
	Book *Book
}

// A LIS is one simulated laboratory information system.
type LIS struct {
	o       Options
	service wire.Service

	mu     sync.Mutex
	faults Faults
	done   map[string]int
	total  int
	other  int
	serial int
	served int64 // the number of the newest connection
}

// New returns a LIS that does not listen yet. Its connections are numbered from the time
// on, so that those of a LIS that was killed and begun anew have other numbers.
func New(o Options) *LIS {
	return &LIS{o: o, done: map[string]int{}, served: time.Now().UnixNano()}
}

// Inject adds faults to those that are still due.
func (l *LIS) Inject(f Faults) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.AE += f.AE
	l.faults.AR += f.AR
	l.faults.Silence += f.Silence
	l.faults.Close += f.Close
	l.faults.WrongID += f.WrongID
	l.faults.Garbage += f.Garbage
	l.faults.Late += f.Late
	if f.LateBy > 0 {
		l.faults.LateBy = f.LateBy
	}
}

// Down takes the LIS out of service for d: connections are cut and refused.
func (l *LIS) Down(d time.Duration) {
	l.did("down")
	l.service.Down(d)
}

// Counters says how often each fault was done.
func (l *LIS) Counters() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := map[string]int{}
	for k, v := range l.done {
		c[k] = v
	}
	return c
}

// Received is the number of ORU messages that came, repeats too.
func (l *LIS) Received() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// Run listens on the address and serves until ctx ends. ready, which may be
// nil, gets the real address.
func (l *LIS) Run(ctx context.Context, address string, ready func(net.Addr)) error {
	return l.service.Run(ctx, address, ready, func(ctx context.Context, listener net.Listener) error {
		return wire.Accept(ctx, listener, l.serve)
	})
}

func (l *LIS) serve(ctx context.Context, c net.Conn) {
	r := bufio.NewReader(c)
	l.mu.Lock()
	l.served++
	number := l.served
	l.mu.Unlock()
	for {
		message, err := wire.ReadBlock(r)
		if err != nil {
			if ctx.Err() == nil {
				l.o.Log.Debug("connection ended", "peer", c.RemoteAddr().String(), "error", err)
			}
			return
		}
		if !l.take(ctx, c, number, message) {
			return
		}
	}
}

// take records and answers one message of the numbered connection. It reports whether
// that goes on.
func (l *LIS) take(ctx context.Context, c net.Conn, number int64, message []byte) bool {
	if l.o.Release2 {
		if is, ok := wire.IsCommit(message); is {
			l.did(map[bool]string{true: "committed", false: "not committed"}[ok])
			return true
		}
		if _, err := c.Write(wire.Committed); err != nil {
			return false
		}
	}
	segments := wire.Split(message)
	msh := wire.First(segments, "MSH")
	if msh == nil {
		l.o.Log.Warn("a block that is no HL7", "bytes", len(message))
		return false
	}
	outcome, answer := l.answer(ctx, c, msh)
	if l.o.Book != nil && outcome != truth.Refused {
		l.o.Book.File(message)
	}
	d := read(segments, l.o.Zone)
	if d.Kind == "" {
		l.mu.Lock()
		l.other++
		l.mu.Unlock()
		return answer != "close"
	}
	l.mu.Lock()
	l.total++
	l.mu.Unlock()
	sum := sha256.Sum256(message)
	d.Destination, d.Name, d.Digest = l.o.Name, msh.Field(10), hex.EncodeToString(sum[:])
	d.Connection, d.Outcome, d.Answer = number, outcome, answer
	if l.o.Received != nil {
		l.o.Received(d)
	}
	return answer != "close"
}

// answer writes the answer that is due, and says what it means to the gateway.
func (l *LIS) answer(ctx context.Context, c net.Conn, msh wire.Segment) (truth.Outcome, string) {
	id := msh.Field(10)
	fault, by := l.due()
	send := func(block []byte, o truth.Outcome, words string) (truth.Outcome, string) {
		if _, err := c.Write(block); err != nil {
			return truth.Unanswered, "the line broke"
		}
		return o, words
	}
	if l.o.Enhanced && msh.Field(15)+msh.Field(16) != "" && (fault == "" || fault == "AE" || fault == "AR") {
		return l.enhanced(ctx, c, msh, fault)
	}
	switch fault {
	case "AE", "AR":
		return send(l.ack(msh, fault, id), truth.Refused, fault)
	case "silence", "close":
		return truth.Unanswered, fault
	case "wrong MSA-2":
		return send(l.ack(msh, "AA", "0"+id), truth.Unanswered, fault)
	case "garbage":
		return send(wire.Block([]byte("I am not HL7\r")), truth.Unanswered, fault)
	case "late":
		if !wire.Wait(ctx, by) {
			return truth.Unanswered, "the line broke"
		}
	}
	return send(l.ack(msh, "AA", id), truth.Accepted, "AA")
}

// enhanced answers as the message asks: CA, and AA or the fault as a message of its
// own.
func (l *LIS) enhanced(ctx context.Context, c net.Conn, msh wire.Segment, code string) (truth.Outcome, string) {
	outcome := truth.Refused
	if code == "" {
		code, outcome = "AA", truth.Accepted
	}
	good := outcome == truth.Accepted
	words := ""
	if wants(msh.Field(15), true) {
		if _, err := c.Write(l.ack(msh, "CA", msh.Field(10))); err != nil {
			return truth.Unanswered, "the line broke"
		}
		words = "CA "
	}
	if !wants(msh.Field(16), good) {
		return truth.Accepted, words
	}
	if err := l.back(ctx, c, l.ack(msh, code, msh.Field(10))); err != nil {
		return truth.Unanswered, words + "and no " + code
	}
	return outcome, words + code
}

// wants says whether table 0155 wants an acknowledgement.
func wants(condition string, good bool) bool {
	return condition == "AL" || condition == "SU" && good || condition == "ER" && !good
}

// back brings an application acknowledgement to the sender, and takes the accept
// acknowledgement for it where it goes on a connection of its own.
func (l *LIS) back(ctx context.Context, c net.Conn, block []byte) error {
	if l.o.Back == "" {
		_, err := c.Write(block)
		return err
	}
	own, err := new(net.Dialer).DialContext(ctx, "tcp", l.o.Back)
	if err != nil {
		return err
	}
	defer own.Close()
	stop := context.AfterFunc(ctx, func() { own.Close() })
	defer stop()
	if _, err := own.Write(block); err != nil {
		return err
	}
	answer, err := wire.ReadBlock(bufio.NewReader(own))
	if err != nil {
		return err
	}
	if msa := wire.First(wire.Split(answer), "MSA"); msa == nil || msa.Field(1) != "CA" {
		return errors.New("the acknowledgement was not accepted")
	}
	return nil
}

// due takes the next fault that is due.
func (l *LIS) due() (string, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range []struct {
		name string
		left *int
	}{
		{"AE", &l.faults.AE}, {"AR", &l.faults.AR}, {"silence", &l.faults.Silence}, {"close", &l.faults.Close},
		{"wrong MSA-2", &l.faults.WrongID}, {"garbage", &l.faults.Garbage}, {"late", &l.faults.Late},
	} {
		if *f.left > 0 {
			*f.left--
			l.done[f.name]++
			return f.name, time.Duration(l.faults.LateBy)
		}
	}
	return "", 0
}

func (l *LIS) did(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done[what]++
}

func (l *LIS) ack(msh wire.Segment, code, id string) []byte {
	l.mu.Lock()
	l.serial++
	serial := l.serial
	l.mu.Unlock()
	now := l.o.Now().Format("20060102150405-0700")
	confirm := ""
	if l.o.Back != "" && code[0] == 'A' && msh.Field(15)+msh.Field(16) != "" {
		confirm = "|||AL|NE"
	}
	text := fmt.Sprintf("MSH|^~\\&|%s|HOSPITAL|%s|%s|%s||ACK^R01^ACK|A%d|P|2.5.1%s\rMSA|%s|%s\r",
		wire.Escape(l.o.Name), msh.Field(3), msh.Field(4), now, serial, confirm, code, id)
	if code == "AE" {
		text += "ERR||OBX^1|199^other^HL70357|E\r"
	}
	return wire.Block([]byte(text))
}

// read is what a result message says, and what is wrong with it by the
// contract of the gateway. A message that is no result has no kind.
func read(segments []wire.Segment, zone *time.Location) truth.Delivery {
	msh, obr, spm := wire.First(segments, "MSH"), wire.First(segments, "OBR"), wire.First(segments, "SPM")
	vitals := strings.Contains(msh.Field(21), "PCD")
	if msh.Component(9, 1) != "ORU" || obr == nil || vitals {
		return truth.Delivery{}
	}
	d := truth.Delivery{Kind: truth.ORU, Key: obr.Component(3, 1), Patient: patient(wire.First(segments, "PID"))}
	d.Faults = faults(msh, obr, spm)
	if wire.First(segments, "ORC") != nil {
		d.Key = specimenOf(spm, 1) // OBR-3 may be the filler's number
	}
	orc := wire.Segment{"ORC"}
	for _, s := range segments {
		switch s.Name() {
		case "ORC":
			orc = s
		case "OBR":
			obr = s
			if want := orc.Component(2, 1); s.Component(2, 1) != want {
				d.Faults = append(d.Faults, fmt.Sprintf("OBR-2 is %q, ORC-2 is %q", s.Component(2, 1), want))
			}
			orc = wire.Segment{"ORC"}
			if s.Field(2) == "" && s.Component(3, 1) != d.Key {
				d.Faults = append(d.Faults, "the OBR segments name two specimens")
			}
		case "OBX":
			if f := typeFault(s); f != "" {
				d.Faults = append(d.Faults, f)
			}
			r := result(s, zone)
			if r.Placer = obr.Component(2, 1); r.Placer != "" {
				r.Filler, r.Service = obr.Component(3, 1), obr.Component(4, 1)
			}
			d.Results = append(d.Results, r)
		}
	}
	return d
}

// specimenOf is a number of SPM-2: 1 the placer's, 2 the filler's.
func specimenOf(spm wire.Segment, which int) string {
	return wire.Unescape(wire.Part(spm.Component(2, which), "&", 1))
}

func faults(msh, obr, spm wire.Segment) []string {
	var wrong []string
	want := func(what, got, want string) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%s is %q, want %q", what, got, want))
		}
	}
	want("MSH-9", msh.Field(9), "ORU^R01^ORU_R01")
	want("MSH-12", msh.Field(12), "2.5.1")
	want("MSH-18", msh.Field(18), "UNICODE UTF-8")
	if id := msh.Field(10); id == "" || len(id) > 20 {
		wrong = append(wrong, fmt.Sprintf("MSH-10 %q is empty or over 20 characters", id))
	}
	specimen := obr.Component(3, 1)
	if obr.Field(2) == "" && specimenOf(spm, 1) != specimen && specimenOf(spm, 2) != specimen {
		wrong = append(wrong, fmt.Sprintf("SPM-2 is %q, OBR-3 is %q", spm.Field(2), specimen))
	}
	return wrong
}

var decimal = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?$`)

// typeFault says where OBX-2 is NM without a plain decimal number.
func typeFault(obx wire.Segment) string {
	value, kind := obx.Component(5, 1), obx.Field(2)
	if kind == "NM" && !decimal.MatchString(value) {
		return fmt.Sprintf("OBX-2 is NM for %q", value)
	}
	if strings.Contains(obx.Field(5), "^") {
		return "OBX-5 has components"
	}
	return ""
}

func result(obx wire.Segment, zone *time.Location) truth.Result {
	r := truth.Result{
		Code:   obx.Component(3, 1),
		Value:  wire.Unescape(obx.Field(5)),
		Unit:   obx.Component(6, 1),
		Flag:   wire.Unescape(obx.Field(8)),
		Status: obx.Field(11),
	}
	for _, n := range []int{14, 19} {
		if t, ok := wire.Time(obx.Field(n), zone); ok {
			r.Times = append(r.Times, t)
		}
	}
	return r
}

// patient is the identifier of PID-3 and the parts of the name of PID-5, in
// whatever order they came.
func patient(pid wire.Segment) string {
	if pid == nil {
		return ""
	}
	var name []string
	for n := range 3 {
		if part := pid.Component(5, n+1); part != "" {
			name = append(name, part)
		}
	}
	slices.Sort(name)
	return strings.TrimSpace(pid.Component(3, 1) + " " + strings.Join(name, " "))
}
