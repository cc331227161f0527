package intake

import "nhip/storage"

// KindStatus is the state of an order that changed, which the gateway itself notes to
// tell of it.
const KindStatus Kind = "status"

// OrdersConnection stands in an entry of KindStatus for the connection that it came by.
// No connection of the configuration can have this name.
const OrdersConnection = "~orders"

// Noted adds to a batch what the gateway itself has to tell of, to be interpreted. The
// body is at most 64 KiB. The batch stays of the class that it is: what has happened is
// noted on a full disk too.
func (in *Intake) Noted(b *storage.Batch, kind Kind, connection string, body []byte) error {
	e := Entry{Kind: kind, Fate: Received, Connection: connection, At: in.Now().UTC().Round(0), Body: body}
	e.Seal()
	var err error
	if e.ClockBack, err = in.Clock(Channel(connection), e.At); err != nil {
		return err
	}
	j := Journal(b, Channel(connection), e)
	b.Enqueue(Interpret, connection, nil, j)
	b.Add(CountAccepted, 1)
	b.Add(CountQueued, 1)
	b.Add(CountIntake+string(kind), 1)
	return nil
}
