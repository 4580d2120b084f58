package main

import "github.com/spf13/cobra"

func newWebhookCommand() *cobra.Command {
	return noun("webhook", "webhooks", "Make endpoints for single connections, and look at deliveries",
		newWebhookCreateCommand(), newWebhookListCommand(), newWebhookShowCommand(), newWebhookEditCommand(), newWebhookRotateCommand(),
		newWebhookPauseCommand(), newWebhookResumeCommand(), newWebhookDeleteCommand(),
		newWebhookForwardCommand(), newWebhookHealCommand(), newWebhookRejectedCommand(), newWebhookVerifyCommand())
}
