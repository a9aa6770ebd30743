"""How a model is talked to over HTTP, and how text that nobody vouches for is shown to it. No agent, no reviewer, no prompt is here."""
