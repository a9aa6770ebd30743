"""The default agent: no key, no network. One bounded edit a plan, drawn from what the code itself offers."""
