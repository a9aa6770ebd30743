"""Trials as executions of Google Cloud Run jobs: a container each, with a GPU of its own if one is asked for.

    reading     cloud_runner.yaml -> Spec                  spec        what it says
    settings    what a person chose, and what follows      clients     Google's own, and their errors in our words
    backend     jobs out, outcomes in                      watching    which of them are over
    selecting   the files that travel                      shipping    what the job is called there
    executions  Cloud Run's side of it
    ticket      what both sides agree on                   storage     the bucket, for both sides
    entrypoint  the container's side of it                 dataset, telling: its data, its voice
    images      the image that the container is made of    checks      what has to be there once

Who runs a job is decided by who makes the object `claim.json`: one request can, so a job that was asked for twice runs once. Nothing
here was ever tried against the service itself.
"""
