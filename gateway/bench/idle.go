package main

import (
	"fmt"
	"time"
)

// idle: from start to listening, and resident memory with nothing to do.
func (b *bench) idle() error {
	var took, resident []float64
	for i := range b.rounds {
		began := time.Now()
		g, err := b.gateway(fmt.Sprintf("nhip-%d", i), true)
		if err != nil {
			return err
		}
		took = append(took, time.Since(began).Seconds())
		time.Sleep(time.Second)
		if _, err := g.settle(); err != nil {
			return err
		}
		m, err := g.memory("VmRSS")
		if err != nil {
			return err
		}
		resident = append(resident, m)
		g.stop()
	}
	b.under("from start to listening", "s", took, nil, "", 1)
	b.under("idle resident memory", "MiB", resident, nil, "", 60)
	return nil
}
