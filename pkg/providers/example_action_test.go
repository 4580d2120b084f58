package providers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/plugfn/plugfn/pkg/providers"
	"github.com/plugfn/plugfn/pkg/providers/catalog"
)

func ExampleAction_Validate() {
	pack, err := providers.Load(catalog.FS, "github")
	if err != nil {
		fmt.Println(err)
		return
	}
	action, _ := pack.Action("issues.create")
	fmt.Println(action.Validate(json.RawMessage(`{"owner":"octo","repo":"hello","titel":"Hi"}`)))
	// Output: invalid_params: /titel: unknown, did you mean title?; /title: required, is missing
}

func ExampleAction_NewRequest() {
	pack, err := providers.Load(catalog.FS, "github")
	if err != nil {
		fmt.Println(err)
		return
	}
	action, _ := pack.Action("issues.create")
	params := json.RawMessage(`{"owner":"octo","repo":"hello","title":"Hi"}`)
	credential := providers.Credential{Token: providers.NewSecret([]byte("ghp_example"))}
	req, err := action.NewRequest(context.Background(), pack.HTTP.BaseURL, params, credential)
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(req.Body)
	fmt.Println(req.Method, req.URL)
	fmt.Println(string(body))
	fmt.Println(credential)
	// Output:
	// POST https://api.github.com/repos/octo/hello/issues
	// {"title":"Hi"}
	// { [redacted] map[]   0}
}
