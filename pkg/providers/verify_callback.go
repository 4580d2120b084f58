package providers

import (
	"context"
)

// maxCalls is how often the provider is asked about one delivery, with other
// secrets of ours.
const maxCalls = 4

// proveCallback asks the provider whether the delivery is its.
func (v *Verifier) proveCallback(ctx context.Context, in *inspection) (int, error) {
	if err := v.settle(in); err != nil {
		return 0, err
	}
	genuine := false
	err := in.eachChoice(v.Call.Body.secrets(), maxCalls, func() (err error) {
		if !genuine {
			genuine, err = v.ask(ctx, in)
		}
		return err
	})
	if err == nil && !genuine {
		err = refused(ReasonDenied)
	}
	return -1, err
}

// ask asks the provider once.
func (v *Verifier) ask(ctx context.Context, in *inspection) (bool, error) {
	call, err := v.call(in)
	if err != nil {
		return false, err
	}
	if in.c.Caller == nil {
		return false, refused(ReasonNoCall)
	}
	answer, err := in.c.Caller.Call(ctx, call)
	if err != nil || answer.Status >= 500 || answer.Status == 429 || answer.Status == 401 || answer.Status == 403 {
		return false, refused(ReasonNoCall) // ours to mend: it says nothing about the delivery
	}
	body, _ := parseJSON(answer.Body) // nil when it is no JSON
	return v.Call.Success.Holds(answer.Status, nil, body), nil
}

// call is the request for one delivery.
func (v *Verifier) call(in *inspection) (Call, error) {
	body, err := v.Call.Body.encode(in)
	if err != nil {
		return Call{}, err
	}
	return Call{Provider: in.w.pack.Name, Method: v.Call.Method, Path: v.Call.Path, Auth: v.Call.Auth, Body: body}, nil
}
