package capture

import (
	"bytes"
	"encoding/binary"
	enchex "encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"nhip/drivers/astm/e1381"
)

// A short session: one message in two frames, the host answers each.
func shortSession() []Chunk {
	frame := func(n int, text string, end byte) string {
		body := fmt.Sprintf("%d%s%c", n, text, end)
		return fmt.Sprintf("\x02%s%02X\r\n", body, e1381.Checksum([]byte(body)))
	}
	begun := time.Date(2026, 1, 14, 8, 15, 0, 0, time.UTC)
	said := []struct {
		from Side
		text string
	}{
		{Device, "\x05"}, {Host, "\x06"},
		{Device, frame(1, "H|\\^&|||XN-550\rP|1\rO|1|S1||^^^GLU\rR|1|^^^GLU|5.", 0x17)}, {Host, "\x06"},
		{Device, frame(2, "4|mmol/L\rL|1|N\r", 0x03)}, {Host, "\x06"},
		{Device, "\x04"},
	}
	var all []Chunk
	for i, s := range said {
		all = append(all, Chunk{At: begun.Add(time.Duration(i) * time.Second), From: s.from, Bytes: []byte(s.text)})
	}
	return all
}

// pcap writes the session as packets of TCP; edit may drop, double or reorder them.
func pcap(t *testing.T, ng bool, edit func([][]byte) [][]byte) []byte {
	t.Helper()
	device, host := net.IP{192, 0, 2, 10}, net.IP{192, 0, 2, 1}
	next := map[Side]uint32{Device: 1000, Host: 5000}
	var packets [][]byte
	add := func(from Side, payload []byte, syn, fin bool) {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: device, DstIP: host}
		tcp := &layers.TCP{SrcPort: 40001, DstPort: 4001, Seq: next[from], Ack: next[from.Other()], ACK: !syn || from == Host, SYN: syn, FIN: fin, Window: 65535}
		if from == Host {
			ip.SrcIP, ip.DstIP, tcp.SrcPort, tcp.DstPort = host, device, 4001, 40001
		}
		tcp.SetNetworkLayerForChecksum(ip)
		b := gopacket.NewSerializeBuffer()
		eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(payload)); err != nil {
			t.Fatal(err)
		}
		packets = append(packets, bytes.Clone(b.Bytes()))
		next[from] += uint32(len(payload))
		if syn || fin {
			next[from]++
		}
	}
	add(Device, nil, true, false)
	add(Host, nil, true, false)
	for _, c := range shortSession() {
		add(c.From, c.Bytes, false, false)
	}
	add(Device, nil, false, true)
	if edit != nil {
		packets = edit(packets)
	}
	var f bytes.Buffer
	at := time.Date(2026, 1, 14, 8, 15, 0, 0, time.UTC)
	write := func(w interface {
		WritePacket(gopacket.CaptureInfo, []byte) error
	}) {
		for i, p := range packets {
			info := gopacket.CaptureInfo{Timestamp: at.Add(time.Duration(i) * time.Second), CaptureLength: len(p), Length: len(p)}
			if err := w.WritePacket(info, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if ng {
		w, err := pcapgo.NewNgWriter(&f, layers.LinkTypeEthernet)
		if err != nil {
			t.Fatal(err)
		}
		write(w)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return f.Bytes()
	}
	w := pcapgo.NewWriter(&f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	write(w)
	return f.Bytes()
}

// said is what the ends of the session say, as text.
func said(all []Chunk, from Side) string { return string(Conversation{Chunks: all}.Said(from)) }

// checkSession decodes a recording and demands the session's message of the device.
func checkSession(t *testing.T, recording []byte, form string) Output {
	t.Helper()
	got, all, _, err := Open(recording)
	if err != nil || got != form {
		t.Fatalf("form %q, error %v; should be %q", got, err, form)
	}
	if len(all) != 1 {
		t.Fatalf("%d conversations", len(all))
	}
	if diff := cmp.Diff(said(shortSession(), Device), said(all[0].Chunks, Device)); diff != "" {
		t.Errorf("the device said (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(said(shortSession(), Host), said(all[0].Chunks, Host)); diff != "" {
		t.Errorf("the host said (-want +got):\n%s", diff)
	}
	out, err := Decode(recording, "auto", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Messages) != 1 || out.Messages[0].From != "device" || len(out.Messages[0].Frames) != 2 {
		t.Fatalf("%+v", out)
	}
	if r := out.Messages[0].Records[3]; r.Type != "R" || r.Fields[3] != "5.4" {
		t.Errorf("%v: a value split over two frames is joined", r)
	}
	return out
}

func TestPacketsOfTCPAreJoinedByTheirSequenceNumbers(t *testing.T) {
	for _, ng := range []bool{false, true} {
		form := FormPcap
		if ng {
			form = FormPcapNG
		}
		for name, edit := range map[string]func([][]byte) [][]byte{
			"as sent":  nil,
			"repeated": func(p [][]byte) [][]byte { return append(p[:5:5], p[4:]...) },
			"swapped": func(p [][]byte) [][]byte {
				p[4], p[6] = p[6], p[4]
				return p
			},
			"without the beginning": func(p [][]byte) [][]byte { return p[2:] },
		} {
			t.Run(form+" "+name, func(t *testing.T) {
				if out := checkSession(t, pcap(t, ng, edit), form); len(out.Problems) != 0 {
					t.Errorf("%v", out.Problems)
				}
			})
		}
	}
}

func TestPacketThatWasNotRecordedIsNamed(t *testing.T) {
	recording := pcap(t, false, func(p [][]byte) [][]byte { return append(p[:4:4], p[5:]...) })
	_, _, problems, err := Open(recording)
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].What, "bytes were not recorded") {
		t.Errorf("%v %v", problems, err)
	}
}

func TestTimesOfPacketsAreKept(t *testing.T) {
	_, all, _, err := Open(pcap(t, false, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := all[0].Chunks[2].At.Sub(all[0].Chunks[0].At), 2*time.Second; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// What Wireshark's own program prints of a recording is read as the recording is.
func TestTsharksTextIsReadAsTheCapture(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("tshark is not installed")
		}
		t.Skip("tshark is not installed")
	}
	file := filepath.Join(t.TempDir(), "session.pcap")
	if err := os.WriteFile(file, pcap(t, false, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	for form, args := range map[string][]string{
		FormDump:    {"-q", "-z", "follow,tcp,hex,0"},
		FormPackets: {"-x"},
	} {
		t.Run(form, func(t *testing.T) {
			text, err := exec.Command(tshark, append([]string{"-r", file}, args...)...).Output()
			if err != nil {
				t.Fatal(err)
			}
			checkSession(t, text, form)
		})
	}
}

func TestDigitsAreBytes(t *testing.T) {
	want := said(shortSession(), Device)
	digits := enchex.EncodeToString([]byte(want))
	var pairs, c, escaped []string
	for _, b := range []byte(want) {
		pairs = append(pairs, fmt.Sprintf("%02X", b))
		c = append(c, fmt.Sprintf("0x%02x", b))
		escaped = append(escaped, fmt.Sprintf(`\x%02x`, b))
	}
	for name, text := range map[string]string{
		"digits": digits, "pairs": strings.Join(pairs, " "), "C": "{ " + strings.Join(c, ", ") + " };", "escaped": strings.Join(escaped, ""),
		"lines": strings.Join(pairs[:20], " ") + "\r\n" + strings.Join(pairs[20:], " ") + "\r\n",
	} {
		form, all, _, err := Open([]byte(text))
		if err != nil || form != FormHex || string(all[0].Chunks[0].Bytes) != want {
			t.Errorf("%s: %s %v %q", name, form, err, all)
		}
	}
	for name, text := range map[string]string{"xxd": xxd(want), "hexdump -C": enchex.Dump([]byte(want))} {
		form, all, _, err := Open([]byte(text))
		if err != nil || form != FormDump || len(all) != 1 || string(all[0].Chunks[0].Bytes) != want {
			t.Errorf("%s: %s %v %q", name, form, err, all)
		}
	}
}

// xxd is the layout of that program: groups of two bytes, then the text.
func xxd(s string) string {
	var b strings.Builder
	for at := 0; at < len(s); at += 16 {
		line := s[at:min(at+16, len(s))]
		groups := ""
		for i := 0; i < len(line); i += 2 {
			groups += fmt.Sprintf(" %x", line[i:min(i+2, len(line))])
		}
		text := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, line)
		fmt.Fprintf(&b, "%08x:%-40s  %s\n", at, groups, text)
	}
	return b.String()
}

func TestRecordsAreNotTakenForDigits(t *testing.T) {
	for _, text := range []string{
		"H|\\^&|||XN\rP|1\rL|1\r", "MSH|^~\\&|A|B\r", "H|\\^&\r\nR|1|^^^GLU|5.4\r\nL|1|N\r\n", "deadbeef is no dump", "0001 12 WBC 5.4\n0002 13 RBC 4.4\n\x02",
	} {
		if form, _, _, err := Open([]byte(text)); form != FormRaw || err != nil {
			t.Errorf("%q is %s, %v", text, form, err)
		}
	}
}

func TestTranscriptKeepsTheConversation(t *testing.T) {
	c := Conversation{Name: "192.0.2.10:40001 -> 192.0.2.1:4001", Chunks: shortSession()}
	form, all, _, err := Open(Transcript(c))
	if err != nil || form != FormTranscript || len(all) != 1 {
		t.Fatal(form, err)
	}
	if diff := cmp.Diff(c.Chunks, all[0].Chunks); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	checkSession(t, Transcript(c), FormTranscript)
}

func TestDamagedPcapIsSaidInWords(t *testing.T) {
	whole := pcap(t, false, nil)
	for n := range whole {
		_, _, problems, err := Open(whole[:n])
		if n > 24 && err == nil && len(problems) == 0 && n < len(whole)-54 && bytes.Contains(whole[n:], []byte("L|1")) {
			// Cut between two packets: what came is there, and the message has no L record.
			if out, err := Decode(whole[:n], "auto", nil, nil); err == nil && len(out.Problems) == 0 {
				t.Fatalf("cut at %d: nothing is said", n)
			}
		}
	}
	huge := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(huge[24+8:], 1<<31-1) // the first packet's length
	if _, _, problems, err := Open(huge); err == nil && len(problems) == 0 {
		t.Error("a packet of 2 GB is believed")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(enchex.Dump([]byte(said(shortSession(), Device)))))
	f.Add(Transcript(Conversation{Chunks: shortSession()}))
	f.Add([]byte("05 02 31"))
	f.Add([]byte{0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		_, all, _, err := Open(b)
		if err != nil {
			return
		}
		for _, c := range all {
			form, again, _, err := Open(Transcript(c))
			if len(c.Said(Device))+len(c.Said(Unknown)) == 0 {
				continue
			}
			if err != nil || form != FormTranscript {
				t.Fatalf("%s %v", form, err)
			}
			if got, want := len(again[0].Said(Device)), len(c.Said(Device))+len(c.Said(Unknown)); got != want {
				t.Fatalf("%d bytes of the device, want %d", got, want)
			}
		}
	})
}
