package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"nhip/dicom"
	"nhip/dicom/worklist"
	"nhip/drivers/port"
	"nhip/drivers/transcript"
	"nhip/hardware-sim/analyser"
	"nhip/hardware-sim/lis"
	"nhip/hardware-sim/modality"
	"nhip/hardware-sim/monitor"
	"nhip/hardware-sim/pacs"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// A line is how a single device reaches the gateway.
type line struct {
	Port string `arg:"" help:"The device's end: tcp-dial://GATEWAY:PORT (the device connects), tcp-listen://:PORT (the gateway connects), the same with mllp-, serial:///dev/ttyUSB0?baud=9600, or pty:FILE (a pseudo terminal; the gateway opens FILE)." placeholder:"PORT"`
}

// open returns a function that waits for the next connection at the line.
func (l line) open(ctx context.Context, g globals) (connect func(context.Context) (wire.Line, error), end func(), err error) {
	if path, ok := strings.CutPrefix(l.Port, "pty:"); ok {
		p, err := wire.OpenPTY(path)
		if err != nil {
			return nil, nil, err
		}
		return func(context.Context) (wire.Line, error) { return terminal{p}, nil }, func() { p.Close() }, nil
	}
	address, err := port.Parse(l.Port)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p, err := port.Open(ctx, address, port.Options{Log: g.log(), MinBackoff: 500 * time.Millisecond, MaxBackoff: 2 * time.Second})
	if err != nil {
		cancel()
		return nil, nil, err
	}
	connections := make(chan wire.Line)
	var serving sync.WaitGroup
	serving.Go(func() {
		p.Serve(ctx, func(ctx context.Context, c port.Conn) error {
			once := &ending{Conn: c, ended: make(chan struct{})}
			select {
			case connections <- once:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case <-once.ended:
			case <-ctx.Done():
			}
			return nil
		})
	})
	connect = func(ctx context.Context) (wire.Line, error) {
		select {
		case c := <-connections:
			return c, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return connect, func() { cancel(); serving.Wait() }, nil
}

// ending is a connection that says when it was closed.
type ending struct {
	port.Conn
	once  sync.Once
	ended chan struct{}
}

func (e *ending) Close() error {
	e.once.Do(func() { close(e.ended) })
	return e.Conn.Close()
}

// terminal is a pseudo terminal as a line. It stays plugged in when a
// conversation ends.
type terminal struct{ *wire.PTY }

// Close only frees a blocked Read.
func (t terminal) Close() error { return t.SetReadDeadline(time.Unix(1, 0)) }

type analyserCommand struct {
	line
	Profile    string        `help:"The model: ${models}." default:"sysmex-xn-l" placeholder:"PROFILE"`
	Transcript string        `help:"Play the device's lines of this transcript instead, and hold the host's against it." type:"existingfile" placeholder:"FILE"`
	Count      int           `help:"Messages in all; 0: until it is stopped." default:"10"`
	Every      time.Duration `help:"One message so often." default:"1s"`
	Seed       uint64        `help:"Seed of specimens and values." default:"1"`
	Number     int           `help:"Of the analyser: part of its specimen identifiers." default:"1"`
	analyser.Faults
}

func (c analyserCommand) Run(ctx context.Context, g globals) error {
	connect, end, err := c.open(ctx, g)
	if err != nil {
		return err
	}
	defer end()
	if c.Transcript != "" {
		return c.speak(ctx, connect)
	}
	model := analyser.Models[c.Profile]
	if !model.MakesUp() {
		return fmt.Errorf("there is no model %q; there are %s", c.Profile, models())
	}
	a := analyser.New(analyser.Options{
		Name: c.Profile, Model: model, Seed: c.Seed, Start: time.Now(), Number: c.Number, Every: c.Every, Limit: c.Count,
		Timing: analyser.Standard, Truth: truth.New(os.Stdout, time.Now), Log: g.log(),
	})
	a.Inject(c.Faults)
	a.Run(ctx, connect)
	return short(a.Sent(), c.Count)
}

// speak plays a transcript once.
func (c analyserCommand) speak(ctx context.Context, connect func(context.Context) (wire.Line, error)) error {
	text, err := os.ReadFile(c.Transcript)
	if err != nil {
		return err
	}
	steps, err := transcript.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Transcript, err)
	}
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		return err
	}
	if err := transcript.Speak(ctx, conn, steps, 35*time.Second); err != nil {
		return fmt.Errorf("%s: %w", c.Transcript, err)
	}
	fmt.Println("the host answered as the transcript says")
	return nil
}

