package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/gopacket/gopacket/reassembly"
)

// Limits of a recording of packets.
const (
	maxPackets       = 2_000_000
	maxConversations = 1000
	maxPending       = 20_000 // pages of 1900 bytes that wait for a packet that is missing
)

// isPcap: the magic numbers of pcap (microseconds and nanoseconds, both orders) and
// pcapng.
func isPcap(b []byte) bool {
	if len(b) < 24 {
		return false
	}
	switch binary.BigEndian.Uint32(b) {
	case 0xA1B2C3D4, 0xD4C3B2A1, 0xA1B23C4D, 0x4D3CB2A1, 0x0A0D0D0A:
		return true
	}
	return false
}

// A packets is a reader of pcap or pcapng.
type packets interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

func openPcap(recording []byte) (form string, all []Conversation, problems []Problem, err error) {
	form = FormPcap
	var r packets
	if binary.BigEndian.Uint32(recording) == 0x0A0D0D0A {
		form = FormPcapNG
		r, err = pcapgo.NewNgReader(bytes.NewReader(recording), pcapgo.DefaultNgReaderOptions)
	} else {
		r, err = pcapgo.NewReader(bytes.NewReader(recording))
	}
	if err != nil {
		return form, nil, nil, fmt.Errorf("%w: %w", ErrRecording, err)
	}
	s := newStreams()
	for n := 0; ; n++ {
		if n == maxPackets {
			s.problems = append(s.problems, Problem{What: fmt.Sprintf("only the first %d packets were read", maxPackets)})
			break
		}
		b, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.problems = append(s.problems, Problem{What: fmt.Sprintf("packet %d and what follows cannot be read: %v", n+1, err)})
			break
		}
		s.packet(b, r.LinkType(), info)
	}
	all, problems, err = s.done()
	return form, all, problems, err
}

// fromPackets reads the packets of a hex dump, which are Ethernet's.
func fromPackets(d dump) (form string, all []Conversation, problems []Problem, err error) {
	s := newStreams()
	var b []byte
	add := func() {
		if len(b) > 0 {
			s.packet(b, layers.LinkTypeEthernet, gopacket.CaptureInfo{CaptureLength: len(b), Length: len(b)})
		}
		b = nil
	}
	for _, l := range d.lines {
		if l.at == 0 {
			add()
		}
		b = append(b, l.b...)
	}
	add()
	all, problems, err = s.done()
	return FormPackets, all, problems, err
}

// streams puts the TCP connections of packets together.
type streams struct {
	assembler *reassembly.Assembler
	all       []*stream
	seen      int // packets of TCP
	problems  []Problem
}

func newStreams() *streams {
	s := &streams{}
	s.assembler = reassembly.NewAssembler(reassembly.NewStreamPool(s))
	s.assembler.MaxBufferedPagesTotal = maxPending
	s.assembler.MaxBufferedPagesPerConnection = maxPending
	return s
}

func (s *streams) packet(b []byte, link layers.LinkType, info gopacket.CaptureInfo) {
	p := gopacket.NewPacket(b, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !ok || p.NetworkLayer() == nil {
		return
	}
	if s.seen++; info.CaptureLength < info.Length {
		s.problems = append(s.problems, Problem{What: fmt.Sprintf("packet %d of TCP was cut by the recording: %d of %d bytes", s.seen, info.CaptureLength, info.Length)})
	}
	s.assembler.AssembleWithContext(p.NetworkLayer().NetworkFlow(), tcp, packetContext(info))
}

// done gives the connections that carried something.
func (s *streams) done() ([]Conversation, []Problem, error) {
	s.assembler.FlushAll()
	var all []Conversation
	for _, x := range s.all {
		s.problems = append(s.problems, x.problems...)
		if len(x.c.Chunks) > 0 {
			x.c.guess()
			all = append(all, x.c)
		}
	}
	if len(all) == 0 {
		return nil, s.problems, fmt.Errorf("%w: there is no TCP connection with data in it", ErrRecording)
	}
	return all, s.problems, nil
}

// packetContext is the time of a packet, for the assembler.
type packetContext gopacket.CaptureInfo

func (c packetContext) GetCaptureInfo() gopacket.CaptureInfo { return gopacket.CaptureInfo(c) }

// New is reassembly.StreamFactory.
func (s *streams) New(network, transport gopacket.Flow, _ *layers.TCP, _ reassembly.AssemblerContext) reassembly.Stream {
	x := &stream{}
	x.c.Name = fmt.Sprintf("%s:%s -> %s:%s", network.Src(), transport.Src(), network.Dst(), transport.Dst())
	if len(s.all) < maxConversations {
		s.all = append(s.all, x)
	} else if len(s.all) == maxConversations {
		s.problems = append(s.problems, Problem{What: fmt.Sprintf("only the first %d connections were read", maxConversations)})
		s.all = append(s.all, &stream{})
	}
	return x
}

// A stream is one connection. Who connected is taken for the device; see guess.
type stream struct {
	c        Conversation
	problems []Problem
}

// Accept is reassembly.Stream: a connection whose beginning is not recorded counts too.
func (x *stream) Accept(_ *layers.TCP, _ gopacket.CaptureInfo, _ reassembly.TCPFlowDirection, _ reassembly.Sequence, start *bool, _ reassembly.AssemblerContext) bool {
	*start = true
	return true
}

// ReassembledSG is reassembly.Stream.
func (x *stream) ReassembledSG(sg reassembly.ScatterGather, ac reassembly.AssemblerContext) {
	length, _ := sg.Lengths()
	direction, _, _, skip := sg.Info()
	if skip > 0 {
		x.problems = append(x.problems, Problem{Offset: len(x.c.Said(side(direction))), What: fmt.Sprintf("%s: %d bytes were not recorded", x.c.Name, skip)})
	}
	if length == 0 {
		return
	}
	var at time.Time
	if ac != nil {
		at = ac.GetCaptureInfo().Timestamp
	}
	from, b := side(direction), bytes.Clone(sg.Fetch(length))
	if n := len(x.c.Chunks); n > 0 && x.c.Chunks[n-1].From == from && at.Sub(x.c.Chunks[n-1].At) < joinWithin {
		x.c.Chunks[n-1].Bytes = append(x.c.Chunks[n-1].Bytes, b...)
		return
	}
	x.c.Chunks = append(x.c.Chunks, Chunk{At: at, From: from, Bytes: b})
}

// joinWithin: what one end says without a longer pause is one chunk.
const joinWithin = 50 * time.Millisecond

func side(d reassembly.TCPFlowDirection) Side {
	if d == reassembly.TCPDirClientToServer {
		return Device
	}
	return Host
}

// ReassemblyComplete is reassembly.Stream.
func (x *stream) ReassemblyComplete(reassembly.AssemblerContext) bool { return true }
