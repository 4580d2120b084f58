package sandbox

import (
	"net/http"
	"reflect"

	"github.com/plugfn/plugfn/pkg/events"
	"github.com/plugfn/plugfn/pkg/providers"
)

// scene is one action, made ready to answer.
type scene struct {
	action       *providers.Action
	params       params
	unauthorised *answer
	takes        []take // the ways in which it may succeed
}

// take is one fixture of a success.
type take struct {
	sent   map[string]any // its parameters
	answer *answer
	echoes []echo
}

func newScene(action *providers.Action, fixtures []providers.ActionFixture) *scene {
	sc := &scene{
		action:       action,
		params:       paramsOf(action),
		unauthorised: failure(fixtures, action.Name, isRefusal),
	}
	if sc.unauthorised == nil {
		sc.unauthorised = say(http.StatusUnauthorized, "the request bears no credential")
	}
	for _, f := range fixtures {
		if f.Action == action.Name && f.IsSuccess() {
			v, _ := decode(f.Params)
			sent, _ := v.(map[string]any)
			sc.takes = append(sc.takes, take{sent: sent, answer: answerOf(f.Response), echoes: echoesOf(sent, f.Response)})
		}
	}
	return sc
}

// isRefusal tells whether a fixture is about a credential that is refused.
func isRefusal(f providers.ActionFixture) bool {
	return f.Expect.Error != nil && f.Expect.Error.Code == string(events.CodeNeedsReauth)
}

// play answers a request for the action; path is escaped and without the
// provider.
func (sc *scene) play(path string, r *http.Request, body []byte) *answer {
	values, refusal := sc.params.read(path, r, body)
	if refusal != nil {
		return refusal
	}
	if sc.params.exact {
		raw, err := encode(values)
		if err == nil {
			err = sc.action.Validate(raw)
		}
		if err != nil {
			return say(http.StatusUnprocessableEntity, err.Error())
		}
	}
	if len(sc.takes) == 0 {
		return say(http.StatusNotImplemented, "the pack has no fixture of a success of "+sc.action.Name)
	}
	t := sc.nearest(values)
	return repeat(t.answer, t.echoes, values).linked(r)
}

// nearest is the take whose parameters are most like the caller's: first of all
// the same ones. Of several it is the first.
func (sc *scene) nearest(values map[string]any) take {
	best, least := 0, sc.takes[0].distance(values)
	for i, t := range sc.takes[1:] {
		if d := t.distance(values); d < least {
			best, least = i+1, d
		}
	}
	return sc.takes[best]
}

func (t *take) distance(values map[string]any) int {
	d := 0
	for name, v := range t.sent {
		if got, ok := values[name]; !ok {
			d += 2
		} else if !reflect.DeepEqual(v, got) {
			d++
		}
	}
	for name := range values {
		if _, ok := t.sent[name]; !ok {
			d += 2
		}
	}
	return d
}