// models are the analysers that can be played.
func models() string {
	var all []string
	for name, m := range analyser.Models {
		if m.MakesUp() {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

type lisCommand struct {
	Listen   string `arg:"" help:"Where it listens, HOST:PORT." default:"127.0.0.1:2576"`
	Name     string `help:"Its MSH-3." default:"LIS"`
	Enhanced bool   `help:"Answer by MSH-15 and MSH-16: an accept acknowledgement, then the application acknowledgement."`
	Back     string `help:"Where application acknowledgements go after an accept acknowledgement. Default: the same connection." placeholder:"HOST:PORT"`
	lis.Faults
}

func (c lisCommand) Run(ctx context.Context, g globals) error {
	show := lines(os.Stdout)
	l := lis.New(lis.Options{Name: c.Name, Received: func(d truth.Delivery) { show(d) }, Log: g.log(), Now: time.Now, Zone: time.Local, Enhanced: c.Enhanced, Back: c.Back})
	l.Inject(c.Faults)
	return l.Run(ctx, c.Listen, listening)
}

type hisCommand struct {
	Gateway     string        `arg:"" help:"The gateway's HL7 listener, HOST:PORT." default:"127.0.0.1:2575"`
	Name        string        `help:"Its MSH-3." default:"HIS"`
	Shape       string        `help:"How it writes an order: ${enum}." enum:"ORM^O01,OML^O21,OML^O33,OMG^O19,OMI^O23,vn" default:"OML^O21"`
	Count       int           `help:"Orders in all; 0: until it is stopped." default:"10"`
	Every       time.Duration `help:"One order so often." default:"200ms"`
	Cancel      bool          `help:"Cancel each order behind the next one."`
	Accept      string        `help:"MSH-15." enum:"AL,NE,ER,SU," default:""`
	Application string        `help:"MSH-16." enum:"AL,NE,ER,SU," default:""`
}

func (c hisCommand) Run(ctx context.Context) error {
	show := lines(os.Stdout)
	h := lis.NewHIS(lis.HISOptions{Name: c.Name, Address: c.Gateway, Shape: lis.Shape(c.Shape), Accept: c.Accept, Application: c.Application, Now: time.Now})
	defer h.Close()
	for n := 1; n <= c.Count || c.Count == 0; n++ {
		order := lis.Order{
			Placer: fmt.Sprint("P", n), Specimen: fmt.Sprint(n), Accession: fmt.Sprint("A", n), Modality: "CT", Start: time.Now(),
			Patient: lis.Patient{ID: fmt.Sprintf("T%04d", n), Family: "Thử", Given: "Nghiệm", Born: "1980", Sex: "F"},
			Tests:   [][2]string{{"CBC", "Công thức máu"}},
		}
		reply, err := h.Place(ctx, order)
		if err == nil && c.Cancel && n > 1 {
			show(reply)
			reply, err = h.Cancel(ctx, fmt.Sprint("P", n-1))
		}
		if err != nil {
			return err
		}
		show(reply)
		if n != c.Count && !wire.Wait(ctx, c.Every) {
			return ctx.Err()
		}
	}
	return nil
}

func listening(a net.Addr) { fmt.Fprintln(os.Stderr, "listening on", a) }

type pacsCommand struct {
	Listen  string `arg:"" help:"Where it listens, HOST:PORT." default:"127.0.0.1:4242"`
	AETitle string `help:"By which it must be called. Default: any." name:"ae-title" placeholder:"TITLE"`

	Keep     int64             `help:"Megabytes of objects that it keeps and answers queries for." placeholder:"MB"`
	Peer     map[string]string `help:"Where it moves objects to and reports storage commitment." placeholder:"TITLE=HOST:PORT"`
	Worklist string            `help:"A folder of DICOM files, each a scheduled procedure step." type:"existingdir" placeholder:"DIR"`
	pacs.Faults
}

func (c pacsCommand) Run(ctx context.Context, g globals) error {
	show := lines(os.Stdout)
	steps, err := scheduled(c.Worklist)
	if err != nil {
		return err
	}
	p := pacs.New(pacs.Options{
		Name: "pacs", AETitle: c.AETitle, Received: func(d truth.Delivery) { show(d) }, Log: g.log(),
		Keep: c.Keep << 20, Peers: c.Peer, Worklist: steps,
	})
	p.Inject(c.Faults)
	return p.Run(ctx, c.Listen, listening)
}

// scheduled reads the steps of a folder; nil where there is none.
func scheduled(dir string) (worklist.List, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	steps := worklist.List{}
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		step, err := dicom.ParseFile(b, dicom.Limits{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		steps = append(steps, step.Dataset)
	}
	return steps, nil
}

type modalityCommand struct {
	Gateway  string        `arg:"" help:"The gateway's DICOM listener, HOST:PORT." default:"127.0.0.1:11112"`
	AETitle  string        `help:"Its own." name:"ae-title" default:"CT1"`
	Called   string        `help:"The gateway's." default:"NHIP"`
	Count    int           `help:"Images in all; 0: until it is stopped." default:"10"`
	Every    time.Duration `help:"One image so often." default:"200ms"`
	Size     int           `help:"Rows and columns." default:"64"`
	Seed     uint64        `help:"Seed of the pixels." default:"1"`
	Steps    bool          `help:"Report each study as a performed procedure step."`
	Commit   bool          `help:"Ask for storage commitment of each study."`
	Reports  string        `help:"Where it also takes reports of storage commitment." placeholder:"HOST:PORT"`
	Patience time.Duration `help:"How long it tries to reach the gateway before it gives up; 0: for ever." default:"30s"`
	modality.Faults
}

func (c modalityCommand) Run(ctx context.Context, g globals) error {
	m := modality.New(modality.Options{
		Name: strings.ToLower(c.AETitle), AETitle: c.AETitle, Called: c.Called, Address: func() (string, error) { return c.Gateway, nil },
		Seed: c.Seed, Start: time.Now(), Every: c.Every, Limit: c.Count, Size: c.Size, Truth: truth.New(os.Stdout, time.Now), Log: g.log(),
		Steps: c.Steps, Commit: c.Commit, Reports: c.Reports, Patience: c.Patience,
	})
	m.Inject(c.Faults)
	m.Run(ctx)
	if err := m.Err(); err != nil {
		return fmt.Errorf("given up after %d of %d images: %w", m.Sent(), c.Count, err)
	}
	if c.Steps || c.Commit {
		fmt.Fprintln(os.Stderr, "steps and storage commitment:", m.Counters())
	}
	return short(m.Sent(), c.Count)
}

type monitorCommand struct {
	line
	Profile string        `help:"hl7-pcd01 or masimo-ascii1." enum:"hl7-pcd01,masimo-ascii1" default:"hl7-pcd01"`
	Count   int           `help:"Messages or lines in all; 0: until it is stopped." default:"10"`
	Every   time.Duration `help:"One message or line so often." default:"1s"`
	Seed    uint64        `help:"Seed of the readings." default:"1"`
	monitor.Faults
}

func (c monitorCommand) Run(ctx context.Context, g globals) error {
	connect, end, err := c.open(ctx, g)
	if err != nil {
		return err
	}
	defer end()
	o := monitor.Options{
		Name: "monitor", Seed: c.Seed, Start: time.Now(), Every: c.Every, Limit: c.Count, Zone: time.Local,
		Truth: truth.New(os.Stdout, time.Now), Log: g.log(),
	}
	if c.Profile == "hl7-pcd01" {
		m := monitor.New(o)
		m.Inject(c.Faults)
		m.Run(ctx, connect)
		return short(m.Sent(), c.Count)
	}
	if c.Faults != (monitor.Faults{}) {
		return errors.New("masimo-ascii1 has no faults")
	}
	x := monitor.NewOximeter(o)
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	if t, ok := conn.(terminal); ok {
		return x.Run(ctx, t.PTY)
	}
	return x.Run(ctx, monitor.NewSocket(conn))
}

func short(sent, want int) error {
	if sent < want {
		return fmt.Errorf("%d of %d were acknowledged", sent, want)
	}
	return nil
}
