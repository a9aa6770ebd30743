"""Model services on 127.0.0.1: a real HTTP server that speaks Anthropic's /v1/messages and OpenAI's /v1/chat/completions.

    def test_something(loopback):                     # the fixture of tests/conftest.py: started, and stopped afterwards
        loopback.faults = ["529", "", "cut"]          # for the next requests, in order; "" is none. A function of the request works too
        loopback.mind = minds.offline()               # who answers; this one is the default: the offline agent's edits of the code it is shown
        evogit(repo, "loop", "--agent", "anthropic", "--agent-option", f"base_url={loopback.url}", env=loopback.env)

`url` is for Anthropic's client, `url + "/v1"` for OpenAI's; `env` holds keys that it takes. `requests` is what was asked, oldest first,
`charged` what it counted, one `Charge` a request that it answered: cached tokens are found by the hash of each marked prefix, as the
services do it. Nothing sleeps: a stall waits for the client to hang up.

Faults of the wire: "400", "404", "401", "403", "429" (retry-after 10 ms), "500", "529", "stall", "cut" (in the middle of an answer), "truncated"
(half an answer, well framed), "error-event" (an overload told in the middle of a stream), "html". Faults of the answer, for `mind`: see `minds`.
"""

from loopback.charges import Charge
from loopback.server import Loopback, Seen

__all__ = ["Charge", "Loopback", "Seen"]
