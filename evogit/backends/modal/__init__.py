"""Trials in sandboxes of Modal. Its package is imported when a job is started or asked for, not before."""
