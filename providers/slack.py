"""Slack: two lines, a bar in the outcome's colour and the details, to an incoming webhook or, with a bot token, through the Web API.

Credentials: create an app at https://api.slack.com/apps. Either switch on Incoming Webhooks and put the webhook's URL into the Secret's
key `address`, or give the bot the scope `chat:write`, invite it to the channel, put the bot token (`xoxb-...`) into the key `token` and
the channel, by name or id, into `spec.channel`; several channels are separated by commas. With a token there is one message for each
revision and object, changed as things go on; a webhook gets new messages. Annotations of the Provider or the Alert set the look.
"""

from providers import slack_api
from providers.contract import Event, Placing, Rejected, Target
from providers.slack_lasting import Post, lasting, once


def place(event: Event, target: Target) -> Placing:
    """Tell the event in each channel. Raises Rejected for the channels that refuse, after all others were told; Busy."""
    options = {**target.options, **event.options}
    channels = [name for each in options.get("channel", target.channel).split(",") if (name := each.strip())] or [""]
    changes = slack_api.has_bot(target) and options.get("update") != "false" and options.get("look") != "flux"
    refused: Rejected | None = None
    for channel in dict.fromkeys(channels):
        post = Post(event=event, target=target, options=options, channel=channel)
        try:
            yield from (lasting(post) if changes else once(post, alone=len(channels) == 1))
        except Rejected as error:
            refused = refused or error
    if refused is not None:
        raise refused
