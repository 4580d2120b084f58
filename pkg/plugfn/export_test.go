package plugfn

import "time"

// Deafen has c hear no answer to a call, and look soon whether there is one.
func (c *Client) Deafen() error {
	c.lookAgain = 10 * time.Millisecond
	return c.answers.close()
}
