package providers

import (
	"context"
)

// proveCallback asks the provider whether the delivery is its.
func (v *Verifier) proveCallback(ctx context.Context, in *inspection) (int, error) {
	if err := v.settle(in); err != nil {
		return 0, err
	}
	call, err := v.call(in)
	if err != nil {
		return 0, err
	}
	if in.c.Caller == nil {
		return 0, refused(ReasonNoCall)
	}
	answer, err := in.c.Caller.Call(ctx, call)
	if err != nil || answer.Status >= 500 || answer.Status == 429 || answer.Status == 401 || answer.Status == 403 {
		return 0, refused(ReasonNoCall) // ours to mend: it says nothing about the delivery
	}
	body, _ := parseJSON(answer.Body) // nil when it is no JSON
	if !v.Call.Success.Holds(answer.Status, nil, body) {
		return 0, refused(ReasonDenied)
	}
	return -1, nil
}

// call is the request for one delivery.
func (v *Verifier) call(in *inspection) (Call, error) {
	body, err := v.Call.Body.encode(in)
	if err != nil {
		return Call{}, err
	}
	return Call{Provider: in.w.pack.Name, Method: v.Call.Method, Path: v.Call.Path, Auth: v.Call.Auth, Body: body}, nil
}
