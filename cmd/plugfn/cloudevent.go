package main

import (
	"encoding/base64"
	"encoding/json"

	"github.com/plugfn/plugfn/pkg/events"
)

// cloudEvent is e as the JSON format of CloudEvents has it.
func cloudEvent(e *events.Event) map[string]any {
	attributes := map[string]any{"specversion": "1.0"}
	for name, value := range map[string]string{
		"id": e.ID, "source": e.Source, "type": e.Type, "subject": e.Subject,
		"datacontenttype": e.DataContentType, "dataschema": e.DataSchema, "userid": e.UserID,
		"connectionid": e.ConnectionID, "provider": e.Provider, "eventname": e.EventName,
		"verified": string(e.Verified), "account": e.Account, "partitionkey": e.PartitionKey,
		"traceparent": e.TraceParent, "causationid": e.CausationID,
	} {
		if value != "" {
			attributes[name] = value
		}
	}
	if !e.Time.IsZero() {
		attributes["time"] = e.Time.UTC()
	}
	for name, value := range e.Extensions {
		attributes[name] = value
	}
	switch ref := e.DataRef; {
	case ref != events.PayloadRef{}: // the data could not be fetched
		attributes["dataref"], attributes["datasha256"], attributes["datasize"] = ref.Subject, ref.SHA256, ref.Size
	case json.Valid(e.Data):
		attributes["data"] = json.RawMessage(e.Data)
	default:
		attributes["data_base64"] = base64.StdEncoding.EncodeToString(e.Data)
	}
	return attributes
}
