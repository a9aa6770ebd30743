"""Programs that agents and reviewers consist of: how one is run, what of its output is believed, what is never let out.

No hand stands here. It knows nothing of plans, runs or git.
"""
