package main

import "github.com/spf13/cobra"

func newWebhookCommand() *cobra.Command {
	return noun("webhook", "webhooks", "Look at the deliveries of providers",
		newWebhookRejectedCommand(), newWebhookVerifyCommand())
}
