"""Hooks for coding agents and for git: what a session is told, what it may not do, when it goes on. They decide no verdict.

Every module up to a denial is standard library alone, so that an ordinary command is passed on within a blink; the lab is
opened only where its numbers are asked for.
"""
