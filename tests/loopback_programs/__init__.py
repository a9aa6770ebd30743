"""Loopback services that coding programs talk to: real sockets, real protocols, answers made here."""
