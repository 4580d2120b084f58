package executor

// point is a step after which a test may have the work break off.
type point string

const (
	pointTaken     point = "taken"     // the request is taken up, and nothing is noted
	pointAdmitted  point = "admitted"  // its slot is got, and nothing is noted
	pointClaimed   point = "claimed"   // the write is noted as sent, and nothing has left
	pointAnswered  point = "answered"  // the provider has answered, and nobody knows
	pointLooked    point = "looked"    // a look has been made, and nobody knows what it found
	pointWaiting   point = "waiting"   // it is noted that the request waits, and nothing wakes it
	pointParked    point = "parked"    // the request waits, and is not acknowledged
	pointBuried    point = "buried"    // the dead letter is kept, and there is no result
	pointConcluded point = "concluded" // the result is stored, and the request is not acknowledged
)

// at is where tests can have the work on a request break off, as if the process
// had ended there.
func (w *worker) at(p point, t *task) error {
	if w.reached == nil {
		return nil
	}
	return w.reached(p, t.ID)
}
